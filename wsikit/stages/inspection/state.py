"""What a store or a run holds, for `wsikit status`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from wsikit.errors import StoreError, WsikitError
from wsikit.stages.run_folder import RunFolder
from wsikit.store.status import StageStatus
from wsikit.store.store import Store


def state_of(path: Path) -> dict[str, Any]:
    """Describe a store, a run, or predictions that lie by themselves.

    Args:
        path: either folder.

    Returns:
        For predictions: kind, path, counts of slides, of flagged ones and of patch tables, and why
        slides failed. For a store: kind, path, tile recipe, counts by stage, and each slide's
        stages. For a run: kind, path, method, classes, folds, and which parts are finished.

    Raises:
        StoreError: it is neither.
    """
    if (path / "wsikit.json").exists():
        return _store_state(Store(path))
    run = RunFolder(path)
    if run.begun:
        return _run_state(run)
    if run.predictions_csv.exists():
        return _predictions_state(run)
    raise StoreError(
        f"{path}: neither a store (no wsikit.json) nor a run (no provenance.json)", "check the path"
    )


def _store_state(store: Store) -> dict[str, Any]:
    slides: dict[str, Any] = {}
    counts: dict[str, Counter[str]] = {}
    tiled = set(store.slide_ids())
    for slide_id in store.known_ids():
        stages = _stages(store, slide_id)
        slides[slide_id] = {
            stage: {"state": s.state, "reason": s.reason, "seconds": s.seconds}
            for stage, s in stages.items()
        }
        slides[slide_id]["patches"] = _patch_count(store, slide_id) if slide_id in tiled else 0
        for stage, status in stages.items():
            counts.setdefault(stage, Counter())[status.state] += 1
    return {
        "kind": "store",
        "path": str(store.path),
        "tile": store.tile_recipe,
        "encoders": store.encoder_ids(),
        "counts": {stage: dict(counter) for stage, counter in sorted(counts.items())},
        "slides": slides,
    }


def _stages(store: Store, slide_id: str) -> dict[str, StageStatus]:
    """Read a slide's outcomes; a damaged record is one of them, so that the rest is shown."""
    try:
        return store.status(slide_id)
    except StoreError as error:
        return {"record": StageStatus("failed", reason=str(error))}


def _patch_count(store: Store, slide_id: str) -> int | None:
    try:
        return len(store.slide(slide_id).patches)
    except WsikitError:
        return None


def _run_state(run: RunFolder) -> dict[str, Any]:
    facts = run.facts()
    fitted = sum((run.fold(fold) / "fit.json").exists() for fold in range(facts.folds))
    return {
        "kind": "run",
        "path": str(run.path),
        "method": facts.method,
        "classes": list(facts.classes),
        "encoder": facts.encoder_id,
        "folds": facts.folds,
        "folds_fitted": fitted,
        "predicted": run.predictions_csv.exists(),
        "patch_tables": len(list(run.patches.glob("*.parquet"))),
        "heatmaps": len(list(run.heatmaps.glob("*.png"))),
        "report": run.report_html.exists(),
        "left_out": dict(facts.dropped),
    }


def _predictions_state(run: RunFolder) -> dict[str, Any]:
    table = run.predictions()
    return {
        "kind": "predictions",
        "path": str(run.path),
        "slides": len(table),
        "flagged": int(table["flags"].ne("").sum()) if "flags" in table else 0,
        "patch_tables": len(list(run.patches.glob("*.parquet"))),
        "failed": run.failures(),
    }
