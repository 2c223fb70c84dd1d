"""Specimens whose stripes lean left or right: what restoring teaches is what the labels ask."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import torch

from tests.training.masked.pictures import specimen
from wsikit.encoders.network import Encoder
from wsikit.encoders.umae.model import UMAE, UMAEOptions
from wsikit.heads.am_softmax_classifier import build_patch_classifier
from wsikit.training.masked.fit import MaskedSides, fit_masked
from wsikit.training.masked.options import MaskedOptions
from wsikit.training.metrics.metrics import auc
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitOptions, fit_patches
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide

PX, NOISE = 56, 60
UNLABELLED, LABELLED, VAL, HELD_OUT = range(40), range(8), range(100, 108), range(200, 240)


def read_striped(slide_id: str, index: int) -> np.ndarray:
    """Stripes of any width, colour and phase under noise; odd specimens lean the other way."""
    number, _, magnification = slide_id.partition("-")
    rng = np.random.default_rng([crc32(slide_id.encode()), index])
    angle = rng.uniform(0.35, 1.2) * (1 if int(number) % 2 else -1)
    y, x = np.mgrid[:PX, :PX]
    period = rng.uniform(1.2, 2.0) * (1 + int(magnification) / 400)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 6))
    colour = np.random.default_rng(int(number)).uniform(0.4, 1, 3)
    pixels = 127 + 70 * wave[..., None] * colour + rng.normal(0, NOISE, (PX, PX, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def pre_trained(folder: Path, seed: int, epochs: int, **switches: object) -> Encoder:
    """Restore pictures of specimens without looking at their kind."""
    model = UMAE(UMAEOptions("tiny", **switches), seed=seed)
    if epochs:
        given = MaskedSides(
            tuple(specimen(n, (2, 2, 2, 2)) for n in UNLABELLED),
            tuple(specimen(n, (2, 2, 2, 2)) for n in VAL),
            read_striped,
        )
        options = MaskedOptions(
            epochs=epochs, lr=2e-3, batch_size=16, step_epochs=epochs // 3 + 1, augment=False,
            seed=seed, device="cpu",
        )  # fmt: skip
        fit_masked(model, given, options, folder / "pretrain", folder / "encoder.safetensors")
    return model.trained_encoder()


def held_out_auc(folder: Path, encoder: Encoder, seed: int, shuffled: bool, epochs: int) -> float:
    """Fine-tune on 100x of few specimens; return the AUC of pictures of others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = build_patch_classifier("softmax", encoder.features, 2)
    network = PatchNetwork(encoder, classifier)
    train, val = (side(n, shuffled) for n in (LABELLED, VAL))
    options = PatchFitOptions(
        epochs=epochs, lr=5e-4, batch_size=16, patience=99, augment=False, seed=seed, device="cpu"
    )
    fit_patches(network, train, val, options, folder / "fine", folder / "fine.safetensors")
    pixels = np.stack([read_striped(f"{n}-100", k) for n in HELD_OUT for k in range(4)])
    scores = network.probabilities(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).numpy()
    found = auc(np.repeat([n % 2 for n in HELD_OUT], 4), scores)
    assert found is not None
    return found


def side(numbers: range, shuffled: bool) -> PatchSide:
    """Four pictures of each specimen; shuffled, as many of either kind in either class."""
    slides = [PatchSlide(f"{n}-100", (n // 2 if shuffled else n) % 2, 4) for n in numbers]
    return PatchSide(tuple(slides), read_striped)
