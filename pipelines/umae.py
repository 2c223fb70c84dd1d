"""Method C whole (Si et al. 2024): BreakHis as it is published in, the source's tables out.

    python pipelines/umae.py BREAKHIS OUT [--ablation | --variant NAME ...] [--seeds 3]
        [--split patient|images] [--patients slide|case] [--device auto] [--devices 1]
        [--config configs/umae.yaml] [--set KEY=VALUE ...]

The source's steps, in its order, all with the settings of `configs/umae.yaml`:

1. ingest: BREAKHIS, the published tree or its files in one folder, into a store;
2. split the patients 80/10/10; pre-train on the training patients, four magnifications at a time;
3. fine-tune on each magnification, and score the pictures of the patients held out;
4. top-1 accuracy, precision, recall and F1 of single pictures, with 95 % intervals.

`--split images` splits single pictures, as the source does: pictures of one patient then lie on
both sides, what is measured is too good, and every table says so. `--ablation` does steps 2 to 4
for every set of switches, a plain MAE and no pre-training. `--seeds` does them for several splits
and starts. Stopped and started again, it goes on. Writes `OUT/table.md` and `.csv` (the source's
table 4), `OUT/ablation.md` and `.csv` (its table 3), `OUT/losses.csv`, and in `OUT/pictures` what
was restored and where the encoder looks with and without RCA. Each fine-tuning is a run, for
`wsikit predict`, `heatmap` and `evaluate`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from wsikit.atomic import whole_file, write_bytes
from wsikit.cli.console import LineProgress
from wsikit.config import Config, load_config, packaged_config
from wsikit.encoders.saved import read_encoder, save_encoder
from wsikit.encoders.umae.cross_attention import MAGNIFICATIONS
from wsikit.errors import WsikitError
from wsikit.methods import METHODS, PatchMethod
from wsikit.methods.umae import ABLATION
from wsikit.stages.ingest.breakhis import BreakHisOptions, Patients, find_breakhis
from wsikit.stages.ingest.ingest import IngestOptions, ingest
from wsikit.stages.ingest.splits import LEAKY
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFolder, write_table
from wsikit.stages.training.patch_network import patch_reader, trained_network
from wsikit.stages.training.pretrain import (
    Pretraining,
    StoredPictures,
    build_umae,
    run_pretrain,
    specimen_of,
)
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store
from wsikit.training.fits.device import resolve_device
from wsikit.training.masked.items import Picture, validation_items
from wsikit.training.masked.sheets import attention_sheet, restoration_sheet
from wsikit.training.metrics.metrics import auc
from wsikit.training.patches.predict import predict_patches
from wsikit.training.splits.splits import make_splits

UMAE = "UMAE"
WITHOUT_RCA = "MAE+UNM+CCP"
METRICS = ("top-1", "precision", "recall", "F1", "AUC")
SOURCE = {
    40: (81.90, 95.45, 87.59, 91.35),
    100: (80.21, 93.94, 86.50, 90.07),
    200: (86.29, 97.48, 93.03, 95.20),
    400: (86.26, 96.16, 92.90, 94.54),
}
"""What the source prints of UMAE: top-1, precision, recall, F1, in per cent, of split images."""


@dataclass(frozen=True)
class Study:
    """What is asked for.

    Attributes:
        folder: BreakHis.
        out: everything goes here.
        recipe: settings.
        variants: rows of `ABLATION`.
        seeds: of splits and starts.
        split: `patient`, or `images` as the source does.
        patients: whether slides of one number that differ in letters are of one patient (`case`).
        device: `auto`, `cpu` or `cuda`.
        devices: processes that share the steps of pre-training.
    """

    folder: Path
    out: Path
    recipe: Config
    variants: tuple[str, ...] = (UMAE,)
    seeds: tuple[int, ...] = (0,)
    split: Literal["patient", "images"] = "patient"
    patients: Patients = "slide"
    device: str = "auto"
    devices: int = 1

    @property
    def store(self) -> Path:
        """Where the pictures are."""
        return self.out / "store"

    def place(self, variant: str, seed: int) -> Path:
        """Return the folder of a variant."""
        return self.out / re.sub(r"[^a-z]+", "-", variant.lower()) / f"seed-{seed}"


class Row(NamedTuple):
    """One metric of one variant at one magnification."""

    variant: str
    magnification: int
    metric: str
    value: float
    low: float
    high: float
    patients: int
    pictures: int
    seeds: int
    split: str


class _OneMagnification(Progress):
    """Say nothing of slides that are in the store for the sake of other magnifications."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, stage: str, total: int) -> None:
        """Pass on."""
        self._progress.start(stage, total)

    def advance(self, label: str, units: int = 1) -> None:
        """Pass on."""
        self._progress.advance(label, units)

    def tick(self, label: str, units: int = 1) -> None:
        """Pass on."""
        self._progress.tick(label, units)

    def say(self, line: str) -> None:
        """Pass on what is of this magnification."""
        if "in the store but not in" not in line:
            self._progress.say(line)

    def finish(self) -> None:
        """Pass on."""
        self._progress.finish()


def run_recipe(study: Study, progress: Progress) -> str:
    """Do all four steps; return the tables.

    Args:
        study: what is asked for.
        progress: told of everything.

    Raises:
        WsikitError: nothing can be pre-trained or measured.
    """
    cohort = _ingested(study, progress)
    for seed in study.seeds:
        split = _split(study, cohort, seed)
        for variant in study.variants:
            _pretrain(study, variant, seed, split, progress)
            for magnification in MAGNIFICATIONS:
                _fine_tune(study, variant, seed, magnification, cohort, split, progress)
        if seed == study.seeds[0]:
            _draw(study, seed, split)
    rows = list(_rows(study))
    if not rows:
        raise WsikitError("no magnification could be measured", "see the lines above")
    _write_losses(study)
    return _write_tables(study, rows)


def _ingested(study: Study, progress: Progress) -> pd.DataFrame:
    """Take BreakHis into the store; return the cohort, one row a slide of the store."""
    options = BreakHisOptions(patients=study.patients, split=study.split, seed=study.recipe.seed)
    found = find_breakhis(study.folder, options)
    done = ingest(found, study.store, IngestOptions(), progress)
    cohort = pd.read_csv(done.cohort, dtype=str)
    if study.split == "images":  # a picture counts as a patient: that is what is leaky
        cohort["patient_id"] = cohort["slide_id"]
    return cohort


def _split(study: Study, cohort: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Put every patient on one side, the same for all magnifications."""
    path = study.out / f"split-{seed}.csv"
    train = study.recipe.train
    own = cohort.drop(columns=[] if study.split == "images" else ["split"], errors="ignore")
    made = make_splits(own, 1, seed, train.val_share, train.test_share)
    write_table(path, made)
    return made


def _of(split: pd.DataFrame, side: str) -> tuple[str, ...]:
    return tuple(split.loc[split["split"] == side, "slide_id"])


def _settings(study: Study, variant: str) -> Config:
    """Return the recipe with a variant's switches; without pre-training, those of UMAE."""
    switches = ABLATION[variant] or ABLATION[UMAE]
    pretrain = study.recipe.pretrain.model_copy(update=switches._asdict() if switches else {})
    return study.recipe.model_copy(update={"pretrain": pretrain})


def _pretrain(
    study: Study, variant: str, seed: int, split: pd.DataFrame, progress: Progress
) -> None:
    folder, settings = study.place(variant, seed), _settings(study, variant).pretrain
    if ABLATION[variant] is None:
        save_encoder(folder / "encoder.safetensors", build_umae(settings, seed).trained_encoder())
        return

    def told(epoch: int, epochs: int, metrics: dict[str, float | None]) -> None:
        progress.advance(f"{variant}: epoch {epoch} of {epochs}, loss {metrics['val_loss']:.4f}")

    progress.start("pretrain", settings.epochs)
    run_pretrain(
        Pretraining(study.store, _of(split, "train"), _of(split, "val")), folder, settings,
        seed=seed, device=study.device, devices=study.devices, told=told,
    )  # fmt: skip
    progress.finish()


def _fine_tune(
    study: Study,
    variant: str,
    seed: int,
    magnification: int,
    cohort: pd.DataFrame,
    split: pd.DataFrame,
    progress: Progress,
) -> None:
    """Train on one magnification and score its held-out pictures; what cannot be done is said."""
    folder = study.place(variant, seed)
    scored = folder / f"{magnification}.csv"
    if scored.exists():
        return
    mine = cohort[cohort["magnification"] == str(magnification)]
    if mine.empty:
        progress.say(f"{magnification}x is left out: there are no pictures")
        return
    files = folder / f"{magnification}-cohort.csv", folder / f"{magnification}-split.csv"
    write_table(files[0], mine[["slide_id", "patient_id", "label"]])
    write_table(files[1], split[split["slide_id"].isin(mine["slide_id"])])
    start = {"encoder": f"file:{folder}", "weights": "pretrained"}
    patch = study.recipe.train.patch.model_copy(update=start)
    train = study.recipe.train.model_copy(update={"patch": patch})
    recipe = study.recipe.model_copy(update={"train": train, "seed": seed})
    try:
        run_train(
            study.store, files[0], folder / str(magnification), recipe,
            device=study.device, split=files[1], progress=_OneMagnification(progress),
        )  # fmt: skip
    except WsikitError as error:
        progress.say(f"{magnification}x is left out of seed {seed}: {error}")
        return
    write_table(scored, _scored(study, RunFolder(folder / str(magnification)), mine))


def _scored(study: Study, run: RunFolder, cohort: pd.DataFrame) -> pd.DataFrame:
    """Score single pictures of the patients held out."""
    config, facts, store = run.config(), run.facts(), Store(study.store)
    method = METHODS[facts.method]
    if not isinstance(method, PatchMethod):
        raise WsikitError(f"method '{facts.method}' does not train on pictures")
    device = resolve_device(study.device)
    network = trained_network(run, method, facts, config, 0).to(device).eval()
    known = cohort.set_index("slide_id")
    rows = []
    for slide_id in _of(run.splits(), "test"):
        found = predict_patches(
            network, patch_reader(store), slide_id, store.slide(slide_id).patch_count, device,
            config.train.patch.batch_size, method.pool(config.train.head),
        )  # fmt: skip
        own = known.loc[slide_id]
        assert found.patch_probabilities is not None  # a patch method scores patches
        for number, probabilities in enumerate(found.patch_probabilities):
            label = facts.classes.index(own["label"])
            rows.append((slide_id, own["patient_id"], number, label, float(probabilities[-1])))
    return pd.DataFrame(rows, columns=["slide_id", "patient_id", "picture", "label", "prob"])


def _rows(study: Study) -> Iterator[Row]:
    for variant in study.variants:
        for magnification in MAGNIFICATIONS:
            files = [study.place(variant, seed) / f"{magnification}.csv" for seed in study.seeds]
            tables = [pd.read_csv(file) for file in files if file.exists()]
            if not tables:
                continue
            values = np.mean([_measured(table) for table in tables], axis=0)
            drawn = _resampled(tables, study.recipe.train.bootstrap, study.recipe.seed)
            low, high = _interval(drawn)
            everyone = pd.concat(tables)
            for number, metric in enumerate(METRICS):
                yield Row(
                    variant, magnification, metric, values[number], low[number], high[number],
                    everyone["patient_id"].nunique(), len(everyone), len(tables), study.split,
                )  # fmt: skip


def _measured(table: pd.DataFrame) -> np.ndarray:
    """Return the `METRICS` of pictures; of a class without pictures some are not a number."""
    label, prob = table["label"].to_numpy(), table["prob"].to_numpy()
    called = prob >= 0.5
    hit = (called & (label == 1)).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = np.divide(hit, called.sum()), np.divide(hit, (label == 1).sum())
        f1 = 2 * hit / np.float64(called.sum() + (label == 1).sum())
    area = auc(label, np.stack([1 - prob, prob], axis=1))
    accuracy = (called == (label == 1)).mean()
    return np.array([accuracy, precision, recall, f1, np.nan if area is None else area])


def _resampled(tables: Sequence[pd.DataFrame], count: int, seed: int) -> np.ndarray:
    """Draw seeds, and patients of each drawn seed, with replacement: (count, metrics)."""
    rng = np.random.default_rng(seed)
    patients = [[own for _, own in table.groupby("patient_id")] for table in tables]
    drawn = []
    for _ in range(count):
        means = []
        for n in rng.integers(len(tables), size=len(tables)):
            own = patients[n]
            means.append(
                _measured(pd.concat([own[k] for k in rng.integers(len(own), size=len(own))]))
            )
        drawn.append(np.mean(means, axis=0))
    return np.array(drawn)


def _interval(drawn: np.ndarray) -> np.ndarray:
    """Return (2, metrics): the middle 95 %; of what was never defined, not a number."""
    known = ~np.isnan(drawn).all(axis=0)
    found = np.full((2, drawn.shape[1]), np.nan)
    if known.any():
        found[:, known] = np.nanpercentile(drawn[:, known], [2.5, 97.5], axis=0)
    return found


def _write_tables(study: Study, rows: Sequence[Row]) -> str:
    table = pd.DataFrame(rows)
    main = table[table["variant"] == UMAE]
    texts = []
    for name, part, lines in (
        ("table", main, _source_lines(main)),
        ("ablation", table, _ablation_lines(table, study.variants)),
    ):
        if part.empty or (name == "ablation" and study.variants == (UMAE,)):
            continue
        write_table(study.out / f"{name}.csv", part)
        text = "\n".join([_about(study), "", *lines, ""])
        write_bytes(study.out / f"{name}.md", text.encode())
        texts.append(text)
    return "\n".join(texts)


def _about(study: Study) -> str:
    train = study.recipe.train
    test = train.test_share
    val = (1 - test) * train.val_share
    shares = "/".join(f"{100 * share:.0f}" for share in (1 - test - val, val, test))
    kind = f"patients, {shares}" if study.split == "patient" else f"images. {LEAKY}"
    return (
        f"Single held-out pictures, per cent; 95 % intervals over patients and seeds "
        f"({len(study.seeds)}). Split: {kind}."
    )


def _source_lines(table: pd.DataFrame) -> Iterator[str]:
    names = [f"{metric} | source" for metric in METRICS[:4]]
    yield f"| magnification | pictures | {' | '.join(names)} | AUC |"
    yield "|---" * (3 + 2 * len(names)) + "|"
    for magnification, own in table.groupby("magnification"):
        cells = dict(zip(own["metric"], own.itertuples(), strict=True))
        parts = [f"{magnification}x", str(own["pictures"].iloc[0])]
        for metric, printed in zip(METRICS, SOURCE[int(str(magnification))], strict=False):
            parts += [_cell(cells[metric]), f"{printed:.2f}"]
        yield f"| {' | '.join([*parts, _cell(cells['AUC'])])} |"


def _ablation_lines(table: pd.DataFrame, variants: Sequence[str]) -> Iterator[str]:
    yield f"| method | magnification | pictures | {' | '.join(METRICS)} |"
    yield "|---" * (3 + len(METRICS)) + "|"
    for variant in variants:
        for magnification, own in table[table["variant"] == variant].groupby("magnification"):
            cells = [_cell(one) for one in own.itertuples()]
            count = own["pictures"].iloc[0]
            yield f"| {variant} | {magnification}x | {count} | {' | '.join(cells)} |"


def _cell(row: object) -> str:
    numbers = [float(getattr(row, name)) for name in ("value", "low", "high")]
    if np.isnan(numbers).any():
        return "undefined"
    value, low, high = (f"{100 * number:.1f}" for number in numbers)
    return f"{value} ({low} to {high})"


def _write_losses(study: Study) -> None:
    """Gather the losses of all pre-trainings."""
    parts = []
    for variant in study.variants:
        for seed in study.seeds:
            history = study.place(variant, seed) / "fit" / "history.csv"
            if history.exists():
                found = pd.read_csv(history)[["epoch", "train_loss", "val_loss"]]
                parts.append(found.assign(variant=variant, seed=seed))
    if parts:
        write_table(study.out / "losses.csv", pd.concat(parts))


def _draw(study: Study, seed: int, split: pd.DataFrame) -> None:
    """Draw the validation item with most magnifications as restored, and where encoders look."""
    read = StoredPictures(study.store)
    pretraining = Pretraining(study.store, (), _of(split, "val"))
    specimens = pretraining.sides(study.recipe.pretrain.missing).val
    if not specimens:
        return
    items = validation_items(specimens, seed)
    item = max(items, key=lambda one: len(set(map(_magnification, one.pictures))))
    shown = map(_magnification, item.pictures)
    rows = [
        f"{own}x" if own == wanted else f"{own}x\nfor {wanted}x"
        for own, wanted in zip(shown, MAGNIFICATIONS, strict=True)
    ]
    looking = {}
    for variant in study.variants:
        folder = study.place(variant, seed)
        if variant in (WITHOUT_RCA, UMAE):
            words = "without RCA" if variant == WITHOUT_RCA else "with RCA"
            looking[words] = read_encoder(folder)
        if ABLATION[variant] is None:
            continue
        model, _ = run_pretrain(
            Pretraining(study.store, _of(split, "train"), _of(split, "val")), folder,
            _settings(study, variant).pretrain, seed=seed, device=study.device,
            devices=study.devices,
        )  # fmt: skip
        name = f"restored-{folder.parent.name}.png"
        _save(study.out / "pictures" / name, restoration_sheet(model, item, read, rows))
    if looking:
        _save(study.out / "pictures" / "attention.png", attention_sheet(looking, item, read, rows))


def _magnification(picture: Picture) -> int:
    _, magnification = specimen_of(picture.slide_id) or ("", 0)
    return magnification


def _save(path: Path, sheet: np.ndarray) -> None:
    with whole_file(path) as part:
        Image.fromarray(sheet).save(part, format="PNG")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("breakhis", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--variant", action="append", choices=list(ABLATION))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--split", choices=("patient", "images"), default="patient")
    parser.add_argument("--patients", choices=("slide", "case"), default="slide")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--config", type=Path, default=packaged_config("umae"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args(arguments)
    try:
        study = Study(
            asked.breakhis, asked.out, load_config(asked.config, asked.set),
            variants=tuple(ABLATION if asked.ablation else asked.variant or (UMAE,)),
            seeds=tuple(range(asked.seeds)), split=asked.split, patients=asked.patients,
            device=asked.device, devices=asked.devices,
        )  # fmt: skip
        tables = run_recipe(study, LineProgress())
    except WsikitError as error:
        raise SystemExit(f"error: {error}") from None
    print(tables, end="")


if __name__ == "__main__":
    main()
