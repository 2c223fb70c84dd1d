"""Grad-CAM: the networks of a run that was trained on pixels, and where each of them looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from wsikit.atomic import ensure_folder
from wsikit.encoders.network import Encoder
from wsikit.errors import ConfigError, StoreError, UsageError, WsikitError
from wsikit.heatmap.grad_cam_sheet import GradCamPicture
from wsikit.methods import METHODS, PatchMethod
from wsikit.stages.heatmaps.grad_cam_pictures import write_pictures
from wsikit.stages.heatmaps.pictures import picture_boxes, picture_names
from wsikit.stages.prediction.predict import check_recipe, shown_class
from wsikit.stages.prediction.standing import known_splits, standing_of
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.slide_loop import chosen_slides
from wsikit.stages.training.patch_network import trained_network
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.fits.device import resolve_device
from wsikit.training.patches.grad_cam import grad_cam, last_map
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.network_input import read_network_input

STAGE = "grad-cam"

SPLIT_WORDS = {"train": "trained on", "val": "used to choose the epoch", "test": "held out"}
"""What each part of the run's split was to the network that is shown it."""


class GradCam:
    """Show pictures to a run's networks and see what they looked at.

    A slide is shown to the network of the fold that held it out; one that the run never saw, to
    that of the first fold.

    Args:
        store: holds the slides.
        run: the run.
        device: `auto`, `cpu` or `cuda`.
        say: told where the run does not say which slides it was trained on.

    Raises:
        UsageError: the run was trained on features: there is no network to look into.
        ConfigError: its network has no feature map.
        StoreError: there is no run, or the store was made by another recipe than the run's.
        WeightsError: the weights are missing or damaged.
    """

    def __init__(
        self, store: Store, run: RunFolder, device: str, say: Callable[[str], None]
    ) -> None:
        if not run.path.is_dir():
            raise StoreError(f"{run.path}: there is no such folder", "name a trained run")
        if not run.begun:
            raise StoreError(
                f"{run.path}: holds scores and no trained run, so there is no network to look into",
                "name the run that predicted them with --model RUN",
            )
        self._store, self._facts = store, run.facts()
        method = _patch_method(run, self._facts)
        check_recipe(store, self._facts)
        self._device, self._splits = resolve_device(device), known_splits(run, say)
        config = run.config()

        @cache
        def network(fold: int) -> PatchNetwork:
            return trained_network(run, method, self._facts, config, fold).to(self._device)

        self._network = network
        _check_map(network(0).encoder)

    def pictures(self, stored: StoredSlide) -> Iterator[GradCamPicture]:
        """Yield a slide's pictures in index order.

        The class is the positive one of two; of more the one that the network sees in the picture.

        Raises:
            StoreError: a picture is damaged.
        """
        standing = standing_of(self._splits, self._store, stored.slide_id, self._facts.folds)
        network, told = self._network(standing.folds[0]), _told(standing.row)
        for number, (name, boxes) in enumerate(
            zip(picture_names(stored), picture_boxes(stored), strict=True)
        ):
            pixels = np.asarray(read_network_input(stored, number))  # (H, W, 3), 0 to 255
            batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(self._device)
            probabilities = network.probabilities(batch)[0].numpy()
            target = shown_class(probabilities)
            shown = self._facts.classes[target]
            yield GradCamPicture(
                np.rint(pixels).astype(np.uint8),
                grad_cam(network, batch, target)[0],
                boxes,
                ", ".join(filter(None, (stored.slide_id, name))),
                f"probability of {shown} {probabilities[target]:.2f}{told}",
                f"for {shown}",
                stored.mpp if stored.mpp_known else None,
            )


def _check_map(encoder: Encoder) -> None:
    """Raise ConfigError where a network keeps no map of the picture up to its last layers.

    What a transformer has of maps lies in front of all that it learns to see, or holds queries and
    keys, and not what is seen at a place.
    """
    if hasattr(encoder.backbone, "patch_embed"):
        raise ConfigError(
            f"{encoder.spec.name} is a transformer and has no feature map",
            "leave grad-cam out, or give a run of a convolutional network",
        )
    last_map(encoder.backbone, encoder.spec.input_px)


def _patch_method(run: RunFolder, facts: RunFacts) -> PatchMethod:
    method = METHODS[facts.method]
    if not isinstance(method, PatchMethod):
        raise UsageError(
            f"{run.path}: '{facts.method}' was trained on features, so there is no network to look "
            "into",
            "leave grad-cam out, or give a run that was trained on pixels",
        )
    return method


def _told(row: Mapping[str, str]) -> str:
    """Say what the run knows of a slide, and what its network had of it."""
    if not row.get("label"):
        return ""
    return f"; labelled {row['label']}, {SPLIT_WORDS[row['split']]}"


def run_grad_cam(
    store_path: Path,
    run_path: Path,
    out: Path,
    *,
    slide_ids: Sequence[str] | None = None,
    most: int = 4,
    device: str = "auto",
    progress: Progress | None = None,
) -> Outcome:
    """Draw Grad-CAM pictures alone, without patch scores; recipes end with them.

    Args:
        store_path: the store.
        run_path: a run that was trained on pixels.
        out: receives `<slide_id>-<number>.png`.
        slide_ids: only these; default all.
        most: pictures of a slide at most, the first ones.
        device: `auto`, `cpu` or `cuda`.
        progress: told of each slide.

    Raises:
        StoreError: the store was made by another recipe than the run's.
        UsageError: the run was trained on features.
    """
    progress, store = progress or Silent(), Store(store_path)
    drawn = GradCam(store, RunFolder(run_path), device, progress.say)
    chosen = chosen_slides(store, slide_ids)
    ensure_folder(out)
    outcome = Outcome()
    progress.start(STAGE, len(chosen))
    for slide_id in chosen:
        try:
            write_pictures(islice(drawn.pictures(store.slide(slide_id)), most), slide_id, out)
        except (WsikitError, OSError) as error:
            outcome.failed[slide_id] = str(error)
            progress.advance(f"{slide_id}: FAILED: {error}")
        else:
            outcome.done.append(slide_id)
            progress.advance(slide_id)
    progress.finish()
    return outcome
