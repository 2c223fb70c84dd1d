"""The page on a whole run: every slide with its prediction, flags, small heatmap and files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from wsikit.config import HeatmapConfig
from wsikit.errors import StoreError, WsikitError
from wsikit.heatmap.colours import heat_lut
from wsikit.heatmap.paint import blend, mix, value_map
from wsikit.reports.cohort_report import CohortReport, CohortRow, write_cohort_page
from wsikit.reports.text import Estimate
from wsikit.stages.evaluation.slides import run_title
from wsikit.stages.heatmaps.file_names import PAGE, files_there
from wsikit.stages.heatmaps.overview import overview
from wsikit.stages.heatmaps.run_scores import predictions
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.labelled import NO_TISSUE
from wsikit.stages.progress import Outcome
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.store.store import Store
from wsikit.types import Size, UInt8Image

THUMBNAIL_PX = 240
QUALITY = 78

COLOUR_STEPS = 8
"""Colours from low to high that the page's scale is drawn from."""

TISSUE_SLIDES = 8
"""How many slides say what tissue the scale's colours are laid over."""

LINK_NAMES = {
    "{slide_id}.png": "picture",
    "{slide_id}.patches.png": "top patches",
    "{slide_id}.geojson": "GeoJSON for QuPath",
    "{slide_id}.scores.ome.tiff": "OME-TIFF of scores",
    "{slide_id}.overlay.ome.tiff": "OME-TIFF",
    "{slide_id}/index.html": "open in the browser",
    "{slide_id}.viewer.html": "one file for the browser",
}
"""What a file is called where it is linked, by the pattern of its name; see `FILES`."""

SHOWN_METRICS = {"auc": "AUC", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}

NOT_PREDICTED = "in the store and not predicted: run wsikit predict"

NO_INTERVAL = (
    "A single slide's probability has no confidence interval here: one slide was scored, once, and "
    "nothing was sampled. The intervals above are of the cohort: how much a number would vary with "
    "other slides of the same kind."
)
RANGE = (
    "Range over models: a slide that the run never saw is scored by the models of all its folds; "
    "the range is from the lowest to the highest of them. It says how far the models agree, and "
    "not how often they are right. It is no confidence interval."
)
FLAGS = (
    "Flags: 'few patches', 'stain far from training' and 'features far from training' compare a "
    "slide with those the run was trained on. A flag is a reason to look, and no proof of an "
    "error; no flag is no proof of its absence."
)
TRAINED_ON = (
    "A slide whose split is 'train' was learnt from. Its prediction says nothing about new slides, "
    "and it is not compared with its label here."
)


def small_heatmap(slide: SlideHeatmap) -> bytes:
    """Return a slide's thumbnail with its scores in colour, as a small JPEG."""
    shown = overview(slide)
    across, down = shown.scale
    image = Image.fromarray(shown.image)
    own = slide.stored.mpp_l0  # where x and y differ, the picture is stretched to be true
    size = (image.width * across * own.x, image.height * down * own.y)
    share = THUMBNAIL_PX / max(size)
    small = image.resize((max(1, round(size[0] * share)), max(1, round(size[1] * share))))
    scale = (across * image.width / small.width, down * image.height / small.height)
    config = slide.config
    painted = blend(
        np.asarray(small, np.uint8), scale, shown.scores, _opacity(config), config.colours
    )
    buffer = io.BytesIO()
    Image.fromarray(painted).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _opacity(config: HeatmapConfig) -> float:
    """Return the share of the colour on a small heatmap, where a faint one would not be seen."""
    return max(config.alpha, 0.6)


def thumbnail_file(folder: Path, slide_id: str) -> Path:
    """Return where a slide's small heatmap is kept between runs."""
    return folder / ".made" / f"{slide_id}.jpg"


def write_cohort_report(
    store: Store,
    run: RunFolder,
    folder: Path,
    config: HeatmapConfig,
    meaning: str,
    outcome: Outcome,
) -> Path:
    """Write `cohort.html`: every slide that the run or the store knows of.

    Args:
        store: holds the slides.
        run: the run, or what `wsikit predict -o` wrote.
        folder: where heatmaps lie; receives the page.
        config: how they were drawn.
        meaning: what a colour stands for, in words.
        outcome: what became of the slides that were drawn now.

    Raises:
        StoreError: predictions.csv is damaged.
        UsageError: the page cannot be written.
    """
    known, facts = predictions(run), _facts(run)
    failures = {**_store_failures(store), **(facts.dropped if facts else {}), **run.failures()}
    failures = {name: why for name, why in failures.items() if name not in known}
    tiled = set(store.slide_ids())
    names = sorted({*known, *failures, *store.known_ids()})
    drawn = failures | outcome.failed
    classes = _classes(known)
    rows = [
        _row(run, name, known.get(name), drawn.get(name), classes, folder, tiled) for name in names
    ]
    path = folder / PAGE
    report = CohortReport(
        title=f"{run_title(run.path)}: all slides",
        probability_of=f"probability of {_shown(classes)}" if classes else "probability",
        meaning=meaning,
        rows=rows,
        measured=dict(_measured(run)),
        notes=list(_notes(run, rows)),
        colours=_colours(config, _tissue(store, folder)),
    )
    write_cohort_page(path, report)
    return path


def _facts(run: RunFolder) -> RunFacts | None:
    try:
        return run.facts()
    except StoreError:  # what predict -o wrote holds none
        return None


def _classes(known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the classes that predictions.csv names, in its order."""
    for row in known.values():
        return [name.removeprefix("prob_") for name in row if name.startswith("prob_")]
    return []


def _shown(classes: list[str]) -> str:
    return classes[-1] if len(classes) == 2 else "the predicted class"


def _row(
    run: RunFolder,
    slide_id: str,
    known: Mapping[str, str] | None,
    reason: str | None,
    classes: list[str],
    folder: Path,
    tiled: set[str],
) -> CohortRow:
    links = dict(_links(folder, slide_id))
    thumbnail = _thumbnail(folder, slide_id)
    if known is None:
        if reason is None:
            return CohortRow(slide_id, "open", NOT_PREDICTED if slide_id in tiled else "")
        if reason.startswith(NO_TISSUE):
            return CohortRow(slide_id, "empty", reason, thumbnail=thumbnail, links=links)
        return CohortRow(slide_id, "failed", reason, thumbnail=thumbnail, links=links)
    shown = classes[-1] if len(classes) == 2 else known["pred"]
    return CohortRow(
        slide_id,
        "done",
        reason=f"heatmap: {reason}" if reason else "",
        patient_id=known["patient_id"],
        label=known["label"],
        split=known["split"],
        predicted=known["pred"],
        probability=_number(known.get(f"prob_{shown}")),
        models=_models(known),
        patches=_patches(run, slide_id),
        flags=tuple(flag for flag in _text(known.get("flags")).split(";") if flag),
        thumbnail=thumbnail,
        links=links,
    )


def _text(value: str | None) -> str:
    """Return a cell's text; one that another slide's row lacks reads as nan."""
    return "" if value in (None, "nan") else str(value)


def _number(value: str | None) -> float | None:
    text = _text(value)
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _patches(run: RunFolder, slide_id: str) -> int | None:
    """Count the patches that were scored, without reading their scores."""
    try:
        return int(pyarrow.parquet.read_metadata(run.patch_table(slide_id)).num_rows)
    except (OSError, ValueError):
        return None


def _models(known: Mapping[str, str]) -> tuple[float, float] | None:
    low, high = _number(known.get("lowest")), _number(known.get("highest"))
    return None if low is None or high is None else (low, high)


def _links(folder: Path, slide_id: str) -> Iterator[tuple[str, Path]]:
    """Yield the slide's files that are there, each by what it is called."""
    for pattern, path in files_there(folder, slide_id):
        if pattern in LINK_NAMES:
            yield LINK_NAMES[pattern], path
        else:
            yield f"Grad-CAM {path.stem.rpartition('-')[2]}", path


def _thumbnail(folder: Path, slide_id: str) -> bytes | None:
    try:
        return thumbnail_file(folder, slide_id).read_bytes()
    except OSError:
        return None


def _store_failures(store: Store) -> dict[str, str]:
    """Return why slides of the store have no prediction, as far as its stages say."""
    found = {}
    for slide_id in store.known_ids():
        try:
            stages = store.status(slide_id)
        except WsikitError as error:
            found[slide_id] = str(error)
            continue
        for stage, status in stages.items():
            if status.state == "failed":
                found[slide_id] = f"{stage.partition('.')[0]}: {status.reason}"
            elif status.state == "empty" and slide_id not in found:
                found[slide_id] = NO_TISSUE
    return found


def _measured(run: RunFolder) -> Iterator[tuple[str, Estimate]]:
    """Yield the cohort's numbers with their intervals, where `wsikit evaluate` measured them."""
    try:
        pooled = json.loads(run.metrics_json.read_bytes())["pooled"]
        for name, words in SHOWN_METRICS.items():
            if name in pooled:
                own = pooled[name]
                why = own.get("reason") or ""
                yield words, Estimate(own["value"], own.get("low"), own.get("high"), why)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _notes(run: RunFolder, rows: list[CohortRow]) -> Iterator[str]:
    yield NO_INTERVAL if run.metrics_json.exists() else NO_INTERVAL.partition(" The intervals")[0]
    if any(row.models for row in rows):
        yield RANGE
    if any(row.flags for row in rows) or any(row.state == "done" for row in rows):
        yield FLAGS
    if any(row.split == "train" for row in rows):
        yield TRAINED_ON


def _tissue(store: Store, folder: Path) -> UInt8Image:
    """Return the mean colour, (3,), under the patches of some slides that are shown; else white."""
    means: list[NDArray[np.floating]] = []
    for slide_id in store.slide_ids():
        if len(means) == TISSUE_SLIDES:
            break
        if not thumbnail_file(folder, slide_id).exists():
            continue
        try:
            stored = store.slide(slide_id)
            image, corners = stored.thumbnail(), stored.patches.xy_l0
        except WsikitError:  # told of when it is drawn
            continue
        place = (image.shape[:2], stored.thumbnail_scale, corners, Size(*stored.grid.side_l0()))
        _, inside = value_map(*place, np.zeros(len(corners)))
        if inside.any():
            means.append(image[inside].mean(axis=0))
    mean = np.mean(means, axis=0) if means else np.full(3, 255.0)
    return np.asarray(np.rint(mean), np.uint8)


def _colours(config: HeatmapConfig, tissue: UInt8Image) -> list[str]:
    """Return what low and high look like over tissue."""
    under = np.ascontiguousarray(np.broadcast_to(tissue, (256, 3)))
    table = mix(under, heat_lut(config.colours), _opacity(config))
    steps = [round(i * 255 / (COLOUR_STEPS - 1)) for i in range(COLOUR_STEPS)]
    return ["#" + bytes(table[step].tolist()).hex() for step in steps]
