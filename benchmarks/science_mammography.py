"""What methods D and E are worth on a small real set, and that they find an effect where one is.

    python benchmarks/science_mammography.py [--out FOLDER] [--mini-mias FOLDER] [--small]
        [--only NAME ...] [--seeds 3] [--epochs 20] [--json FILE]

Parts: `lesions`: benign against malignant, mini-MIAS, regions around centre and radius: Xception
as it is, A, B and C, ResNet with CBAM and without. `breasts`: abnormal against normal, mini-MIAS,
whole breasts: from patches of lesions (an encoder that told benign from malignant) and from
scratch. `phantom`: round and star-shaped lesions, which differ, with true labels and with labels
dealt out anew among patients: the first must be learnt, the second must give chance.

All networks are small and start from random weights, as published ones are not at hand; pictures
are small, for one core. Patients are split 60/20/20 anew for each seed, the two breasts of a woman
together. Numbers are of held-out patients, the seeds' pooled, with bootstrap intervals over
patients; a patient held out by several seeds counts as one patient with the mean of its scores.
Nothing was tuned. Stopped and started again with the same `--out`, it goes on; without
`--out` nothing is kept. Writes `OUT/tables.md`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from shared.report import Row, at_least, line, options, report

sys.path.append(str(Path(__file__).parents[1] / "pipelines" / "shared"))

from mammography import (
    Study,
    Training,
    patient_split,
    positive_of,
    train_one,
    with_split,
)

from wsikit.atomic import write_bytes
from wsikit.cli.console import LineProgress
from wsikit.config import packaged_config
from wsikit.phantoms.mammogram_sets import write_cbis_ddsm_tree
from wsikit.stages.run_folder import RunFolder
from wsikit.training.metrics.metrics import Interval, classification_metrics

SHARES = (0.6, 0.2, 0.2)
SIDES = {"rois": 75, "patches": 75, "whole": 96}
RESNET, CBAM = "timm:test_resnet", "cbam:test_resnet"
XCEPTION = "xception_small"
COMMON = (
    "train.patch.weights=random", "train.bootstrap=100", "train.near_duplicates=allow",
    "train.patch.choose=loss", "train.class_weights=balanced", "train.patch.input_px=75",
)  # fmt: skip
D = ("train.lr=1e-3", "train.patch.batch_size=16")
E = ("train.lr=1e-2", "train.patch.momentum=0.9", "train.head={hidden: [64, 16]}")
"""A small network from random weights needs a larger step than the source's, which fine-tunes."""

LESIONS = {
    "ResNet": ("resnet50_cbam", RESNET, D),
    "ResNet + CBAM": ("resnet50_cbam", CBAM, D),
    "Xception": ("xception_c", XCEPTION, E),
    "Xception-A": ("xception_c", f"{XCEPTION}_a", E),
    "Xception-B": ("xception_c", f"{XCEPTION}_b", E),
    "Xception-C": ("xception_c", f"{XCEPTION}_c", E),
}


class Part:
    """One data set of one question: trained rows, pooled over seeds."""

    def __init__(self, study: Study, seeds: int, epochs: int) -> None:
        self.study, self.seeds = study, seeds
        self.sets = [*COMMON, f"train.epochs={epochs}", f"train.patience={epochs}"]

    def row(
        self,
        name: str,
        store: Path,
        cohort: pd.DataFrame,
        splits: Sequence[dict[str, str]],
        config: str,
        sets: Sequence[Sequence[str]],
    ) -> Interval:
        """Train a row once a seed; return the AUC over its held-out patients."""
        parts = []
        for seed, split in enumerate(splits):
            run = self.study.out / f"{name}-{seed}"
            csv = with_split(cohort, split, run.with_suffix(".csv"))
            more = [*self.sets, f"seed={seed}", positive_of(cohort), *sets[seed]]
            train_one(self.study, Training(run, store, csv, packaged_config(config), more))
            parts.append(RunFolder(run).predictions())
        table = pd.concat(parts)
        score = next(f"prob_{c}" for c in ("malignant", "abnormal") if f"prob_{c}" in table)
        each = table.groupby(["slide_id", "patient_id", "label"], as_index=False)[score].mean()
        labels = each["label"].eq(score.removeprefix("prob_")).to_numpy().astype(int)
        scores = np.stack([1 - each[score], each[score]], axis=1)
        metrics = classification_metrics(labels, scores, each["patient_id"].to_numpy(), seed=0)
        return metrics["auc"]


def lesions(part: Part, rows: dict[str, Interval]) -> None:
    """Benign against malignant."""
    store, cohort = part.study.take("rois", SIDES["rois"], 0)
    splits = [patient_split([cohort], SHARES, seed) for seed in range(part.seeds)]
    for name, (config, encoder, own) in LESIONS.items():
        sets = [[*own, f"train.patch.encoder={encoder}"]] * part.seeds
        folder = name.replace(" ", "")
        rows[f"lesions: {name}"] = part.row(folder, store, cohort, splits, config, sets)


def breasts(part: Part, rows: dict[str, Interval]) -> None:
    """Abnormal against normal: from patches of lesions, and from scratch."""
    patches, cut = part.study.take("patches", SIDES["patches"], 0)
    whole, cohort = part.study.take("whole", SIDES["whole"], 0)
    splits = [patient_split([cohort, cut], SHARES, seed) for seed in range(part.seeds)]
    for name, encoder in (("ResNet", RESNET), ("ResNet + CBAM", CBAM)):
        folder = name.replace(" ", "")
        first = [[*D, f"train.patch.encoder={encoder}"]] * part.seeds
        rows[f"patches: {name}"] = part.row(
            f"patches-{folder}", patches, cut, splits, "resnet50_cbam", first
        )
        starts = [
            [
                *D,
                f"train.patch.encoder=file:{part.study.out / f'patches-{folder}-{seed}'}",
                "train.patch.weights=pretrained",
            ]
            for seed in range(part.seeds)
        ]
        for words, sets in (("scratch", first), ("patches", starts)):
            rows[f"breasts: {name}, from {words}"] = part.row(
                f"breasts-{folder}-{words}", whole, cohort, splits, "resnet50_cbam", sets
            )


def phantom(part: Part, rows: dict[str, Interval]) -> None:
    """Lesions that differ: learnt with true labels, chance with labels dealt out anew."""
    store, cohort = part.study.take("rois", SIDES["rois"], 0)
    patients = cohort.groupby("patient_id")["label"].first()
    dealt = pd.Series(
        np.random.default_rng(1).permutation(patients.to_numpy()), index=patients.index
    )
    shuffled = cohort.assign(label=cohort["patient_id"].map(dealt))
    for words, table in (("true labels", cohort), ("shuffled labels", shuffled)):
        splits = [patient_split([table], SHARES, seed) for seed in range(part.seeds)]
        for name in ("ResNet + CBAM", "Xception-C"):
            config, encoder, own = LESIONS[name]
            sets = [[*own, f"train.patch.encoder={encoder}"]] * part.seeds
            folder = f"{words}-{name}".replace(" ", "")
            rows[f"phantom: {name}, {words}"] = part.row(folder, store, table, splits, config, sets)


PARTS = {"lesions": lesions, "breasts": breasts, "phantom": phantom}


def bars_of(rows: dict[str, Interval]) -> list[Row]:
    """Hold true labels against shuffled ones, where both were trained on."""
    bars = []
    for name in ("ResNet + CBAM", "Xception-C"):
        true, dealt = (rows.get(f"phantom: {name}, {w} labels") for w in ("true", "shuffled"))
        if true and dealt and true.value is not None and dealt.value:
            ratio = true.value / dealt.value
            bars.append(at_least(f"phantom: {name}: AUC, true / shuffled labels", ratio, 1.3))
    return bars


def main() -> None:
    """Run the parts."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--mini-mias", type=Path)
    parser.add_argument("--only", action="append", choices=tuple(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    asked = parser.parse_args()
    if asked.out is not None:
        run(asked, asked.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(asked, Path(folder))


def run(asked: argparse.Namespace, out: Path) -> None:
    """Measure what was asked for."""
    seeds, epochs = (1, 1) if asked.small else (asked.seeds, asked.epochs)
    rows: dict[str, Interval] = {}
    for name in asked.only or PARTS:
        if name == "phantom":
            data, which = out / "cbis-ddsm", "cbis-ddsm"
            if not data.exists():
                write_cbis_ddsm_tree(data, patients=10 if asked.small else 40)
        elif asked.mini_mias is None:
            print(f"{name}: left out, no --mini-mias")
            continue
        else:
            data, which = asked.mini_mias, "mini-mias"
        study = Study(data, which, out / name, (), "cpu", LineProgress())
        PARTS[name](Part(study, seeds, epochs), rows)
        text = table_of(rows)
        write_bytes(out / "tables.md", text.encode())
        print(text, flush=True)
    counted = [line("rows trained", len(rows), "", 0)]
    aucs = [line(name, auc.value or 0.0, "AUC", 3) for name, auc in rows.items()]
    report(counted if asked.small else [*counted, *aucs], bars_of(rows), asked)


def table_of(rows: dict[str, Interval]) -> str:
    """Return the table as Markdown."""
    lines = ["| held-out patients | AUC | from | to |", "|---|---|---|---|"]
    for name, auc in rows.items():
        cells = ("undefined" if v is None else f"{v:.3f}" for v in auc[:3])
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
