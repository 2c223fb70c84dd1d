"""Make a cohort of phantom slides on disk: pictures, truth and labels.

Apart from the demo itself, so that workers that draw phantoms need not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsikit.atomic import write_bytes
from wsikit.execution.pool import Pool, Task
from wsikit.phantoms.cohort import cohort_table, write_truth
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stages.progress import Progress


def make_phantoms(
    specs: Sequence[PhantomSpec], folder: Path, pool: Pool, progress: Progress
) -> None:
    """Write phantom slides, their truth and their cohort CSV; those that are there stay.

    Args:
        specs: the phantoms.
        folder: receives `<slide_id>.tiff`, `truth/` and `cohort.csv`.
        pool: where to run.
        progress: told of each slide.
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    progress.start("phantoms", len(specs))
    todo = [Task(spec.slide_id, make_phantom, (spec, folder.absolute())) for spec in specs]
    in_flight = 0
    while todo or in_flight:
        while todo and in_flight < pool.slots:
            pool.submit(todo.pop(0))
            in_flight += 1
        task = pool.next_done()
        task.result()
        in_flight -= 1
        progress.advance(task.key)
    progress.finish()
    table = cohort_table(list(specs)).to_csv(index=False, lineterminator="\n")
    write_bytes(folder / "cohort.csv", table.encode())


def make_phantom(spec: PhantomSpec, folder: Path) -> None:
    """Write one phantom and its truth, unless they are there."""
    slide = folder / f"{spec.slide_id}.tiff"
    mask = folder / "truth" / f"{spec.slide_id}_mask.png"
    if not mask.exists():
        write_truth(spec, folder / "truth")
    if not slide.exists():
        write_phantom(spec, slide)
