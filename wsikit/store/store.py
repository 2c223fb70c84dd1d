"""The directory that holds a cohort's patches, features and graphs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsikit.atomic import locked, write_json
from wsikit.errors import StoreError
from wsikit.store.recipe import Recipe, differences, in_short
from wsikit.store.status import StageStatus, read_status, write_status
from wsikit.store.stored_slide import StoredSlide

SCHEMA = 1
KIND = "wsi"
META = "wsikit.json"
FOLDERS = ("slides", "status", ".staging")
_SLIDE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def checked_slide_id(slide_id: str) -> str:
    """Return `slide_id` if it can safely name a file.

    Raises:
        StoreError: it is empty, too long, or holds anything but letters, digits, `.`, `_`, `-`.
    """
    if not _SLIDE_ID.fullmatch(slide_id):
        raise StoreError(
            f"slide id {slide_id!r} cannot name a file",
            "use up to 128 letters, digits, '.', '_' and '-', not starting with '.' or '-'",
        )
    return slide_id


class Store:
    """Open a store; `create` makes one.

    Args:
        path: the store's directory.

    Raises:
        StoreError: the path holds no store, or one of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._meta = _read_meta(path)

    @classmethod
    def create(cls, path: Path, tile_recipe: Recipe, overwrite: bool = False) -> Store:
        """Open the store at `path`, making it if it is not there.

        Args:
            path: the store's directory; its parents are made.
            tile_recipe: the parameters all slides of the store are tiled with.
            overwrite: take on a new recipe where the store's slides have another.

        Raises:
            StoreError: the directory is not a store, cannot be written, or has another recipe.
        """
        meta = {"schema": SCHEMA, "kind": KIND, "tile": dict(tile_recipe)}
        try:
            if (path / "wsikit.json").exists():
                store = cls(path)
                changed = differences(store.tile_recipe, tile_recipe)
                if changed and not overwrite and store.slide_ids():
                    raise _other_recipe(path, store.tile_recipe, tile_recipe, changed)
                if changed:
                    write_json(path / "wsikit.json", meta)
            else:
                if path.is_dir() and not _is_bare(path):
                    raise StoreError(
                        f"{path}: the folder holds other things and no store",
                        "name a new or empty folder",
                    )
                for folder in FOLDERS:
                    (path / folder).mkdir(parents=True, exist_ok=True)
                write_json(path / "wsikit.json", meta)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot write here ({error.strerror})", "choose a writable folder with -o"
            ) from error
        return cls(path)

    @property
    def tile_recipe(self) -> dict[str, Any]:
        """The parameters all slides of the store are tiled with."""
        return dict(self._meta["tile"])

    def slide_ids(self) -> list[str]:
        """List the slides that are tiled, sorted."""
        return sorted(p.name.removesuffix(".zarr") for p in (self.path / "slides").glob("*.zarr"))

    def known_ids(self) -> list[str]:
        """List every slide the store knows of, failed and empty ones too, sorted."""
        recorded = {p.stem for p in (self.path / "status").glob("*.json")}
        return sorted(recorded | set(self.slide_ids()))

    def slide_path(self, slide_id: str) -> Path:
        """Return where a slide's Zarr group lies or will lie."""
        return self.path / "slides" / f"{checked_slide_id(slide_id)}.zarr"

    def staging_path(self, name: str) -> Path:
        """Return where unfinished work of this name is kept."""
        return self.path / ".staging" / name

    def slide(self, slide_id: str) -> StoredSlide:
        """Open one tiled slide.

        Raises:
            StoreError: the slide is not in the store, damaged, or tiled by another recipe than the
                store's.
        """
        path = self.slide_path(slide_id)
        if not path.is_dir():
            raise StoreError(
                f"{self.path}: slide '{slide_id}' is not in the store", "tile it with wsikit tile"
            )
        slide = StoredSlide(path, slide_id)
        own = {k: v for k, v in slide.recipe.items() if k in self.tile_recipe}
        if own != self.tile_recipe:
            raise StoreError(
                f"{self.path}: slide '{slide_id}' was tiled by another recipe than the store's",
                "tile it again with --overwrite",
            )
        return slide

    def encoder_ids(self) -> list[str]:
        """List the encoders by which any slide has features, sorted."""
        folders = (self.path / "slides").glob("*.zarr/features/*")
        return sorted({folder.name for folder in folders if folder.is_dir()})

    def status(self, slide_id: str) -> dict[str, StageStatus]:
        """Return a slide's outcome by stage; empty where nothing was tried."""
        return read_status(self._status_path(slide_id))

    def set_status(self, slide_id: str, stage: str, status: StageStatus) -> None:
        """Record the outcome of one stage for one slide."""
        write_status(self._status_path(slide_id), stage, status)

    def _status_path(self, slide_id: str) -> Path:
        return self.path / "status" / f"{checked_slide_id(slide_id)}.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for writing; the lock goes with the process, so none is ever stale.

        Raises:
            StoreError: another run holds it.
        """
        busy = StoreError(
            f"{self.path}: another wsikit run is writing to this store",
            "wait for it to end, or use another store",
        )
        with locked(self.path / ".lock", busy):
            for left in (self.path / ".staging").glob("*.old"):
                shutil.rmtree(left, ignore_errors=True)
            yield


def _is_bare(path: Path) -> bool:
    """Tell whether a folder holds nothing, or what a kill or a full disk leaves of `create`."""
    return all(
        (entry.name in FOLDERS and entry.is_dir() and not any(entry.iterdir()))
        or entry.name.startswith(f".{META}.")
        for entry in path.iterdir()
    )


def _other_recipe(path: Path, old: Recipe, new: Recipe, changed: Sequence[str]) -> StoreError:
    """Return the error of a store that was made otherwise than is asked for now."""
    if old.get("ingest") != new.get("ingest"):
        made = f"'wsikit ingest {old['ingest']}'" if "ingest" in old else "'wsikit tile'"
        return StoreError(f"{path}: the store was made by {made}", "name another store")
    return StoreError(
        f"{path}: the store was made by another recipe ({in_short(changed)})",
        "use the same settings, another store, or --overwrite",
    )


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads((path / "wsikit.json").read_bytes())
        schema = meta["schema"]
        meta["tile"].items()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: no store here (wsikit.json is missing)", "make one with wsikit tile"
        ) from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path / 'wsikit.json'}: not the description of a store") from error
    if schema != SCHEMA:
        raise StoreError(
            f"{path}: the store has schema {schema}, this wsikit reads {SCHEMA}",
            "use the wsikit version that made it, or tile again",
        )
    return dict(meta)
