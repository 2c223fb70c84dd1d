"""Method B whole (CN115482232A): slides and labels in, cross-validated table and heatmaps out.

    python pipelines/self_distillation.py COHORT.csv OUT [--truth MASKS] [--features] [--workers N]
        [--device auto] [--config configs/self_distillation.yaml] [--set KEY=VALUE ...]

The source's steps, in its order, all with the settings of `configs/self_distillation.yaml`:

1. tile: 512 px patches, those of entropy under 15 bits are background;
2. split the patients; of each fold train a ResNet18 and a linear layer by a teacher, a Prediction
   Bank solved by Sinkhorn-Knopp, and the patches of negative slides;
3. score every patch of the slides held out, and pool the slide's score from them;
4. draw where the positive region is.

COHORT.csv names the slides (`slide`: paths from its own folder) and their `label`, of which there
are two; better also `patient_id`. MASKS holds `<slide_id>_mask.png`, white where the slide is
positive: then patches are measured too. `--features` trains on features (`extract.encoder`) instead
of pixels. Stopped and started again, it goes on. Writes `OUT/table.md`, and in `OUT/run` all that a
run holds: predictions, heatmaps, report.html.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsikit.atomic import write_bytes
from wsikit.cli.console import LineProgress
from wsikit.config import Config, load_config, packaged_config
from wsikit.errors import WsikitError
from wsikit.stages.evaluation.evaluate import Evaluation
from wsikit.stages.evaluation.truth import held_out_patch_auc
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.study.study import run_study
from wsikit.store.store import Store
from wsikit.training.metrics.metrics import METRICS, Interval

ON_FEATURES = ("train.method=self_distillation_features", "train.head={}")
"""The views of pixels are no options of the method on features."""


def run_recipe(
    cohort: Path,
    out: Path,
    recipe: Config,
    *,
    truth: Path | None = None,
    workers: int = 1,
    device: str = "auto",
    progress: Progress,
) -> str:
    """Do all four steps; return the table.

    Args:
        cohort: a cohort CSV with labels.
        out: everything goes here.
        recipe: settings of every stage.
        truth: folder of masks.
        workers: local processes for tiling.
        device: `auto`, `cpu` or `cuda`.
        progress: told of everything.
    """
    places = {"cohort": str(cohort.absolute()), "output": str(out.absolute())}
    result = run_study(
        recipe.model_copy(update=places), out, progress,
        workers=workers, device=device, truth=truth,
    )  # fmt: skip
    lines = list(_lines(result.evaluation)) if result.evaluation else []
    if truth is not None:
        auc = held_out_patch_auc(Store(result.store), RunFolder(result.run), truth)
        lines += ["", f"patch AUC on held-out slides: {_number(auc)}"]
    table = "\n".join([*lines, ""])
    write_bytes(out / "table.md", table.encode())
    return table


def _lines(evaluation: Evaluation) -> Iterator[str]:
    """Write a row a fold, and one over all held-out slides with intervals."""
    yield f"| fold | {' | '.join(METRICS)} |"
    yield "|---" * (len(METRICS) + 1) + "|"
    for fold, metrics in evaluation.folds.items():
        yield f"| {fold} | {' | '.join(_number(metrics[name].value) for name in METRICS)} |"
    yield f"| all | {' | '.join(_interval(evaluation.pooled[name]) for name in METRICS)} |"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(metric: Interval) -> str:
    return f"{_number(metric.value)} ({_number(metric.low)} to {_number(metric.high)})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the recipe from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--config", type=Path, default=packaged_config("self_distillation"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args(arguments)
    recipe = load_config(asked.config, [*(ON_FEATURES if asked.features else ()), *asked.set])
    try:
        table = run_recipe(
            asked.cohort, asked.out, recipe,
            truth=asked.truth, workers=asked.workers, device=asked.device, progress=LineProgress(),
        )  # fmt: skip
    except WsikitError as error:
        raise SystemExit(f"error: {error}") from None
    print(table, end="")


if __name__ == "__main__":
    main()
