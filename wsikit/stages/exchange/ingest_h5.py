"""Ingest feature files of CLAM, TRIDENT and wsikit itself: HDF5 in, a store without pixels out."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from wsikit.errors import SlideError, StoreError, UsageError, WsikitError, nearest
from wsikit.slides.find import default_slide_id
from wsikit.slides.fingerprint import quick_stamp
from wsikit.stages.cohort import SourceSlide, source_slides
from wsikit.stages.exchange.foreign_encoder import encoder_name, foreign_encoder_id
from wsikit.stages.exchange.ingested_slide import PlacedSlide, place_slide, write_placed
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.store.derived_writer import write_features
from wsikit.store.h5_geometry import H5Geometry, stated_geometry
from wsikit.store.h5_layout import SUFFIXES, H5Bag, H5Head
from wsikit.store.h5_reader import read_bag, read_coords, read_head
from wsikit.store.recipe import Recipe, recipe_id
from wsikit.store.status import StageStatus
from wsikit.store.store import Store
from wsikit.types import Mpp

T = TypeVar("T")

STAGE = "ingest"
ALGORITHM = 1


@dataclass(frozen=True)
class H5Options:
    """What the files do not say.

    Attributes:
        encoder: name of the encoder that made the features.
        mpp: um per level-0 px of all slides.
        slides: a folder or cohort CSV of slide files, for size, resolution and thumbnail, as far
            as they are there; the CSV's own mpp goes before `mpp`.
        coords: a folder of CLAM's or TRIDENT's patch files, for the patches' geometry.
        patch_size_level0: side of a patch in level-0 px.
        size_from_patches: take what the patches reach to for the size of a slide that none states.
    """

    encoder: str | None = None
    mpp: Mpp | None = None
    slides: Path | None = None
    coords: Path | None = None
    patch_size_level0: int | None = None
    size_from_patches: bool = False


@dataclass(frozen=True)
class _Found:
    """One feature file, looked at but not read."""

    slide_id: str
    path: Path
    head: H5Head
    geometry: H5Geometry
    encoder_id: str
    coords: Path | None
    source: SourceSlide | None
    mpp: Mpp | None

    @property
    def recipe(self) -> Recipe:
        """What all slides of a store have in common."""
        return {
            "algorithm": ALGORITHM,
            "ingest": "h5",
            "size": self.geometry.patch_px,
            "mpp": "each slide's own",
            "magnification": self.geometry.magnification,
            "level": self.geometry.level,
        }


def run_ingest_h5(
    folder: Path,
    store_path: Path,
    options: H5Options | None = None,
    *,
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> tuple[str, Outcome]:
    """Take feature files into a store; a file that cannot be taken is named and the rest go on.

    Args:
        folder: holds `<slide_id>.h5`, itself or in its `h5_files`.
        store_path: the store, made if it is not there.
        options: what the files do not say.
        slide_ids: only these; default all.
        progress: told of each slide.
        overwrite: replace slides and features that are there.

    Returns:
        The encoder id under which the features lie (empty if no file can be taken), and what
        became of each slide.

    Raises:
        UsageError: the folder holds no such files, or the encoder is named nowhere.
        StoreError: the store holds tiled slides, or other patches.
    """
    options = options or H5Options()
    progress = progress or Silent()
    _refuse_tiled(store_path)
    files = _files(folder, slide_ids)
    found, failed = _look_at_all(files, options)
    if not found:
        return "", Outcome(failed=failed)
    encoder_id = _commonest(f.encoder_id for f in found)
    found, failed = _one_encoder(found, failed, encoder_id)
    recipe = _store_recipe(store_path, found)
    store = Store.create(store_path, recipe)
    with store.lock():
        ingest = _Ingest(store, f"{STAGE}.{encoder_id}", options, overwrite)
        progress.start(STAGE, len(files))
        for slide_id, reason in failed.items():
            ingest.fail(slide_id, reason, progress)
        for item in found:
            ingest.take(item, progress)
        progress.finish()
    return encoder_id, ingest.outcome


def _refuse_tiled(path: Path) -> None:
    if (path / "wsikit.json").exists() and "ingest" not in Store(path).tile_recipe:
        raise StoreError(
            f"{path}: the store holds tiled slides", "ingest into a store of its own with -o"
        )


def _files(folder: Path, slide_ids: Sequence[str] | None) -> dict[str, Path]:
    """List the feature files by slide id."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", "give the folder of .h5 files")
    below = folder / "h5_files"
    inside = below if below.is_dir() else folder
    files: dict[str, Path] = {}
    for path in sorted(p for p in inside.iterdir() if p.suffix.lower() in SUFFIXES):
        if path.name.startswith("."):
            continue
        other = files.setdefault(default_slide_id(path), path)
        if other is not path:
            raise UsageError(
                f"{other} and {path.name} would both be slide '{default_slide_id(path)}'",
                "rename one of them",
            )
    if not files:
        raise UsageError(f"{folder}: holds no .h5 files", "give the folder of feature files")
    for name in slide_ids or ():
        if name not in files:
            raise UsageError(f"{folder}: holds no file of slide '{name}'", nearest(name, files))
    return files if slide_ids is None else {name: files[name] for name in slide_ids}


def _look_at_all(
    files: Mapping[str, Path], options: H5Options
) -> tuple[list[_Found], dict[str, str]]:
    """Look at every file before any is taken, so that the odd one out is known."""
    sources = {}
    if options.slides is not None:
        sources = {s.slide_id: s for s in source_slides([options.slides], options.mpp)}
    found, failed = [], {}
    for slide_id, path in files.items():
        try:
            found.append(_look(slide_id, path, options, sources.get(slide_id)))
        except SlideError as error:
            failed[slide_id] = str(error)
    return found, failed


def _look(slide_id: str, path: Path, options: H5Options, source: SourceSlide | None) -> _Found:
    if not path.is_file():
        raise SlideError(f"{path.name}: is no file, or a link that leads nowhere", "copy it again")
    head = read_head(path)
    beside, facts = None, head.facts
    if options.coords is not None and facts.own is None:
        beside = _coords_file(options.coords, path)
        facts = read_coords(beside)[1]
    geometry = stated_geometry(facts, (beside or path).name, options.patch_size_level0)
    encoder_id = foreign_encoder_id(head, path, options.encoder)
    mpp = source.mpp if source else options.mpp
    here = source if source and source.path.exists() else None
    return _Found(slide_id, path, head, geometry, encoder_id, beside, here, mpp)


def _coords_file(folder: Path, path: Path) -> Path:
    """Return the patch file that belongs to a feature file: CLAM's name, or TRIDENT's."""
    for name in (f"{path.stem}.h5", f"{path.stem}_patches.h5"):
        if (folder / name).is_file():
            return folder / name
    raise SlideError(
        f"{path.name}: has no patch file in {folder.name} ({path.stem}.h5 or "
        f"{path.stem}_patches.h5)",
        "check --coords",
    )


def _commonest(values: Iterable[T]) -> T:
    """Return the value that stands most often, the first of equals."""
    return Counter(values).most_common(1)[0][0]


def _one_encoder(
    found: list[_Found], failed: dict[str, str], encoder_id: str
) -> tuple[list[_Found], dict[str, str]]:
    """Leave out files whose features are another encoder's than most files'."""
    kept, out = [], dict(failed)
    for item in found:
        if item.encoder_id == encoder_id:
            kept.append(item)
        else:
            out[item.slide_id] = str(
                SlideError(
                    f"{item.path.name}: its features are {item.encoder_id} ({item.head.features} "
                    f"numbers a patch), those of most files {encoder_id}",
                    "ingest features of one encoder at a time",
                )
            )
    return kept, out


def _store_recipe(path: Path, found: Sequence[_Found]) -> Recipe:
    """Return the recipe of the store that is there, or that of most files."""
    if (path / "wsikit.json").exists():
        store = Store(path)
        if store.slide_ids():
            return store.tile_recipe
    numbers = _commonest(tuple(sorted(f.recipe.items(), key=str)) for f in found)
    return next(f.recipe for f in found if tuple(sorted(f.recipe.items(), key=str)) == numbers)


@dataclass
class _Ingest:
    """Take files one by one and record what becomes of them."""

    store: Store
    stage: str
    options: H5Options
    overwrite: bool
    outcome: Outcome = field(default_factory=Outcome)

    def take(self, item: _Found, progress: Progress) -> None:
        """Ingest one file."""
        start = time.perf_counter()
        try:
            stamp = tuple(quick_stamp(item.path))
            asked = self._asked(item)
            if self._unchanged(item, stamp, asked):
                self.outcome.skipped.append(item.slide_id)
                progress.advance(f"{item.slide_id}: already done")
                return
            status, words = self._ingest(item)
        except (WsikitError, OSError, MemoryError) as error:
            self.fail(item.slide_id, str(error) or type(error).__name__, progress)
            return
        (self.outcome.done if status.state == "done" else self.outcome.empty).append(item.slide_id)
        seconds = round(time.perf_counter() - start, 3)
        status = replace(status, seconds=seconds, stamp=stamp, source=asked)
        self.store.set_status(item.slide_id, self.stage, status)
        progress.advance(f"{item.slide_id}: {words}")

    def fail(self, slide_id: str, reason: str, progress: Progress) -> None:
        """Record that a slide cannot be taken."""
        self.outcome.failed[slide_id] = reason
        self.store.set_status(slide_id, self.stage, StageStatus("failed", reason=reason))
        progress.advance(f"{slide_id}: FAILED: {reason}")

    def _asked(self, item: _Found) -> str:
        """Return the identity of all that decides a slide, the file's own content apart."""
        beside = [quick_stamp(p) for p in (item.coords, item.source and item.source.path) if p]
        return recipe_id(
            {
                "recipe": dict(item.recipe),
                "mpp": item.mpp,
                "size": self.options.size_from_patches,
                "beside": beside,
            }
        )

    def _unchanged(self, item: _Found, stamp: tuple[tuple[int, int], ...], asked: str) -> bool:
        """Tell whether an earlier run took this very file, judged without reading it."""
        if self.overwrite:
            return False
        try:
            status = self.store.status(item.slide_id).get(self.stage)
            if status is None or (status.stamp, status.source) != (stamp, asked):
                return False
            return self._stored_recipe(item) == status.recipe_id
        except (WsikitError, OSError):
            return False

    def _stored_recipe(self, item: _Found) -> str | None:
        """Return the recipe id of the features that are stored, None where there are none."""
        stored = self.store.slide(item.slide_id)
        recipe = stored.derived_attributes(f"features/{item.encoder_id}").get("recipe_id")
        return None if recipe is None else str(recipe)

    def _ingest(self, item: _Found) -> tuple[StageStatus, str]:
        changed = _changed(self.store.tile_recipe, item.recipe)
        if changed:
            raise SlideError(
                f"{item.path.name}: its patches are others than the store's ({changed})",
                "ingest it into another store",
            )
        bag = read_bag(item.path)
        placed = self._place(item, bag)
        recipe = placed.recipe(self.store.tile_recipe)
        self._write_slide(item, placed, recipe)
        features = self._write_features(item, bag, recipe_id(recipe))
        state = StageStatus("done" if len(bag.coords) else "empty", features)
        return state, _words(item, placed)

    def _place(self, item: _Found, bag: H5Bag) -> PlacedSlide:
        if item.coords is not None and not np.array_equal(read_coords(item.coords)[0], bag.coords):
            raise SlideError(
                f"{item.path.name}: its coordinates are not those of {item.coords.name}",
                "extract this slide again, or give the patch files that belong to it",
            )
        return place_slide(
            item.slide_id, item.path.name, bag.coords, item.geometry, item.source,
            item.mpp, self.options.size_from_patches,
        )  # fmt: skip

    def _write_slide(self, item: _Found, placed: PlacedSlide, recipe: Recipe) -> None:
        """Write the slide unless it is there; features of other encoders then stay."""
        if self.store.slide_path(item.slide_id).is_dir() and not self.overwrite:
            if self.store.slide(item.slide_id).recipe_id == recipe_id(recipe):
                return
            raise StoreError(
                f"{item.path.name}: the store holds this slide with other patches, size, mpp or "
                "slide file",
                "use --overwrite to replace it and its features",
            )
        write_placed(self.store, placed, recipe)

    def _write_features(self, item: _Found, bag: H5Bag, patches: str) -> str:
        """Write the features unless they are there; return their recipe id."""
        recipe = recipe_id(
            {
                "algorithm": ALGORITHM,
                "patches": patches,
                "encoder": item.encoder_id,
                "dtype": str(bag.features.dtype),
                "features": hashlib.sha256(bag.features.tobytes()).hexdigest(),
            }
        )
        present = self._stored_recipe(item)
        if present == recipe:
            return recipe
        if present is not None and not self.overwrite:
            raise StoreError(
                f"{item.path.name}: the store holds other features by {item.encoder_id}",
                "use --overwrite to replace them",
            )
        said = self.options.encoder or item.head.facts.encoder or item.encoder_id
        attributes: dict[str, Any] = {
            "recipe_id": recipe,
            "encoder": encoder_name(said),
            "weights": "ingested",
        }
        write_features(self.store, item.slide_id, item.encoder_id, bag.features, attributes)
        return recipe


def _changed(store: Recipe, own: Recipe) -> str:
    return "; ".join(f"{k}: {store.get(k)} -> {own[k]}" for k in own if store.get(k) != own[k])


def _words(item: _Found, placed: PlacedSlide) -> str:
    words = f"{len(placed.coords)} patches, {item.head.features} features each"
    if item.head.dtype.itemsize == 8:
        words += ", cast from float64 to float32"
    shared = placed.shared_cells()
    if shared:
        words += f"; {shared} overlap others and share their row and column"
    return words
