"""An epoch of gated ABMIL, beside a plain loop and torchmil's trainer.

    python benchmarks/train.py [--small] [--bags N] [--json FILE]

200 bags of 10,000 patches with 1,024 float16 features, made by program and written into a wsikit
store; all contenders read them from there, train the same network with the same optimiser, one bag
a step, and then look at a few bags of a validation side:

* wsikit: `fit_head`, as `wsikit train` calls it; once more with no bag kept in memory.
* the plain loop: read a bag, forward, backward, step.
* torchmil: its `Trainer` and its ABMIL of the same sizes, its DataLoader with and without a worker.
  It does not standardise features, which the others do.

Each runs in a process of its own for three epochs; the faster of the last two counts, so whatever
happens once is not in it. Memory is the most a process holds. The share of an epoch that wsikit
waits for bags is judged on a GPU, where it may be 10 %; on a processor reading and computing take
the same cores. Takes 4.2 GB of the temporary folder. Without torchmil its rows are left out.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from shared.report import at_least, at_most, line, options, report

ENCODER = "made-up"
EPOCHS = 3
LR = 1e-4


class Size(NamedTuple):
    """How much there is to train on."""

    bags: int
    validation: int
    patches: int
    width: int


class Took(NamedTuple):
    """What an epoch cost.

    Attributes:
        seconds: of the faster of the last two epochs.
        waited: seconds of that epoch in which training waited for a bag; None where not known.
        peak_mb: the most the process held.
    """

    seconds: float
    waited: float | None
    peak_mb: float


Contender = Callable[[Path, Size], list[tuple[float, float | None]]]
"""Trains; returns the time at the end of each epoch and the seconds waited for bags until then."""


def write_store(path: Path, size: Size) -> None:
    """Write bags whose class shows in a tenth of their patches."""
    from wsikit.geometry import PatchGrid
    from wsikit.stages.exchange.ingested_slide import PlacedSlide, write_placed
    from wsikit.store.derived_writer import write_features
    from wsikit.store.store import Store
    from wsikit.types import Mpp
    from wsikit.types import Size as Pixels

    recipe = {"kind": "benchmark"}
    store = Store.create(path, recipe)
    side = int(np.ceil(np.sqrt(size.patches)))
    grid = PatchGrid(Pixels(512 * side, 512 * side), (1.0, 1.0), 512)
    row, col = np.divmod(np.arange(size.patches), side)
    coords = 512 * np.stack([col, row], axis=1)
    for number in range(size.bags + size.validation):
        name = str(number)
        placed = PlacedSlide(name, coords, grid, Mpp(0.5, 0.5), None, {}, name)
        write_placed(store, placed, placed.recipe(recipe))
        rng = np.random.default_rng(number)
        features = rng.standard_normal((size.patches, size.width), np.float32)
        features[: size.patches // 10, :8] += number % 2
        write_features(store, name, ENCODER, features.astype(np.float16), {"recipe_id": "-"})


def wsikit(path: Path, size: Size) -> list[tuple[float, float | None]]:
    """Train as `wsikit train` does."""
    from wsikit.training.bags.bags import DEFAULT_CACHE_BYTES

    return fit(path, size, DEFAULT_CACHE_BYTES)


def wsikit_keeping_nothing(path: Path, size: Size) -> list[tuple[float, float | None]]:
    """Train with every bag read anew in each epoch."""
    return fit(path, size, 0)


def fit(path: Path, size: Size, cache_bytes: int) -> list[tuple[float, float | None]]:
    """Run `fit_head` and note when an epoch ends."""
    from wsikit.stages.training.bags import bag_loader
    from wsikit.store.store import Store
    from wsikit.training.bags.bags import BagCache, BagDataset
    from wsikit.training.bags.loader import BagLoader
    from wsikit.training.fits import fit as fit_file

    loaders: list[BagLoader] = []

    class Watched(BagLoader):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            loaders.append(self)

    cache = BagCache(bag_loader(Store(path), ENCODER, None), cache_bytes)
    train, val = (BagDataset([str(n) for n in side], labels(side), cache) for side in sides(size))
    ends: list[tuple[float, float | None]] = []
    settings = fit_file.FitOptions(epochs=EPOCHS, lr=LR, patience=EPOCHS)
    # The fit keeps its loaders to itself; only they know how long it waited.
    with patch.object(fit_file, "BagLoader", Watched):
        fit_file.fit_head(
            network(size), train, val, settings, path.parent / f"run{cache_bytes}",
            lambda *_: ends.append((time.perf_counter(), loaders[0].waited)),
        )  # fmt: skip
    return ends


def plain_loop(path: Path, size: Size) -> list[tuple[float, float | None]]:
    """Train with nothing but torch."""
    import torch
    from torch.nn.functional import cross_entropy

    device = "cuda" if torch.cuda.is_available() else "cpu"
    head = network(size).to(device)
    optimiser = torch.optim.AdamW(head.parameters(), LR)
    read = reader(path)
    train, val = sides(size)
    ends: list[tuple[float, float | None]] = []
    for epoch in range(EPOCHS):
        head.train()
        for number in np.random.default_rng(epoch).permutation(train):
            bag, target = read(number).to(device), torch.tensor(number % 2, device=device)
            optimiser.zero_grad()
            cross_entropy(head(bag).logits, target).backward()
            optimiser.step()
        head.eval()
        with torch.no_grad():
            for number in val:
                head(read(number).to(device)).logits.cpu()
        ends.append((time.perf_counter(), None))
    return ends


def torchmil_trainer(path: Path, size: Size) -> list[tuple[float, float | None]]:
    """Train by torchmil."""
    return by_torchmil(path, size, 0)


def torchmil_worker(path: Path, size: Size) -> list[tuple[float, float | None]]:
    """Train by torchmil, a worker process reading the bags."""
    return by_torchmil(path, size, 1)


class TorchmilBags:
    """The bags of one side, as torchmil wants them; goes to a worker process and opens them there.

    Args:
        path: the store.
        numbers: of the bags.
    """

    def __init__(self, path: Path, numbers: range) -> None:
        self.path = path
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        import torch

        number = self.numbers[index]
        return {"X": reader(self.path)(number).features.float(), "Y": torch.tensor(number % 2)}


def by_torchmil(path: Path, size: Size, workers: int) -> list[tuple[float, float | None]]:
    """Run torchmil's trainer on its ABMIL and note when an epoch ends."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchmil.data import collate_fn
    from torchmil.models import ABMIL
    from torchmil.utils import Trainer

    class Ends:
        def __init__(self) -> None:
            self.times: list[tuple[float, float | None]] = []

        def log(self, metrics: dict[str, float]) -> None:
            if any(name.startswith("val") for name in metrics):
                self.times.append((time.perf_counter(), None))

    torch.manual_seed(0)
    embed = nn.Sequential(nn.Linear(size.width, 128), nn.ReLU(), nn.Dropout(0.25))
    model = ABMIL(in_shape=(size.width,), att_dim=64, gated=True, feat_ext=embed)
    ends = Ends()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = Trainer(
        model, torch.optim.AdamW(model.parameters(), LR), device=device, logger=ends,
        disable_pbar=True, verbose=False,
    )  # fmt: skip
    train, val = (
        DataLoader(
            TorchmilBags(path, side), batch_size=1, shuffle=shuffle, collate_fn=collate_fn,
            num_workers=workers, persistent_workers=workers > 0,
        )
        for side, shuffle in zip(sides(size), (True, False), strict=True)
    )  # fmt: skip
    trainer.train(EPOCHS, train, val)
    return ends.times


def sides(size: Size) -> tuple[range, range]:
    """Return the numbers of the bags to train on and to look at."""
    return range(size.bags), range(size.bags, size.bags + size.validation)


def labels(numbers: range) -> list[int]:
    """Return the classes of bags."""
    return [number % 2 for number in numbers]


def reader(path: Path) -> Callable[[int], Any]:
    """Return what reads a bag by its number."""
    from wsikit.stages.training.bags import bag_loader
    from wsikit.store.store import Store

    load = bag_loader(Store(path), ENCODER, None)
    return lambda number: load(str(number))


def network(size: Size) -> Any:
    """Return the untrained head."""
    import torch

    from wsikit.heads.registry import build_head

    torch.manual_seed(0)
    return build_head("abmil", size.width, 2)


def measured_in_child(contender: Contender, path: Path, size: Size) -> Took:
    """Train; meant for a fresh process."""
    ends = contender(path, size)
    epochs = []
    for (start, waited_before), (end, waited) in zip(ends[-3:-1], ends[-2:], strict=True):
        waits = None if waited is None or waited_before is None else waited - waited_before
        epochs.append((end - start, waits))
    seconds, waited = min(epochs, key=lambda epoch: epoch[0])
    status = Path("/proc/self/status").read_text()
    return Took(seconds, waited, int(status.partition("VmHWM:")[2].split()[0]) / 1000)


def took(contender: Contender, path: Path, size: Size) -> Took:
    """Train in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured_in_child, contender, path, size).result()


def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Train all and return rows and bars."""
    import torch

    contenders: dict[str, Contender] = {
        "wsikit": wsikit,
        "wsikit, no bag kept": wsikit_keeping_nothing,
        "plain loop": plain_loop,
    }
    if find_spec("torchmil"):
        contenders["torchmil"] = torchmil_trainer
        contenders["torchmil, one worker"] = torchmil_worker
    path = folder / "store"
    start = time.perf_counter()
    write_store(path, size)
    rows = [line("writing the store", time.perf_counter() - start, "s")]
    found = {}
    for name, contender in contenders.items():
        found[name] = took(contender, path, size)
        rows.append(line(f"{name}: an epoch", found[name].seconds, "s", 4))
        rows.append(line(f"{name}: memory", found[name].peak_mb, "MB", 0))
    shares = {n: (t.waited or 0) / t.seconds for n, t in found.items() if t.waited is not None}
    rows += [line(f"{n}: waits for bags", max(0.01, 100 * s), "%") for n, s in shares.items()]
    rivals = [took.seconds for name, took in found.items() if not name.startswith("wsikit")]
    ratio = min(rivals) / found["wsikit"].seconds
    bars = [at_least("the faster of the others over wsikit", ratio, 1.0)]
    if torch.cuda.is_available():
        bars.append(at_most("share of the time wsikit waits for bags", shares["wsikit"], 0.1))
    return {"rows": rows, "bars": bars, "bags": size.bags}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    parser.add_argument("--bags", type=int, default=200, metavar="N", help="to train on")
    asked = parser.parse_args()
    size = Size(6, 2, 300, 64) if asked.small else Size(asked.bags, 4, 10_000, 1_024)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(size, Path(folder))
    report(found["rows"], found["bars"], asked, bags=found["bags"])


if __name__ == "__main__":
    main()
