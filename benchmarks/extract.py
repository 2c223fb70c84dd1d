"""How close `wsikit extract` comes to the model's own rate.

    python benchmarks/extract.py [--small] [--json FILE] [--slide SVS] [--encoder NAME ...]

Three contestants compute the features of the same patches (512 px, JPEG, of mosaics of real tissue;
see mosaic.py) by the same encoder with random weights, in turn, several rounds, the best of each:

* the model alone, on patches that are on the device already;
* `wsikit extract` over a store of several slides, to the features on the disk. Start-up (building
  the encoder, its digest, looking at the slides) is timed by the same call with nothing to do,
  stated, and taken off: a cohort pays it once;
* a loop as most people write it: a torch DataLoader a slide, with a worker a core.

And the reader alone, with nothing computed: no encoder can be served faster. Without a GPU:
ResNet18 and VGG16 in fp32; with one: ViT-L as well, in bf16. Files are in the system's cache. Only
ratios of one run mean anything.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mosaic import FULL, SMALL
from shared.mosaic_store import CPU_SIZE, found_tissue, mosaic_store
from shared.report import Row, at_least, line, options, report
from torch.utils.data import DataLoader, Dataset

from wsikit.config import ExtractConfig
from wsikit.encoders.encoder import Encoder, build_encoder
from wsikit.stages.extraction.extract import AHEAD, run_extract
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.patches.encode_step import PRECISION, place_encoder
from wsikit.training.patches.reader import PatchReader
from wsikit.training.patches.slide_queue import SlideQueue, SlideReading

BATCH = 64
CPU_ENCODERS = ("resnet18", "vgg16")
GPU_ENCODERS = ("resnet18", "vgg16", "timm:vit_large_patch16_224")
UNBARRED_ON_GPU = ("resnet18",)
"""Encoders so quick that the reader is the limit; that is stated, and no bar is set."""

SHARE = 0.9
"""Least share of the model's own rate."""


class Arena:
    """One encoder on one device, and the store all contestants read.

    Args:
        store: the store.
        name: the encoder.
        device: where to compute.
    """

    def __init__(self, store: Store, name: str, device: torch.device) -> None:
        self.store, self.device = store, device
        self.slide_ids = store.slide_ids()
        self.patches = sum(len(store.slide(i).patches) for i in self.slide_ids)
        precision = "bf16" if device.type == "cuda" else "fp32"
        self.config = ExtractConfig(
            encoder=name, weights="random", batch_size=BATCH, precision=precision
        )
        self.encoder: Encoder = place_encoder(build_encoder(name, "random"), device, False)
        slide = store.slide(self.slide_ids[0])
        some = np.stack([slide.read_patch(i % len(slide.patches)) for i in range(BATCH)])
        self.at_hand = torch.from_numpy(some).permute(0, 3, 1, 2).to(device)

    def computing(self) -> AbstractContextManager[Any]:
        """Return the arithmetic that `wsikit extract` uses."""
        dtype = PRECISION[self.config.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def model(self) -> None:
        """Encode as many patches as the store has, all of them on the device already."""
        self.encode(self.patches)

    @torch.inference_mode()
    def encode(self, patches: int) -> None:
        """Encode patches that are on the device, some of them several times."""
        with self.computing():
            for start in range(0, patches, BATCH):
                self.encoder(self.at_hand[: min(BATCH, patches - start)])
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def extract(self) -> None:
        """Run the stage over the store."""
        self._run(overwrite=True)

    def nothing(self) -> None:
        """Run it where everything is done already."""
        self._run(overwrite=False)

    def _run(self, overwrite: bool) -> None:
        _, outcome = run_extract(
            self.store.path, self.config, device=self.device.type, overwrite=overwrite
        )
        if outcome.failed:
            raise SystemExit(f"slides failed: {outcome.failed}")

    @torch.inference_mode()
    def loop(self) -> None:
        """Encode slide after slide, each by a loader of its own."""
        cuda = self.device.type == "cuda"
        for slide_id in self.slide_ids:
            loader = DataLoader(
                Patches(self.store.slide(slide_id)), BATCH,
                num_workers=len(os.sched_getaffinity(0)), pin_memory=cuda,
            )  # fmt: skip
            parts = []
            with self.computing():
                for pixels in loader:
                    on_device = pixels.permute(0, 3, 1, 2).to(self.device, non_blocking=True)
                    parts.append(self.encoder(on_device).cpu())
            torch.cat(parts).half().numpy()

    def read(self) -> None:
        """Decode every patch into memory as for the device, and compute nothing."""
        slides = SlideQueue()
        for slide_id in self.slide_ids:
            slides.put(SlideReading(slide_id))
        slides.close()
        pinned = self.device.type == "cuda"
        with PatchReader(self.store, len(os.sched_getaffinity(0))) as reader:
            for batch in reader.batches(slides, BATCH, AHEAD, pinned):
                batch.pixels()
                batch.release()


class Patches(Dataset[torch.Tensor]):
    """The patches of one slide."""

    def __init__(self, slide: StoredSlide) -> None:
        self.slide, self.count = slide, len(slide.patches)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.slide.read_patch(index))


def compare(arena: Arena, rounds: int) -> dict[str, float]:
    """Return the least seconds of each contestant, timed in turn."""
    calls: dict[str, Callable[[], None]] = {
        "model": arena.model,
        "extract": arena.extract,
        "nothing": arena.nothing,
        "loop": arena.loop,
        "read": arena.read,
    }
    times: dict[str, list[float]] = {}
    arena.encode(BATCH)  # the first call plans and allocates
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times.setdefault(name, []).append(time.perf_counter() - start)
    return {name: min(found) for name, found in times.items()}


def measure(
    encoders: list[str], small: bool, slide: Path | None, rounds: int, folder: Path
) -> tuple[list[Row], list[Row]]:
    """Run everything and return rows and bars."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    size = SMALL if small else FULL if gpu else CPU_SIZE
    slides = 8 if gpu and not small else 3
    store = mosaic_store(folder, slides, size, found_tissue(small, slide))
    rows, bars = [], []
    for name in encoders or (CPU_ENCODERS[:1] if small else GPU_ENCODERS if gpu else CPU_ENCODERS):
        arena = Arena(store, name, device)
        least = compare(arena, rounds)
        computing = max(least["extract"] - least["nothing"], 1e-9)
        rates = {
            "model alone": arena.patches / least["model"],
            "wsikit extract": arena.patches / computing,
            "loader a slide": arena.patches / least["loop"],
            "reader alone": arena.patches / least["read"],
        }
        rows += [line(f"{name}: {what}", rate, "patches/s", 1) for what, rate in rates.items()]
        rows.append(line(f"{name}: start-up", least["nothing"], "s"))
        share = least["model"] / computing
        if gpu and name in UNBARRED_ON_GPU:
            rows.append(line(f"{name}: extract over model alone", share, ""))
        else:
            bars.append(at_least(f"{name}: extract over model alone", share, SHARE))
    rows.append(line("patches", arena.patches, ""))
    return rows, bars


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    parser.add_argument("--slide", type=Path, metavar="SVS", help="real slide to make it from")
    parser.add_argument("--encoder", action="append", metavar="NAME", help="repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="the best of each counts")
    asked = parser.parse_args()
    rounds = 1 if asked.small else asked.rounds
    with tempfile.TemporaryDirectory() as folder:
        rows, bars = measure(asked.encoder, asked.small, asked.slide, rounds, Path(folder))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    report(rows, bars, asked, gpu=gpu)


if __name__ == "__main__":
    main()
