"""Encoders that others trained on histology and hand out on the Hugging Face hub.

Where a fact comes from is said at each. Where a network's file could not be known from a public
source (Phikon-v2's and Midnight's position embedding, CONCH 1.5's tower), it is left out here.
Widths, depths and the names of tensors are checked by the tests; the files themselves need a login.
"""

from __future__ import annotations

from wsikit.encoders.spec import EncoderSpec

EITHER_FORM = ("model.safetensors", "pytorch_model.bin")
"""Repositories made with timm hold the second, and lately the first as well."""

SWIGLU = (("mlp_layer", "SwiGLUPacked"), ("act_layer", "silu"))
LAYER_SCALE = ("init_values", 1e-5)

RESEARCH_ONLY = "cc-by-nc-nd-4.0"

OPTIMUS_MEAN = (0.707223, 0.578729, 0.703617)
OPTIMUS_STD = (0.211883, 0.230117, 0.177517)

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

PATHOLOGY = (
    # Chen et al. 2024. Arguments: TRIDENT's loader, which loads the file strictly; mean, std and
    # size: the same and the model card. Licence: the card's terms of access.
    EncoderSpec(
        name="uni",
        timm_name="vit_large_patch16_224",
        licence=RESEARCH_ONLY,
        features=1024,
        arguments=(LAYER_SCALE,),
        hub="MahmoodLab/UNI",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-L/16; class token",
    ),
    # Arguments: the model card's `timm_kwargs`, as TRIDENT and LazySlide repeat them. Licence:
    # LazySlide's table.
    EncoderSpec(
        name="uni2-h",
        timm_name="vit_giant_patch14_224",
        licence=RESEARCH_ONLY,
        features=1536,
        arguments=(
            ("img_size", 224),
            ("patch_size", 14),
            ("depth", 24),
            ("num_heads", 24),
            LAYER_SCALE,
            ("embed_dim", 1536),
            ("mlp_ratio", 2.66667 * 2),
            ("no_embed_class", True),
            *SWIGLU,
            ("reg_tokens", 8),
        ),
        hub="MahmoodLab/UNI2-h",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-H/14 with 8 registers; class token",
    ),
    # Vorontsov et al. 2024. Arguments, mean and std: TRIDENT's loader; the class token beside the
    # mean of the patch tokens: the model card and the paper. Licence: the model card.
    EncoderSpec(
        name="virchow",
        timm_name="vit_huge_patch14_224",
        licence="apache-2.0",
        features=2560,
        arguments=(LAYER_SCALE, ("mlp_ratio", 5.3375), *SWIGLU),
        pooling="class+mean",
        hub="paige-ai/Virchow",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-H/14; class token beside the mean of the patch tokens",
    ),
    # Zimmermann et al. 2024. As above; the first 4 tokens after the class token are registers and
    # are left out of the mean.
    EncoderSpec(
        name="virchow2",
        timm_name="vit_huge_patch14_224",
        licence=RESEARCH_ONLY,
        features=2560,
        arguments=(LAYER_SCALE, ("mlp_ratio", 5.3375), *SWIGLU, ("reg_tokens", 4)),
        pooling="class+mean",
        hub="paige-ai/Virchow2",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-H/14 with 4 registers; class token beside the mean of the patch tokens",
    ),
    # Saillard et al. 2024. Architecture, size, mean, std and licence: the repository's config.json;
    # layer scale, SwiGLU and registers: the model's page in bioptimus/releases.
    EncoderSpec(
        name="h-optimus-0",
        timm_name="vit_giant_patch14_reg4_dinov2",
        licence="apache-2.0",
        features=1536,
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        arguments=(("img_size", 224), LAYER_SCALE),
        hub="bioptimus/H-optimus-0",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-g/14 with 4 registers; class token; trained at 0.5 um/px",
    ),
    # The same network with other weights: TRIDENT's and LazySlide's loaders. Licence: LazySlide.
    EncoderSpec(
        name="h-optimus-1",
        timm_name="vit_giant_patch14_reg4_dinov2",
        licence=RESEARCH_ONLY,
        features=1536,
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        arguments=(("img_size", 224), LAYER_SCALE),
        hub="bioptimus/H-optimus-1",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-g/14 with 4 registers; class token",
    ),
    # Xu et al. 2024, the tile encoder. Arguments: TRIDENT's loader; mean and std: the repository's
    # README, which also cuts the middle 224 px out of 256 and so sees a patch at 224 px unscaled.
    # Licence: the table of models on the card of Prov-GigaPath-Flash.
    EncoderSpec(
        name="prov-gigapath",
        timm_name="vit_giant_patch14_dinov2",
        licence="apache-2.0",
        features=1536,
        arguments=(
            ("img_size", 224),
            ("patch_size", 16),
            ("embed_dim", 1536),
            ("depth", 40),
            ("num_heads", 24),
            ("mlp_ratio", 5.33334),
        ),
        hub="prov-gigapath/prov-gigapath",
        hub_files=EITHER_FORM,
        published="hub",
        gated=True,
        note="ViT-g/16, the tile encoder; class token; research only, by its terms",
    ),
    # Lu et al. 2024. Everything from mahmoodlab/CONCH: model_configs/conch_ViT-B-16.json (448 px,
    # one query, 8 heads, width 512), coca_model.py, vision_tower.py, constants.py (mean and std),
    # and the README (`proj_contrast=False` for tasks on images; licence).
    EncoderSpec(
        name="conch",
        timm_name="vit_base_patch16_224",
        licence=RESEARCH_ONLY,
        features=512,
        input_px=448,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        arguments=(("img_size", 448),),
        pooling="attention",
        hub="MahmoodLab/CONCH",
        hub_files=("pytorch_model.bin",),
        published="hub",
        gated=True,
        note="the vision tower, before its projection; 448 px",
    ),
    # Filiot et al. 2023. Network and epsilon: the repository's config.json (ViTModel, 12 layers of
    # 768, 1e-6 as timm has it); class token, mean and std: TRIDENT's loader. Licence: model card.
    EncoderSpec(
        name="phikon",
        timm_name="vit_base_patch16_224",
        licence="Owkin non-commercial",
        features=768,
        hub="owkin/phikon",
        hub_files=EITHER_FORM,
        published="hub",
        note="ViT-B/16; class token; trained at 0.5 um/px",
    ),
    # Wang et al. 2022. Network, mean and std: Xiyue-Wang/TransPath (ctran.py and
    # get_features_CTransPath.py). The authors hand the file out elsewhere; this repository is a
    # copy that says so. Licence: the authors' repository. Pixel size: owkin/HistoSSLscaling.
    EncoderSpec(
        name="ctranspath",
        timm_name="swin_tiny_patch4_window7_224",
        licence="gpl-3.0",
        features=768,
        arguments=(("embed_layer", "ConvStem"),),
        hub="jamesdolezal/CTransPath",
        hub_files=("ctranspath.pth",),
        published="hub",
        note="Swin-T with a convolutional stem; 1 um/px by its authors; the copy is unofficial",
    ),
)
