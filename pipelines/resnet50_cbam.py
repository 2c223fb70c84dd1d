"""Method D whole: mammograms in; patches first, then whole breasts; two tables out.

    python pipelines/resnet50_cbam.py DATA OUT [--data-set cbis-ddsm|mini-mias] [--small]
        [--seed 0] [--set KEY=VALUE ...] [--device auto]

DATA is CBIS-DDSM as TCIA hands it out, with its CSVs, or mini-MIAS. The steps of the source (Xu et
al. 2021), in its order:

1. ingest: patches P around lesions, 8 of 224 px each; whole breasts G, 512 px;
2. split the patients, once for both, 60/20/20 (the source splits pictures: P 80/10/10, G 60/20/20);
3. train VGG16, Inception V3 and ResNet50 on P, each with and without CBAM: table 1;
4. train each on G, from its published weights and from what it learnt on P: table 2;
5. draw Grad-CAM of held-out mammograms with the boxes of their lesions.

Settings are those of `configs/resnet50_cbam.yaml` for P and `resnet50_cbam_whole.yaml` for G.
Stopped and started again, it goes on. Writes `OUT/table1.md|csv`, `OUT/table2.md|csv`,
`OUT/grad-cam/`, and a run with `report.html` for each row. Networks whose published weights are not
at hand start from random ones, and say so.

`--small` is for processors and tests: pictures of 48 and 64 px, one small untrained network with
and without CBAM, 4 epochs. It shows that every step works, and nothing of mammograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.mammography import (
    Study,
    Training,
    held_out,
    patient_split,
    positive_of,
    run_from_command_line,
    start_of,
    train_one,
    with_split,
    write_tables,
)

from wsikit.config import packaged_config
from wsikit.stages.heatmaps.grad_cam import run_grad_cam
from wsikit.stages.run_folder import RunFolder

NETWORKS = {
    "VGG16": "vgg16",
    "VGG16 + CBAM": "vgg16_cbam",
    "Inception V3": "inception_v3",
    "Inception V3 + CBAM": "inception_v3_cbam",
    "ResNet50": "resnet50",
    "ResNet50 + CBAM": "resnet50_cbam",
}
SMALL = {"small ResNet": "timm:test_resnet", "small ResNet + CBAM": "cbam:test_resnet"}
SMALL_SIDES = {"patches": 48, "whole": 64}
SMALL_SETS = (
    "train.epochs=4", "train.lr=1e-3", "train.bootstrap=100", "train.near_duplicates=allow",
    "train.patch.weights=random", "train.patch.input_px=48",
)  # fmt: skip
SOURCE_P = {"ResNet50": (0.7724, 0.8348), "ResNet50 + CBAM": (0.8042, 0.8607)}
SOURCE_G = {"patches P": (0.7529, 0.8081), "published weights": (0.7414, 0.7982)}
"""Accuracy and AUC that the source prints, of split pictures; G: of ResNet50 with CBAM."""
SHARES = (0.6, 0.2, 0.2)


def run_recipe(study: Study, small: bool, seed: int) -> list[str]:
    """Do all steps; return the two tables."""
    networks, common = (SMALL, SMALL_SETS) if small else (NETWORKS, ())
    patches, lesions = study.take("patches", SMALL_SIDES["patches"] if small else None, seed)
    whole, breasts = study.take("whole", SMALL_SIDES["whole"] if small else None, seed)
    split = patient_split([breasts, lesions], SHARES, seed)
    p_csv = with_split(lesions, split, study.out / "patches.csv")
    g_csv = with_split(breasts, split, study.out / "whole.csv")
    sets = [*common, f"seed={seed}"]

    def train(stage: str, encoder: str, more: Sequence[str] = ()) -> dict[str, Any]:
        on_patches = stage == "patches"
        training = Training(
            study.out / _folder(stage, encoder),
            patches if on_patches else whole,
            p_csv if on_patches else g_csv,
            packaged_config("resnet50_cbam" if on_patches else "resnet50_cbam_whole"),
            [*sets, positive_of(lesions if on_patches else breasts), *more],
        )
        metrics = train_one(study, training)
        return {"start": start_of(training.run), **metrics}

    first = []
    for name, encoder in networks.items():
        row = {"network": name}
        row |= train("patches", encoder, [f"train.patch.encoder={encoder}"])
        first.append(row | ({} if small else _printed(SOURCE_P.get(name))))
    second = []
    same = set(lesions["label"]) == set(breasts["label"])
    for name, encoder in networks.items():
        run = study.out / _folder("patches", encoder)
        # mini-MIAS asks other questions of lesions and of breasts: then the encoder alone goes on.
        start = f"train.patch.start={run}" if same else f"train.patch.encoder=file:{run}"
        for words, stage, setting in (
            (None, "whole", f"train.patch.encoder={encoder}"),
            ("patches P", "whole-from-patches", start),
        ):
            row = {"network": name}
            row |= train(stage, encoder, [setting, *_own_weights(setting)])
            row["start"] = words or row["start"]
            theirs = SOURCE_G.get(row["start"]) if name == "ResNet50 + CBAM" else None
            second.append(row | ({} if small else _printed(theirs)))
    last = RunFolder(study.out / _folder("whole-from-patches", list(networks.values())[-1]))
    run_grad_cam(
        whole, last.path, study.out / "grad-cam",
        slide_ids=list(last.predictions()["slide_id"]), device=study.device,
        progress=study.progress,
    )  # fmt: skip
    on_p = held_out(
        study.out / _folder("patches", next(iter(networks.values()))), patches, p_csv, "lesions",
        small,
    )  # fmt: skip
    on_g = held_out(last.path, whole, g_csv, "mammograms", small)
    return [
        write_tables(study.out / "table1", f"Patches P: {on_p}.", first),
        write_tables(study.out / "table2", f"Whole mammograms G: {on_g}.", second),
    ]


def _printed(source: tuple[float, float] | None) -> dict[str, float | None]:
    """Return what the source prints, as columns."""
    accuracy, area = source or (None, None)
    return {"source accuracy": accuracy, "source auc": area}


def _own_weights(setting: str) -> list[str]:
    """A file brings its own weights, whatever the other networks start from."""
    return ["train.patch.weights=pretrained"] if "=file:" in setting else []


def _folder(stage: str, encoder: str) -> str:
    return f"{stage}-{encoder.replace(':', '-')}"


if __name__ == "__main__":
    run_from_command_line(__doc__, run_recipe)
