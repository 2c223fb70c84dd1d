"""Method A whole (CN115409783A): slides and labels in, cross-validated table and heatmaps out.

    python pipelines/graph_transformer.py COHORT.csv OUT [--folds 5] [--workers N] [--device auto]
        [--encoder-config configs/am_softmax.yaml] [--config configs/graph_transformer.yaml]
        [--encoder-set KEY=VALUE ...] [--set KEY=VALUE ...]

The source's steps, in its order:

1. tile: 512 px patches, RGB > 200 is background, histograms matched to a reference;
2. split the patients; train a VGG16 with AM-softmax on the training patches of each fold, which
   inherit their slide's label;
3. take that network's features of every patch, and join each patch to its 8 nearest;
4. train the graph transformer on the same patients, and score those held out.

The encoder of a fold never sees a patient that the fold holds out, so there is one encoder and one
set of features a fold. Stopped and started again, it goes on. Writes `OUT/table.md` and
`OUT/metrics.json` (all folds together), `OUT/predictions.csv`, and for each fold a run with
heatmaps and `report.html`. KRAS status, metastasis: whatever the column `label` says.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from wsikit.atomic import write_bytes
from wsikit.cli.console import LineProgress
from wsikit.config import Config, load_config, packaged_config
from wsikit.errors import WsikitError
from wsikit.execution.pool import open_pool
from wsikit.stages.cohort import source_slides
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.graphs.graph import run_graph
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFolder, write_table
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.train import run_train
from wsikit.training.metrics.metrics import Interval, classification_metrics


def run_recipe(
    cohort: Path,
    out: Path,
    encoder_recipe: Config,
    recipe: Config,
    *,
    workers: int = 1,
    device: str = "auto",
    progress: Progress,
) -> dict[str, Interval]:
    """Do all four steps; return the numbers over all held-out slides.

    Args:
        cohort: a cohort CSV with labels.
        out: everything goes here.
        encoder_recipe: how the encoder is trained; its folds are those of the cross-validation.
        recipe: how slides are tiled and joined, and how the head is trained.
        workers: local processes for tiling.
        device: `auto`, `cpu` or `cuda`.
        progress: told of everything.
    """
    store = out / "store"
    with open_pool(workers) as pool:
        run_tile(source_slides([cohort]), store, recipe.tile, pool=pool, progress=progress)
    encoders = RunFolder(out / "encoders")
    run_train(store, cohort, encoders.path, encoder_recipe, device=device, progress=progress)
    runs = [
        _run_fold(cohort, out, fold, encoders, recipe, device, progress)
        for fold in range(encoder_recipe.train.folds)
    ]
    return _all_folds(runs, out, recipe)


def _run_fold(
    cohort: Path,
    out: Path,
    fold: int,
    encoders: RunFolder,
    recipe: Config,
    device: str,
    progress: Progress,
) -> RunFolder:
    """Describe every patch by a fold's encoder; train, predict and draw with that fold's split."""
    store = out / "store"
    # A single encoder lies in the run itself, those of several folds in the folds.
    file = encoders.path if encoders.encoder.exists() else encoders.fold(fold)
    extract = recipe.extract.model_copy(update={"encoder": f"file:{file}"})
    encoder_id, _ = run_extract(store, extract, device=device, progress=progress)
    run_graph(store, recipe.graph, encoder_id, progress=progress)
    split = encoders.splits()
    split = split[split["fold"] == fold].assign(fold=0)
    split_csv = out / f"split-{fold}.csv"
    write_table(split_csv, split)
    run = RunFolder(out / f"fold-{fold}")
    held_out = list(split.loc[split["split"] == "test", "slide_id"])
    run_train(
        store, cohort, run.path, recipe,
        encoder=encoder_id, split=split_csv, device=device, progress=progress,
    )  # fmt: skip
    run_predict(store, run.path, slide_ids=held_out, device=device, progress=progress)
    run_heatmap(store, run.path, None, recipe.heatmap, slide_ids=held_out, progress=progress)
    run_evaluate(run.path)
    return run


def _all_folds(runs: Sequence[RunFolder], out: Path, recipe: Config) -> dict[str, Interval]:
    """Measure the held-out slides of all folds together."""
    classes = runs[0].facts().classes
    parts = []
    for fold, run in enumerate(runs):
        table = run.predictions()
        parts.append(table[table["split"] == "test"].assign(fold=fold))
    table = pd.concat(parts).sort_values("slide_id")
    metrics = classification_metrics(
        np.array([classes.index(label) for label in table["label"]]),
        table[[f"prob_{name}" for name in classes]].to_numpy(np.float64),
        table["patient_id"].to_numpy(),
        bootstrap=recipe.train.bootstrap,
        seed=recipe.seed,
    )
    write_table(out / "predictions.csv", table)
    content = {name: one._asdict() for name, one in metrics.items()}
    write_bytes(out / "metrics.json", (json.dumps(content, indent=1) + "\n").encode())
    write_bytes(out / "table.md", _as_table(metrics, len(table), len(runs)).encode())
    return metrics


def _as_table(metrics: dict[str, Interval], slides: int, folds: int) -> str:
    lines = [
        f"{slides} held-out slides of {folds} folds; 95 % intervals by bootstrap over patients",
        "",
        "| | value | from | to |",
        "|---|---|---|---|",
    ]
    for name, one in metrics.items():
        cells = ("undefined" if v is None else f"{v:.3f}" for v in (one.value, one.low, one.high))
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--encoder-config", type=Path, default=packaged_config("am_softmax"))
    parser.add_argument("--config", type=Path, default=packaged_config("graph_transformer"))
    parser.add_argument("--encoder-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    try:
        run_recipe(
            asked.cohort,
            asked.out,
            load_config(asked.encoder_config, [*asked.encoder_set, f"train.folds={asked.folds}"]),
            load_config(asked.config, asked.set),
            workers=asked.workers,
            device=asked.device,
            progress=LineProgress(),
        )
    except WsikitError as error:
        raise SystemExit(f"error: {error}") from None
    print((asked.out / "table.md").read_text(), end="")


if __name__ == "__main__":
    main()
