"""Method E whole: mammograms in, regions of interest learnt, two tables and a confusion matrix out.

    python pipelines/xception_c.py DATA OUT [--data-set cbis-ddsm|mini-mias] [--small]
        [--seed 0] [--set KEY=VALUE ...] [--device auto]

DATA is CBIS-DDSM as TCIA hands it out, with its CSVs, or mini-MIAS. Steps:

1. ingest: regions of interest of 299 px around each lesion;
2. split the patients 64/16/20 (the source takes the set's own test side and splits the rest after
   each picture was stored six times; here pictures are changed on the fly, see `configs`);
3. train five backbones, each with the source's classifier and with one layer alone: table 1;
4. Xception as it is, with change A, with B and with both, C, beside the other backbones, with the
   number of parameters: table 2;
5. confusion matrix and curves of C, and Grad-CAM of held-out lesions with their boxes.

Settings are those of `configs/xception_c.yaml`. Stopped and started again, it goes on. Writes
`OUT/table1.md|csv`, `OUT/table2.md|csv`, `OUT/confusion.md`, `OUT/curves.png`, `OUT/grad-cam/`, and
a run with `report.html` for each row. Networks whose published weights are not at hand start from
random ones, and say so; give Xception's with `--set train.patch.weights=FILE` only where all rows
are Xceptions.

`--small` is for processors and tests: pictures of 75 px, an Xception with an eighth of the channels
as it is and with A, B and C, 4 epochs. It shows that every step works, and nothing of mammograms.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from safetensors import safe_open
from shared.mammography import (
    Study,
    Training,
    best_epoch,
    confusion_table,
    held_out,
    patient_split,
    positive_of,
    run_from_command_line,
    start_of,
    train_one,
    with_split,
    write_tables,
)

from wsikit.atomic import write_bytes
from wsikit.config import packaged_config
from wsikit.stages.heatmaps.grad_cam import run_grad_cam
from wsikit.stages.run_folder import RunFolder

BACKBONES = {
    "ResNet50": "resnet50",
    "MobileNet V2": "mobilenet_v2",
    "Inception V3": "inception_v3",
    "Xception": "xception",
    "Xception-C": "xception_c",
}
CHANGES = {"Xception-A": "xception_a", "Xception-B": "xception_b"}
SMALL_BACKBONES = {
    "small ResNet": "timm:test_resnet",
    "small Xception": "xception_small",
    "small Xception-C": "xception_small_c",
}
SMALL_CHANGES = {
    "small Xception-A": "xception_small_a",
    "small Xception-B": "xception_small_b",
}
SMALL_SETS = (
    "train.epochs=4", "train.lr=3e-2", "train.bootstrap=100", "train.near_duplicates=allow",
    "train.patch.weights=random", "train.patch.input_px=75",
)  # fmt: skip
SOURCE = {
    "Xception": (0.9314, 0.9844, 23_227_433), "Xception-A": (0.9513, 0.9854, 23_369_115),
    "Xception-B": (0.9587, 0.9887, 24_278_313), "Xception-C": (0.9746, 0.9912, 24_875_297),
}  # fmt: skip
"""Accuracy, AUC and parameters that the source prints, of copies on both sides."""
SMALL_HIDDEN = [64, 16]
SHARES = (0.64, 0.16, 0.2)


def run_recipe(study: Study, small: bool, seed: int) -> list[str]:
    """Do all steps; return the tables and the confusion matrix."""
    backbones, changes = (SMALL_BACKBONES, SMALL_CHANGES) if small else (BACKBONES, CHANGES)
    store, lesions = study.take("rois", 75 if small else None, seed)
    cohort = with_split(lesions, patient_split([lesions], SHARES, seed), study.out / "rois.csv")
    hidden = SMALL_HIDDEN if small else [1024, 256]
    common = [*(SMALL_SETS if small else ()), f"seed={seed}", positive_of(lesions)]

    def train(encoder: str, layers: list[int]) -> dict[str, Any]:
        training = Training(
            run_of(study.out, encoder, bool(layers)), store, cohort, packaged_config("xception_c"),
            [*common, f"train.patch.encoder={encoder}", f"train.head={{hidden: {layers}}}"],
        )  # fmt: skip
        metrics = train_one(study, training)
        return {"start": start_of(training.run), **metrics}

    first = [
        {
            "network": name,
            "one layer": train(encoder, [])["accuracy"],
            "the source's classifier": train(encoder, hidden)["accuracy"],
        }
        for name, encoder in backbones.items()
    ]
    *others, last = backbones.items()
    second = [
        {
            "network": name,
            **{
                key: one
                for key, one in train(encoder, hidden).items()
                if key in ("start", "accuracy", "auc")
            },
            "parameters": _parameters(run_of(study.out, encoder, True)),
            **({} if small else _printed(name)),
        }
        for name, encoder in (*others, *changes.items(), last)
    ]
    best = run_of(study.out, last[1], True)
    _draw_curves(best, study.out / "curves.png")
    run_grad_cam(
        store, best, study.out / "grad-cam",
        slide_ids=list(RunFolder(best).predictions()["slide_id"]),
        device=study.device, progress=study.progress,
    )  # fmt: skip
    words = held_out(best, store, cohort, "lesions", small)
    return [
        write_tables(study.out / "table1", f"Accuracy: {words}.", first),
        write_tables(study.out / "table2", f"With the source's classifier: {words}.", second),
        confusion_table(best, f"{last[0]}: {words}.", study.out / "confusion.md"),
    ]


def _printed(name: str) -> dict[str, float | None]:
    """Return what the source prints, as columns."""
    accuracy, area, parameters = SOURCE.get(name, (None, None, None))
    return {"source accuracy": accuracy, "source auc": area, "source parameters": parameters}


def run_of(out: Path, encoder: str, classifier: bool) -> Path:
    """Return the run of a row."""
    return out / f"{encoder.replace(':', '-')}-{'classifier' if classifier else 'layer'}"


def _parameters(run: Path) -> int:
    """Count the network's numbers as the source does, BN's running statistics among them."""
    total = 0
    for file in (RunFolder(run).encoder, RunFolder(run).fold(0) / "head.safetensors"):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  # no mapping
                if not name.endswith("num_batches_tracked"):
                    size = 1
                    for length in tensors.get_slice(name).get_shape():
                        size *= length
                    total += size
    return total


def _draw_curves(run: Path, path: Path) -> None:
    """Draw loss of both sides and accuracy of validation, epoch by epoch."""
    rows = pd.read_csv(RunFolder(run).fold(0) / "history.csv")
    kept = best_epoch(run)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    figure.suptitle(f"{run.name}: epoch {kept} was kept", fontsize=10)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(rows["epoch"], rows["train_loss"], label="train", marker=".")
    left.plot(rows["epoch"], rows["val_loss"], label="validation", marker=".")
    left.set(xlabel="epoch", ylabel="loss")
    right.plot(rows["epoch"], rows["val_accuracy"], color="C1", marker=".")
    for axes in (left, right):
        axes.axvline(kept, color="0.5", linestyle=":", label="kept")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    right.set(xlabel="epoch", ylabel="accuracy of validation", ylim=(0, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


if __name__ == "__main__":
    run_from_command_line(__doc__, run_recipe)
