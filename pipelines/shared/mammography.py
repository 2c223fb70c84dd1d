"""What the two mammography recipes share: data in, one split of patients, runs, tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from wsikit.atomic import write_bytes
from wsikit.cli.console import LineProgress
from wsikit.config import load_config
from wsikit.encoders.encoder import RANDOM
from wsikit.errors import CohortError, WsikitError
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.ingest.cbis_ddsm import CbisOptions, find_cbis_ddsm
from wsikit.stages.ingest.ingest import IngestOptions, ingest
from wsikit.stages.ingest.mammogram import CutOptions, Kind
from wsikit.stages.ingest.mini_mias import MiniMiasOptions, find_mini_mias
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFolder, write_table
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store

SHOWN = ("accuracy", "sensitivity", "specificity", "auc")
SIDES = ("train", "val", "test")
POSITIVE = ("malignant", "abnormal")
"""Which label is detected: of lesions, and of mini-MIAS's whole pictures."""

KINDS = ("normal", "abnormal", "benign", "malignant")
"""Labels of pictures; a patient is of the last kind that one of his pictures is of."""

DataName = Literal["cbis-ddsm", "mini-mias"]


@dataclass(frozen=True)
class Study:
    """Where a recipe reads and writes, and how.

    Attributes:
        data: the data set's folder.
        name: which data set it is.
        out: everything goes here.
        sets: the user's own settings, over those of the configuration.
        device: `auto`, `cpu` or `cuda`.
        progress: told of everything.
    """

    data: Path
    name: DataName
    out: Path
    sets: Sequence[str]
    device: str
    progress: Progress

    def take(self, kind: Kind, side: int | None, seed: int) -> tuple[Path, pd.DataFrame]:
        """Ingest pictures of one kind; return the store and its cohort."""
        cut = CutOptions(kind, side, seed=seed)
        if self.name == "cbis-ddsm":
            found = find_cbis_ddsm(self.data, CbisOptions(cut))
        else:
            found = find_mini_mias(self.data, MiniMiasOptions(cut))
        store = self.out / f"store-{kind}"
        done = ingest(found, store, IngestOptions(), self.progress)
        return store, pd.read_csv(done.cohort, dtype=str, keep_default_na=False)


@dataclass(frozen=True)
class Training:
    """One row of a table to be.

    Attributes:
        run: the run's folder.
        store: what it is trained on.
        cohort: CSV with the split.
        config: YAML of its settings.
        sets: settings over it.
    """

    run: Path
    store: Path
    cohort: Path
    config: Path
    sets: Sequence[str]


def patient_split(
    cohorts: Sequence[pd.DataFrame], shares: Sequence[float], seed: int
) -> dict[str, str]:
    """Split the patients of several cohorts once, so that each is on one side in all of them.

    Patients with a positive picture and those without are cut apart by the shares each; where a
    label of a cohort is then missing on a side, patients of each of `KINDS` are.

    Args:
        cohorts: with `patient_id` and `label`.
        shares: of train, validation and test.
        seed: of the order.

    Raises:
        CohortError: a cohort is of one class, or a kind of patient is too rare to be on every side.
    """
    for cohort in cohorts:
        labels = sorted(set(cohort["label"]))
        if len(labels) < 2:
            what = f"every slide is '{labels[0]}'" if labels else "no slide could be taken"
            raise CohortError(what, "give data of two classes")
    table = pd.concat(cohorts)
    positive = table["label"].isin(POSITIVE).groupby(table["patient_id"]).any()
    coarse = positive.map({True: "positive", False: "negative"})
    split = _cut(coarse, shares, seed)
    if all(_on_every_side(cohort, split) for cohort in cohorts):
        return split
    finer = table["label"].map(KINDS.index).groupby(table["patient_id"]).max()
    return _cut(finer.map(dict(enumerate(KINDS))), shares, seed)


def _on_every_side(cohort: pd.DataFrame, split: Mapping[str, str]) -> bool:
    sides = cohort["patient_id"].map(split).groupby(cohort["label"]).nunique()
    return bool((sides == len(SIDES)).all())


def _cut(kinds: pd.Series, shares: Sequence[float], seed: int) -> dict[str, str]:
    """Cut the patients of each kind by the shares."""
    split: dict[str, str] = {}
    for number, kind in enumerate(sorted(set(kinds))):  # negative first, then positive
        patients = np.array(sorted(kinds.index[kinds == kind]))
        if len(patients) < len(SIDES):
            many = f"{len(patients)} {kind} patient{'' if len(patients) == 1 else 's'}"
            raise CohortError(f"{many} cannot be on three sides", "take more data")
        order = np.random.default_rng([seed, number]).permutation(patients)
        spare = len(order) - len(SIDES)  # one for each side, the rest by the shares
        ends = np.rint(np.cumsum(shares) * spare).astype(int) + np.arange(1, len(SIDES) + 1)
        for side, start, end in zip(SIDES, (0, *ends[:-1]), ends, strict=True):
            split |= dict.fromkeys(order[start:end].tolist(), side)
    return split


def with_split(cohort: pd.DataFrame, split: Mapping[str, str], path: Path) -> Path:
    """Write a cohort with the side of each patient."""
    write_table(path, cohort.assign(split=cohort["patient_id"].map(split)))
    return path


def train_one(study: Study, training: Training) -> dict[str, dict[str, float | None]]:
    """Train and evaluate; return how single held-out pictures fare, patients resampled."""
    config = load_config(training.config, [*training.sets, *study.sets])
    run_train(
        training.store, training.cohort, training.run, config,
        device=study.device, progress=study.progress,
    )  # fmt: skip
    run_evaluate(training.run)
    metrics = RunFolder(training.run).patch_metrics()
    assert metrics is not None  # a run on pixels has them
    return {name: metrics["pooled"][name] for name in SHOWN}


def start_of(run: Path) -> str:
    """Say what a run's network started from, as its encoder's id tells."""
    words = "random" if f"-{RANDOM}-" in RunFolder(run).facts().encoder_id else "published"
    return f"{words} weights"


def held_out(run: Path, store: Path, cohort: Path, things: str, small: bool) -> str:
    """Say in one line what a table was measured on.

    Args:
        run: one of the runs in it; all share their split.
        store: where its pictures are.
        cohort: CSV with the split.
        things: what a slide is.
        small: whether networks and pictures are small ones.
    """
    folder, stored = RunFolder(run), Store(store)
    slide_ids = list(folder.predictions()["slide_id"])
    table = pd.read_csv(cohort, dtype=str).groupby("split")["patient_id"].nunique()
    sides = "/".join(str(table.get(side, 0)) for side in SIDES)
    pictures = sum(stored.slide(slide_id).patch_count for slide_id in slide_ids)
    words = (
        f"{pictures} held-out pictures of {len(slide_ids)} {things}; {sides} patients train, "
        f"validate and test; seed {folder.facts().seed}; 95 % intervals over patients"
    )
    return f"{words}. Small form: says nothing of mammograms" if small else words


def positive_of(cohort: pd.DataFrame) -> str:
    """Return the setting that names the label to detect."""
    found = [name for name in POSITIVE if name in set(cohort["label"])]
    return f"train.positive={found[0]}" if found else "train.positive=null"


def write_tables(path: Path, title: str, rows: Sequence[Mapping[str, object]]) -> str:
    """Write a table as Markdown and CSV; return the Markdown.

    Args:
        path: without a suffix.
        title: a line above it.
        rows: words by column; a metric is a mapping of value, low and high.
    """
    flat = []
    for row in rows:
        line: dict[str, object] = {}
        for column, cell in row.items():
            if isinstance(cell, Mapping):
                line |= {column: cell["value"], f"{column}_low": cell["low"],
                         f"{column}_high": cell["high"]}  # fmt: skip
            else:
                line[column] = cell
        flat.append(line)
    write_table(path.with_suffix(".csv"), pd.DataFrame(flat))
    columns = list(rows[0])
    lines = [title, "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(_cell(row[column]) for column in columns)} |" for row in rows]
    text = "\n".join([*lines, ""])
    write_bytes(path.with_suffix(".md"), text.encode())
    return text


def _cell(cell: object) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, Mapping):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    value, low, high = (cell[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def confusion_table(run: Path, title: str, path: Path) -> str:
    """Write the held-out slides by true and predicted class; return the Markdown."""
    table = RunFolder(run).predictions()
    counts = pd.crosstab(table["label"], table["pred"])
    classes = list(RunFolder(run).facts().classes)
    counts = counts.reindex(index=classes, columns=classes, fill_value=0)
    lines = [
        title,
        "",
        f"| true \\ predicted | {' | '.join(classes)} |",
        "|---|" + "---|" * len(classes),
    ]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in
              zip(classes, counts.to_numpy().tolist(), strict=True)]  # fmt: skip
    text = "\n".join([*lines, ""])
    write_bytes(path, text.encode())
    return text


def best_epoch(run: Path) -> int:
    """Return the epoch that was kept."""
    return int(json.loads((RunFolder(run).fold(0) / "fit.json").read_text())["best_epoch"])


Recipe = Callable[[Study, bool, int], list[str]]
"""From where it reads and writes, whether in the small form, and a seed: to its tables."""


def run_from_command_line(doc: str | None, recipe: Recipe) -> None:
    """Run a recipe as the command line asks, and print its tables.

    Args:
        doc: of the recipe; its `--help`.
        recipe: does everything.

    Raises:
        SystemExit: the call is wrong, or the recipe cannot go on; one line says why.
    """
    asked = _arguments(doc).parse_args()
    study = Study(asked.data, asked.data_set, asked.out, asked.set, asked.device, LineProgress())
    try:
        tables = recipe(study, asked.small, asked.seed)
    except WsikitError as error:
        raise SystemExit(f"error: {error}") from None
    print("\n".join(tables), end="")


def _arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of what both recipes take."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-set", choices=("cbis-ddsm", "mini-mias"), default="cbis-ddsm")
    parser.add_argument("--small", action="store_true", help="small networks and pictures")
    parser.add_argument("--seed", type=_seed, default=0, help="0 or more")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="auto")
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0")
    return int(text)
