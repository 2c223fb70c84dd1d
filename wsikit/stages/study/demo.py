"""The demo: the whole main path on phantom slides, checked against their exact truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from wsikit.atomic import write_json
from wsikit.config import Config
from wsikit.execution.pool import open_pool
from wsikit.phantoms.cohort import cohort_specs
from wsikit.stages.cohort import parse_mpp, source_slides
from wsikit.stages.evaluation.truth import held_out_patch_auc
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.progress import Outcome, Progress
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.study.look import run_look
from wsikit.stages.study.phantom_slides import make_phantoms
from wsikit.stages.study.study import run_study
from wsikit.stages.tiling.tile import check_store, run_tile
from wsikit.store.store import Store


@dataclass(frozen=True)
class DemoResult:
    """What the demo found; kept in `demo.json`.

    Attributes:
        slide_auc: area under the ROC curve over held-out slides.
        patch_auc: the same over the patches of held-out slides, against the exact masks.
        slides: how many phantoms.
        seconds: wall time of everything.
        stages: stage -> seconds.
        store: path of the store.
        run: path of the run.
        heatmaps: path of the heatmaps.
        report: path of the report.
    """

    slide_auc: float | None
    patch_auc: float | None
    slides: int
    seconds: float
    stages: dict[str, float]
    store: str
    run: str
    heatmaps: str
    report: str


def run_demo(
    out: Path,
    config: Config,
    progress: Progress,
    *,
    count: int,
    workers: int,
    device: str = "auto",
) -> DemoResult:
    """Make phantoms, run the recipe over them, and measure it against their truth.

    Args:
        out: everything goes here; an unfinished demo in it continues.
        config: the recipe, without slides.
        progress: told of everything.
        count: how many phantom slides.
        workers: local processes.
        device: `auto`, `cpu` or `cuda`.
    """
    start = time.perf_counter()
    specs = cohort_specs(count, config.seed)
    with open_pool(workers) as pool:
        make_phantoms(specs, out / "slides", pool, progress)
    made = time.perf_counter() - start
    study = config.model_copy(update={"cohort": "slides/cohort.csv", "output": "."})
    truth = out / "slides" / "truth"
    result = run_study(study, out, progress, workers=workers, device=device, truth=truth)
    run = RunFolder(result.run)
    pooled = result.evaluation.pooled if result.evaluation else {}
    demo = DemoResult(
        slide_auc=pooled["auc"].value if "auc" in pooled else None,
        patch_auc=held_out_patch_auc(Store(result.store), run, truth),
        slides=count,
        seconds=round(time.perf_counter() - start, 1),
        stages={"phantoms": round(made, 2), **result.seconds},
        store=str(result.store),
        run=str(result.run),
        heatmaps=str(run.heatmaps),
        report=str(run.report_html),
    )
    write_json(out / "demo.json", asdict(demo))
    return demo


def run_first_look(
    slides: Sequence[Path],
    out: Path,
    config: Config,
    progress: Progress,
    *,
    mpp: str | None = None,
    workers: int,
    device: str = "auto",
) -> tuple[dict[str, Outcome], list[Path]]:
    """Run the demo's recipe on a user's own slides, as far as no labels are needed.

    Args:
        slides: files and folders.
        out: receives `store/` and `look/`.
        config: the demo's recipe.
        progress: told of everything.
        mpp: resolution of slides that state none.
        workers: local processes.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        What became of the slides at each stage, and the pictures.
    """
    sources = source_slides(slides, parse_mpp(mpp or "", "--mpp"))
    store = out / "store"
    check_store(sources, store, config.tile, overwrite=False)
    with open_pool(workers) as pool:
        tiled = run_tile(sources, store, config.tile, pool=pool, progress=progress)
    outcomes = {"tile": tiled}
    if not Store(store).slide_ids():
        return outcomes, []
    encoder_id, outcomes["extract"] = run_extract(
        store, config.extract, device=device, progress=progress
    )
    pictures = run_look(store, encoder_id, out / "look", seed=config.seed, progress=progress)
    return outcomes, pictures
