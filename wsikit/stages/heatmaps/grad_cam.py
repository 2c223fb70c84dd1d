"""Grad-CAM pictures of a run that was trained on pictures: one PNG a picture, lesions boxed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from wsikit.atomic import ensure_folder
from wsikit.errors import UsageError, WsikitError
from wsikit.heatmap.grad_cam_sheet import draw_grad_cam
from wsikit.methods import METHODS, PatchMethod
from wsikit.stages.prediction.predict import check_recipe
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.slide_loop import chosen_slides
from wsikit.stages.training.patch_network import patch_reader, trained_network
from wsikit.store.store import Store
from wsikit.training.fits.device import resolve_device
from wsikit.training.patches.grad_cam import grad_cam

STAGE = "grad-cam"


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
    """Draw where a run's network saw what speaks for the positive class.

    Each slide is shown to the network of the fold that held it out; of the first fold where none
    did.

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
    progress = progress or Silent()
    store, run = Store(store_path), RunFolder(run_path)
    facts, config = run.facts(), run.config()
    method = METHODS[facts.method]
    if not isinstance(method, PatchMethod):
        raise UsageError(f"{run_path}: trained on features", "Grad-CAM wants a run on pixels")
    check_recipe(store, facts)
    on, read = resolve_device(device), patch_reader(store)
    networks = [
        trained_network(run, method, facts, config, fold).to(on) for fold in range(facts.folds)
    ]
    held_out = run.splits().query("split == 'test'").set_index("slide_id")["fold"].to_dict()
    said = _said_of(run)
    target = len(facts.classes) - 1
    chosen = chosen_slides(store, slide_ids)
    ensure_folder(out)
    outcome = Outcome()
    progress.start(STAGE, len(chosen))
    for slide_id in chosen:
        try:
            slide = store.slide(slide_id)
            network = networks[int(held_out.get(slide_id, 0))]
            known = slide.pictures
            for number in range(min(most, len(slide.patches))):
                pixels = np.asarray(read(slide_id, number))  # (H, W, 3), 0 to 255
                batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(on)
                draw_grad_cam(
                    np.rint(pixels).astype(np.uint8),
                    grad_cam(network, batch, target)[0],
                    known[number].get("boxes", []) if known else [],
                    f"{slide_id}, picture {number}: probability of {facts.classes[target]} "
                    f"{float(network.probabilities(batch)[0, target]):.2f}"
                    f"{said.get(slide_id, '')}",
                    f"for {facts.classes[target]}",
                    out / f"{slide_id}-{number}.png",
                    mpp=slide.mpp.x if slide.mpp_known else None,
                )
        except (WsikitError, OSError) as error:
            outcome.failed[slide_id] = str(error)
            progress.advance(f"{slide_id}: FAILED: {error}")
        else:
            outcome.done.append(slide_id)
            progress.advance(slide_id)
    progress.finish()
    return outcome


def _said_of(run: RunFolder) -> dict[str, str]:
    """Return slide id -> its label, and whether no network was kept from it."""
    splits = run.splits().astype({"slide_id": str})
    apart = set(splits.loc[splits["split"] == "test", "slide_id"])
    return {
        slide_id: f"; labelled {label}, {'held out' if slide_id in apart else 'seen in training'}"
        for slide_id, label in zip(splits["slide_id"], splits["label"], strict=True)
    }
