"""Run: every stage of one recipe, from slide files to the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wsikit.config import Config
from wsikit.errors import ConfigError
from wsikit.execution.pool import open_pool
from wsikit.methods import METHODS, PatchMethod
from wsikit.stages.cohort import SourceSlide, read_cohort, require_column, source_slides
from wsikit.stages.evaluation.evaluate import Evaluation, run_evaluate
from wsikit.stages.evaluation.truth import TruthRule
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.graphs.graph import run_graph
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Outcome, Progress
from wsikit.stages.tiling.preload import SHARD_TASKS
from wsikit.stages.tiling.tile import check_store, run_tile
from wsikit.stages.training.begin_run import check_devices
from wsikit.stages.training.split_file import read_split
from wsikit.stages.training.train import run_train

T = TypeVar("T")


@dataclass
class StudyResult:
    """What a recipe made.

    Attributes:
        store: the store's folder.
        run: the run's folder.
        outcomes: stage -> what became of its slides.
        seconds: stage -> wall time.
        evaluation: the numbers, where there were labels.
    """

    store: Path
    run: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    evaluation: Evaluation | None = None

    def timed(self, stage: str, work: Callable[[], T]) -> T:
        """Run one stage and note how long it took."""
        start = time.perf_counter()
        result = work()
        self.seconds[stage] = round(time.perf_counter() - start, 2)
        return result


@dataclass(frozen=True)
class _Training:
    """What is learnt from, and how: all that `wsikit train` is told beside the recipe.

    Attributes:
        labels: the cohort CSV.
        split: a run or `split.csv` whose split is used again; None: one is made, or the CSV's
            own column used.
        devices: how many processes share the bags of each step.
    """

    labels: Path
    split: Path | None
    devices: int


def run_study(
    config: Config,
    base: Path,
    progress: Progress,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    slurm: Path | None = None,
    device: str = "auto",
    devices: int = 1,
    truth: Path | None = None,
    overwrite: bool = False,
) -> StudyResult:
    """Do every stage of a recipe; stages and slides that are done are skipped.

    Without a cohort or labels it stops after the graphs. A method that trains an encoder needs no
    features, so none are made.

    Args:
        config: the recipe; `output` and one of `slides` and `cohort` must be given.
        base: the folder that relative paths in the recipe start from.
        progress: told of everything.
        workers: local processes for tiling.
        scheduler: address of a Dask scheduler instead.
        slurm: description of SLURM jobs instead.
        device: `auto`, `cpu` or `cuda`.
        devices: how many processes share training; see `run_train`.
        truth: folder of known masks to outline on the heatmaps and to hold patch scores against.
        overwrite: replace what another recipe made.

    Raises:
        ConfigError: the recipe does not say what to read or where to write.
        CohortError: its CSV is wrong.
        UsageError: its split is not there, or its method cannot use so many devices.
    """
    if config.output is None:
        raise ConfigError("the recipe has no output", "add 'output: FOLDER', or use -o")
    out = base / config.output
    sources = _sources(config, base)
    training = _training(config, base, devices)
    result = StudyResult(out / "store", out / "run")
    check_store(sources, result.store, config.tile, overwrite)

    def tile() -> Outcome:
        with open_pool(
            workers, scheduler, slurm=slurm, say=progress.say, preload=[SHARD_TASKS]
        ) as pool:
            return run_tile(
                sources, result.store, config.tile,
                pool=pool, progress=progress, overwrite=overwrite,
            )  # fmt: skip

    result.outcomes["tile"] = result.timed("tile", tile)
    encoder_id = None
    if training is None or not isinstance(METHODS[config.train.method], PatchMethod):
        encoder_id = _describe(result, config, progress, device, overwrite)
    if training is not None:
        _learn(result, config, training, encoder_id, progress, device, truth, overwrite)
    return result


def _training(config: Config, base: Path, devices: int) -> _Training | None:
    """Return how the recipe is trained, None without labels.

    What is wrong with it is said here, before hours of tiling.
    """
    named = config.labels or config.cohort
    if named is None:
        if config.split is not None:
            raise ConfigError(
                "the recipe names a split and no labels", "add 'cohort: FILE.csv', or leave it out"
            )
        return None
    labels = base / named
    require_column(read_cohort(labels), "label", labels)
    check_devices(config.train.method, METHODS[config.train.method], devices)
    split = None if config.split is None else base / config.split
    if split is not None:
        read_split(split).written_into(config)
    return _Training(labels, split, devices)


def _describe(
    result: StudyResult, config: Config, progress: Progress, device: str, overwrite: bool
) -> str:
    """Make features and graphs; return the encoder id."""
    encoder_id, result.outcomes["extract"] = result.timed(
        "extract",
        lambda: run_extract(
            result.store, config.extract, device=device, progress=progress, overwrite=overwrite
        ),
    )
    _, result.outcomes["graph"] = result.timed(
        "graph",
        lambda: run_graph(
            result.store, config.graph, encoder_id, progress=progress, overwrite=overwrite
        ),
    )
    return encoder_id


def _sources(config: Config, base: Path) -> list[SourceSlide]:
    if config.slides and config.cohort:
        raise ConfigError(
            "the recipe names both slides and cohort",
            "keep one of them; labels of slides go into 'labels: FILE.csv'",
        )
    if config.cohort:
        return source_slides([base / config.cohort])
    if config.slides:
        return source_slides([base / slide for slide in config.slides])
    raise ConfigError("the recipe names no slides", "add 'cohort: FILE.csv' or 'slides: [...]'")


def _learn(
    result: StudyResult,
    config: Config,
    training: _Training,
    encoder_id: str | None,
    progress: Progress,
    device: str,
    truth: Path | None,
    overwrite: bool,
) -> None:
    result.outcomes["train"] = result.timed(
        "train",
        lambda: run_train(
            result.store, training.labels, result.run, config,
            encoder=encoder_id, device=device, devices=training.devices, split=training.split,
            progress=progress, overwrite=overwrite,
        ),
    )  # fmt: skip
    result.outcomes["predict"] = result.timed(
        "predict",
        lambda: run_predict(result.store, result.run, device=device, progress=progress),
    )

    def draw(progress: Progress | None) -> Outcome:
        return run_heatmap(
            result.store, result.run, None, config.heatmap, truth=truth, progress=progress
        )

    result.outcomes["heatmap"] = result.timed("heatmap", lambda: draw(progress))
    known = None if truth is None else TruthRule(truth)
    result.evaluation = result.timed(
        "report", lambda: run_evaluate(result.run, truth=known, store=result.store)
    )
    draw(None)  # The report shows heatmaps, and the cohort page its numbers: only that is left.
