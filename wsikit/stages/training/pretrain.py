"""Pre-train an encoder on pictures of specimens at four magnifications, without their labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from wsikit.config import PretrainConfig
from wsikit.encoders.umae.masks import MaskOptions
from wsikit.encoders.umae.model import UMAE, UMAEOptions
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.fits.device import resolve_device
from wsikit.training.fits.fit import FitResult
from wsikit.training.fits.record import Progress as EpochTold
from wsikit.training.masked.fit import MaskedSides, fit_masked
from wsikit.training.masked.items import Missing, Picture, Specimen, make_specimen
from wsikit.training.masked.options import MaskedOptions
from wsikit.training.patches.network_input import read_network_input

_SLIDE_ID = re.compile(r"(?P<specimen>.+?)-(?P<magnification>40|100|200|400)(?:-\d{3,4})?")
"""As `wsikit ingest breakhis` names slides: a specimen at a magnification, perhaps one picture."""


class StoredPictures:
    """Read pictures of a store; each slide is opened once in a process.

    Args:
        store: the store's folder.
    """

    def __init__(self, store: Path) -> None:
        self._path = store

    def __call__(self, slide_id: str, index: int) -> NDArray[Any]:
        """Return (H, W, 3), 0 to 255."""
        if slide_id not in self._opened:
            self._opened[slide_id] = self._store.slide(slide_id)
        return read_network_input(self._opened[slide_id], index)

    @cached_property
    def _store(self) -> Store:
        return Store(self._path)

    @cached_property
    def _opened(self) -> dict[str, StoredSlide]:
        return {}

    def __reduce__(self) -> tuple[type[StoredPictures], tuple[Path]]:
        """Travel to another process without what is open here."""
        return StoredPictures, (self._path,)


@dataclass(frozen=True)
class Pretraining:
    """What there is to learn from.

    Attributes:
        store: the store's folder.
        train: slide ids to learn from.
        val: slide ids that choose the best epoch; of other patients.
    """

    store: Path
    train: tuple[str, ...]
    val: tuple[str, ...]

    def sides(self, missing: Missing) -> MaskedSides:
        """Group slides by specimen."""
        store = Store(self.store)
        train, val = (specimens_of(store, side, missing) for side in (self.train, self.val))
        return MaskedSides(train, val, StoredPictures(self.store))


def specimen_of(slide_id: str) -> tuple[str, int] | None:
    """Return the specimen and the magnification that a BreakHis slide's id names, if it does."""
    match = _SLIDE_ID.fullmatch(slide_id)
    return (match["specimen"], int(match["magnification"])) if match else None


def specimens_of(store: Store, slide_ids: Iterable[str], missing: Missing) -> tuple[Specimen, ...]:
    """Group slides that `wsikit ingest breakhis` made by their specimen.

    Args:
        store: holds them.
        slide_ids: those to take; others than BreakHis's are passed over.
        missing: what becomes of a specimen without a magnification; see `make_specimen`.
    """
    found: dict[str, dict[int, list[Picture]]] = defaultdict(lambda: defaultdict(list))
    for slide_id in sorted(slide_ids):
        named = specimen_of(slide_id)
        if named is not None:
            name, magnification = named
            own = found[name][magnification]
            own += [Picture(slide_id, n) for n in range(store.slide(slide_id).patch_count)]
    made = (make_specimen(name, pictures, missing) for name, pictures in sorted(found.items()))
    return tuple(one for one in made if one is not None)


def build_umae(config: PretrainConfig, seed: int) -> UMAE:
    """Build an untrained model.

    Raises:
        ConfigError: the switches do not go together.
    """
    mask = MaskOptions(config.unm, config.omega, config.sigma)
    options = UMAEOptions(config.size, mask, config.ccp, config.rca, config.joint, config.order)
    return UMAE(options, seed=seed)


def run_pretrain(
    given: Pretraining,
    folder: Path,
    config: PretrainConfig,
    *,
    seed: int,
    device: str = "auto",
    devices: int = 1,
    told: EpochTold | None = None,
) -> tuple[UMAE, FitResult]:
    """Pre-train, or go on, or find it done; `file:FOLDER` then names the encoder.

    Args:
        given: what there is to learn from.
        folder: receives `encoder.safetensors`, `fit/` and `logs/`.
        config: settings.
        seed: of the start's weights, the pairs and the masks.
        device: `auto`, `cpu` or `cuda`.
        devices: processes that share each step.
        told: called with (epoch, epochs, metrics).

    Raises:
        CohortError: a side has no specimen.
        ConfigError: the switches do not go together.
        StoreError: the folder holds another pre-training.
    """
    options = MaskedOptions(
        epochs=config.epochs, lr=config.lr, weight_decay=config.weight_decay,
        step_epochs=config.step_epochs, batch_size=config.batch_size, augment=config.augment,
        precision=config.precision, seed=seed, devices=devices,
        device="cuda" if resolve_device(device).type == "cuda" else "cpu",
    )  # fmt: skip
    model = build_umae(config, seed)
    result = fit_masked(
        model, given.sides(config.missing), options, folder / "fit",
        folder / "encoder.safetensors", told, logs=folder / "logs",
    )  # fmt: skip
    return model, result
