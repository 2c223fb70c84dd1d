"""How close self-distillation from pixels comes to the limits of decoder and network.

    python benchmarks/self_distillation.py [--small] [--json FILE] [--slide SVS] [--encoder NAME]

An epoch of method B over the same patches (512 px, JPEG, of mosaics of real tissue; see mosaic.py),
in turn, the faster of the last epochs of each:

* the decoder alone: the batches of an epoch read as the fit reads them, and nothing computed;
* the network alone: the fit with all patches decoded beforehand and kept in memory;
* the fit as `wsikit train` runs it, reading from the store.

An epoch is one pass of two views through teacher and student, and one pass of the validation side.
On a GPU the decoder works beside the network, so the fit should take as long as the slower of
them. On a processor both want the same cores, so it cannot beat the sum by much; there the bar is
the sum. Only ratios of one run mean anything.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from mosaic import FULL, SMALL
from shared.mosaic_store import CPU_SIZE, found_tissue, mosaic_store
from shared.report import at_least, line, options, report

from wsikit.encoders.encoder import build_encoder
from wsikit.heads.am_softmax_classifier import build_patch_classifier
from wsikit.heads.instance_pool import InstancePool
from wsikit.stages.training.patch_network import patch_reader
from wsikit.store.store import Store
from wsikit.training.distillation.data import paired_plan
from wsikit.training.distillation.fit import Distillation, distil_patches
from wsikit.training.distillation.options import DistilOptions
from wsikit.training.distillation.views import PixelViews
from wsikit.training.patches.data import PatchBatches, PatchSide, ReadPatch
from wsikit.training.patches.fit import PatchFitOptions
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide, validation_plan

SHARE = 0.9
"""Least share of what the limits allow."""

SLIDES = 4
"""Two to learn from, one of either class, and two that judge."""


class Epoch:
    """What every contestant goes through.

    Args:
        store: four slides.
        encoder: its name; the weights are random.
        per_slide: patches of a slide.
        epochs: how many; the first is not timed.
    """

    def __init__(self, store: Store, encoder: str, per_slide: int, epochs: int) -> None:
        self.read = patch_reader(store)
        self.encoder = encoder
        self.options = PatchFitOptions(
            epochs=epochs, lr=1e-4, patience=epochs, batch_size=32, per_slide=per_slide,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )  # fmt: skip
        slides = [
            PatchSlide(name, number % 2, store.slide(name).patch_count)
            for number, name in enumerate(store.slide_ids())
        ]
        self.train, self.val = tuple(slides[:2]), tuple(slides[2:])
        self.learnt = len(paired_plan(self.train, per_slide, 0, 0))

    def decode(self) -> float:
        """Read an epoch's batches and drop them; return seconds."""
        start = time.perf_counter()
        given = self.options
        plans = (
            (self.train, lambda epoch: paired_plan(self.train, given.per_slide, 0, epoch)),
            (self.val, lambda _: validation_plan(self.val, given.per_slide, 0)),
        )
        for slides, plan in plans:
            for _ in PatchBatches(PatchSide(slides, self.read), plan, 2 * given.batch_size):
                pass
        return time.perf_counter() - start

    def fit(self, read: ReadPatch, folder: Path) -> float:
        """Train; return seconds of the faster of all epochs but the first."""
        ends: list[float] = []
        settings = Distillation(self.options, DistilOptions(), InstancePool())
        distil_patches(
            self._network(), PatchSide(self.train, read), PatchSide(self.val, read), settings,
            PixelViews(), folder, folder / "encoder.safetensors",
            lambda *_: ends.append(time.perf_counter()),
        )  # fmt: skip
        return min(end - start for start, end in pairwise(ends))

    def _network(self) -> PatchNetwork:
        torch.manual_seed(0)
        start = build_encoder(self.encoder, "random")
        return PatchNetwork(start, build_patch_classifier("softmax", start.features, 2))

    def from_memory(self) -> ReadPatch:
        """Decode every patch once and return what hands it out."""
        kept = {
            (slide.slide_id, index): self.read(slide.slide_id, index)
            for slide in (*self.train, *self.val)
            for index in range(slide.patches)
        }
        return lambda slide_id, index: kept[slide_id, index]


def measure(epoch: Epoch, folder: Path) -> dict[str, Any]:
    """Run all contestants; return rows and bars."""
    contestants: dict[str, Callable[[], float]] = {
        "decoder alone": lambda: min(epoch.decode() for _ in range(2)),
        "network alone": partial(epoch.fit, epoch.from_memory(), folder / "memory"),
        "fit": partial(epoch.fit, epoch.read, folder / "store-run"),
    }
    took = {name: run() for name, run in contestants.items()}
    rows = [line(f"{n}: patches learnt from", epoch.learnt / s, "1/s", 3) for n, s in took.items()]
    rows.append(line("fit over decoder alone", took["decoder alone"] / took["fit"], "ratio", 3))
    decoder, network = took["decoder alone"], took["network alone"]
    gpu = epoch.options.device == "cuda"
    limit = max(decoder, network) if gpu else decoder + network
    name = "the slower of decoder and network" if gpu else "decoder and network in turn"
    return {"rows": rows, "bars": [at_least(f"{name} over the fit", limit / took["fit"], SHARE)]}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    parser.add_argument("--slide", type=Path, metavar="SVS", help="tissue for the mosaics")
    parser.add_argument("--encoder", default="resnet18", metavar="NAME")
    asked = parser.parse_args()
    gpu = torch.cuda.is_available()
    size = SMALL if asked.small else FULL if gpu else CPU_SIZE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = mosaic_store(folder, SLIDES, size, found_tissue(asked.small, asked.slide))
        patches, epochs = (2, 2) if asked.small else (1024 if gpu else 64, 3)
        epoch = Epoch(store, asked.encoder, patches, epochs)
        found = measure(epoch, folder)
    report(found["rows"], found["bars"], asked, encoder=asked.encoder)


if __name__ == "__main__":
    main()
