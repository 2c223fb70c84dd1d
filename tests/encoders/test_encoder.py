from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import openslide
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.transforms import v2

from wsikit.encoders.encoder import Encoder, build_encoder, encoder_id
from wsikit.encoders.registry import ENCODERS

SMALL = "timm:test_resnet"

built = cache(build_encoder)


def patches(count: int, height: int = 96, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).to(torch.uint8)


def encode(encoder: Encoder, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return encoder(pixels)


def test_against_torchvision_and_timm() -> None:
    encoder = built("resnet18", "random")
    plain = timm.create_model("resnet18", num_classes=0).eval()
    plain.load_state_dict(encoder.backbone.state_dict())
    prepare = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((224, 224), antialias=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    pixels = patches(2, 300, 260)
    with torch.inference_mode():
        expected = plain(prepare(pixels))
    torch.testing.assert_close(encode(encoder, pixels), expected, rtol=1e-3, atol=1e-4)


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    class Seen(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.flatten(1)

    spec = replace(ENCODERS["resnet18"], features=3 * 224 * 224)
    pixels = patches(1, 224, 224)
    seen = encode(Encoder(spec, Seen(), "random"), pixels).view(1, 3, 224, 224)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    torch.testing.assert_close((seen * std + mean) * 255, pixels.float(), rtol=0, atol=1e-3)


def test_random_weights_are_these_on_every_machine() -> None:
    # A pinned identity: if it changes, features made before no longer match the encoder's name.
    assert encoder_id(built("resnet18", "random")) == "resnet18-random-301f1a8d"


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = build_encoder("timm:test_vit", "random")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    assert encoder_id(build_encoder("timm:test_vit", "random")) == encoder_id(first)


def test_an_identity_is_a_file_name_that_says_what_is_computed(tmp_path: Path) -> None:
    encoder = build_encoder(SMALL, "random")
    name = encoder_id(encoder)
    assert name.startswith("timm-test_resnet-random-")
    changed = [Encoder(replace(encoder.spec, input_px=128), encoder.backbone, "random")]
    changed.append(Encoder(replace(encoder.spec, std=(0.3, 0.3, 0.3)), encoder.backbone, "random"))
    ids = {name, *map(encoder_id, changed)}
    next(encoder.backbone.parameters()).data.view(-1)[0] += 1e-3
    ids.add(encoder_id(encoder))
    save_file(encoder.backbone.state_dict(), tmp_path / "weights.safetensors")
    from_file = build_encoder(SMALL, str(tmp_path / "weights.safetensors"))
    assert encoder_id(from_file) == encoder_id(encoder).replace("random", "file")
    assert len(ids) == 4


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_untrained_features_tell_real_patches_apart(name: str, real_data: Path) -> None:
    with openslide.OpenSlide(real_data / "slides" / "cmu-1-small-region.svs") as slide:
        places = [(x, y) for x in (300, 900, 1500) for y in (300, 1100, 1900, 2500)]
        pixels = [np.asarray(slide.read_region(p, 0, (224, 224)).convert("RGB")) for p in places]
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    features = encode(built(name, "random"), batch)
    spread = features.std(0)
    assert (spread > 1e-3).float().mean() > 0.99  # next to no dead feature
    assert 0.05 < spread.mean() < 20  # neither vanished nor exploded: float16 holds it
    assert features.abs().max() < 1000
    assert (features.mean(0) / spread).median() < 10  # the common mean does not drown it
    assert torch.corrcoef(features).median() < 0.95


def test_the_id_says_how_tokens_are_pooled() -> None:
    backbone = built("timm:test_vit", "random").backbone
    spec = built("timm:test_vit", "random").spec
    other = replace(spec, arguments=(("act_layer", "silu"),))
    ids = {encoder_id(Encoder(each, backbone, "random")) for each in (spec, other)}
    assert len(ids) == 2


def test_training_changes_weights_and_then_the_id() -> None:
    encoder = build_encoder(SMALL, "random")
    before = encoder_id(encoder)
    encoder.requires_grad_(True).train()
    optimiser = torch.optim.SGD(encoder.parameters(), lr=1e-2)
    encoder(patches(4)).square().mean().backward()
    optimiser.step()
    assert encoder_id(encoder.eval()) != before
