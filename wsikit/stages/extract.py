"""Extract: the store's patches in, one feature vector a patch out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wsikit.config import ExtractConfig
from wsikit.encoders.encoder import Encoder, build_encoder, encoder_id
from wsikit.errors import SlideError
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.slide_loop import chosen_slides, run_slides
from wsikit.store.derived_writer import write_features
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.device import resolve_device
from wsikit.types import UInt8Image

ALGORITHM = 1

PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def run_extract(
    store_path: Path,
    config: ExtractConfig,
    *,
    device: str = "auto",
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> tuple[str, Outcome]:
    """Compute features for a store's slides.

    Args:
        store_path: the store.
        config: which encoder and how.
        device: `auto`, `cpu` or `cuda`.
        slide_ids: only these; default all that are tiled.
        progress: told of each slide.
        overwrite: redo what another recipe made.

    Returns:
        The encoder id under which the features lie, and what became of each slide.

    Raises:
        StoreError: the store cannot be used.
        WeightsError: the encoder's weights are not at hand.
    """
    store = Store(store_path)
    chosen = chosen_slides(store, slide_ids)
    on = resolve_device(device)
    encoder = build_encoder(config.encoder, config.weights).eval()
    identity = encoder_id(encoder)
    encoder.to(on)

    def recipe_of(slide: StoredSlide) -> str:
        return recipe_id(
            {
                "algorithm": ALGORITHM,
                "patches": slide.recipe_id,
                "encoder": identity,
                "precision": config.precision,
                "dtype": config.dtype,
            }
        )

    def done_recipe(slide: StoredSlide) -> str | None:
        return slide.derived_attributes(f"features/{identity}").get("recipe_id")

    def work(slide: StoredSlide, recipe: str) -> str:
        features = encode_slide(slide, encoder, on, config)
        attributes = {"recipe_id": recipe, "encoder": config.encoder, "weights": config.weights}
        write_features(store, slide.slide_id, identity, features, attributes)
        return f"{len(features)} features of {features.shape[1]}"

    with store.lock():
        outcome = run_slides(
            store, f"extract.{identity}", chosen, recipe_of, done_recipe, work,
            progress or Silent(), overwrite,
        )  # fmt: skip
    return identity, outcome


def encode_slide(
    slide: StoredSlide, encoder: Encoder, device: torch.device, config: ExtractConfig
) -> NDArray[np.floating[Any]]:
    """Return one slide's features.

    Args:
        slide: a stored slide with at least one patch.
        encoder: in eval mode, on `device`.
        device: where to compute.
        config: batch size, precision and stored type.

    Returns:
        (N, D) float16 or float32, one row a patch.

    Raises:
        SlideError: a feature is not finite, or overflows the stored type.
    """
    parts: list[NDArray[np.floating[Any]]] = []
    dtype = PRECISION[config.precision]
    with torch.inference_mode():
        for batch in _batches(slide, config.batch_size):
            pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).to(device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                output = encoder(pixels)
            parts.append(output.float().cpu().numpy())
    with np.errstate(over="ignore"):
        features = np.concatenate(parts).astype(config.dtype)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        place = f"row {slide.patches.row[bad[0]]}, column {slide.patches.col[bad[0]]}"
        raise SlideError(
            f"{slide.slide_id}: {len(bad)} patches have features that are not finite ({place})",
            "set extract.dtype=float32 and extract.precision=fp32",
        )
    return np.asarray(features)


def _batches(slide: StoredSlide, size: int) -> Iterator[UInt8Image]:
    """Read batches of (B, H, W, 3) uint8, one batch ahead of the model."""
    starts = range(0, len(slide.patches), size)

    def read(start: int) -> UInt8Image:
        stop = min(start + size, len(slide.patches))
        return np.stack([slide.read_patch(i) for i in range(start, stop)])

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(read, 0)
        for start in starts:
            batch = ahead.result()
            if start + size < len(slide.patches):
                ahead = reader.submit(read, start + size)
            yield batch
