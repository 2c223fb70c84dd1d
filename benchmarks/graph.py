"""What joining alike patches costs, beside scikit-learn and torch.

    python benchmarks/graph.py [--small] [--json FILE]

Features of 512 numbers, made by program, much as an encoder's; 1,000, 10,000 and 100,000 patches;
8 neighbours. wsikit's time is that of the whole graph: neighbours, true distances, both directions,
sorted. The others only find each patch's neighbours. Each runs in a process of its own, on as many
threads as it takes; memory is the most it holds beyond the features and its libraries. Where
"(of 10,000)" stands, so many patches were asked for and the time is scaled up. Only ratios
of one run mean anything.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared.report import at_least, at_most, line, options, report

K, WIDTH = 8, 512
SIZES = (1_000, 10_000, 100_000)
SMALL_SIZES = (300, 1_500)
MEASURED = 2_000
"""Patches whose true neighbours recall is measured on, others than the search itself samples."""

Task = Callable[[np.ndarray, np.ndarray], object]
"""Takes all features, and the numbers of the patches whose neighbours are wanted."""


class Took(NamedTuple):
    """What a task cost."""

    seconds: float
    peak_mb: float
    found: object


def encoder_like(count: int) -> np.ndarray:
    """Return features: unequal groups on a curved sheet of few dimensions, none below 0."""
    rng = np.random.default_rng(0)
    turn, spread = rng.normal(size=(24, 256)), rng.normal(size=(256, WIDTH)) / 80
    centres, shares = rng.normal(size=(20, 24)), rng.dirichlet(np.full(20, 2.0))
    features = np.empty((count, WIDTH), np.float32)
    for start in range(0, count, 10_000):
        part = features[start : start + 10_000]
        place = centres[rng.choice(20, len(part), p=shares)] + 0.5 * rng.normal(
            size=(len(part), 24)
        )
        part[:] = np.maximum(np.maximum(place @ turn, 0) @ spread, 0)
    return features


def wsikit_exact(features: np.ndarray, rows: np.ndarray) -> object:
    """Build the graph, every patch compared with all."""
    from wsikit.graphs.knn import knn_graph
    from wsikit.graphs.search import Search

    return knn_graph(features, K, search=Search(exact_up_to=len(features)))[0].shape


def wsikit_lists(features: np.ndarray, rows: np.ndarray) -> object:
    """Build the graph by inverted lists; return the recall it measured."""
    from wsikit.graphs.knn import knn_edges
    from wsikit.graphs.search import Search

    return knn_edges(features, K, True, Search(exact_up_to=1)).recall


def lists_recall(features: np.ndarray, rows: np.ndarray) -> object:
    """Measure the recall of inverted lists against scikit-learn, patch by patch."""
    from wsikit.graphs.search import Search, find_neighbours

    nearest = find_neighbours(features, K, Search(exact_up_to=1)).nearest
    return recall(nearest[rows], sklearn_search(features, rows, "brute"), rows)


def hnsw_recall(features: np.ndarray, rows: np.ndarray) -> object:
    """Measure the recall of HNSW in the same way."""
    found = faiss_hnsw(features, rows)
    return recall(found, sklearn_search(features, rows, "brute"), rows)


def recall(found: np.ndarray, true: np.ndarray, rows: np.ndarray) -> float:
    """Return the share of true neighbours found, in the mean."""
    hits = [len((set(t) - {i}) & set(f)) for i, t, f in zip(rows, true, found, strict=True)]
    return float(np.mean(hits)) / K


def sklearn_search(features: np.ndarray, rows: np.ndarray, algorithm: str) -> np.ndarray:
    """Find neighbours by scikit-learn, the patch itself among them."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=K + 1, algorithm=algorithm, n_jobs=-1).fit(features)
    found: np.ndarray = search.kneighbors(features[rows], return_distance=False)
    return found


def sklearn_brute(features: np.ndarray, rows: np.ndarray) -> object:
    """Compare with all, in scikit-learn."""
    return sklearn_search(features, rows, "brute").shape


def sklearn_ball_tree(features: np.ndarray, rows: np.ndarray) -> object:
    """Descend a tree of balls, in scikit-learn."""
    return sklearn_search(features, rows, "ball_tree").shape


def sklearn_kd_tree(features: np.ndarray, rows: np.ndarray) -> object:
    """Descend a tree of boxes, in scikit-learn."""
    return sklearn_search(features, rows, "kd_tree").shape


def torch_cdist(features: np.ndarray, rows: np.ndarray) -> object:
    """Compare with all, in torch, 1,000 patches at a time."""
    import torch

    everyone = torch.from_numpy(features)
    parts = [
        torch.cdist(everyone[torch.from_numpy(rows[start : start + 1000])], everyone)
        .topk(K + 1, largest=False)
        .indices
        for start in range(0, len(rows), 1000)
    ]
    return torch.cat(parts).shape


def faiss_hnsw(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Walk a graph of near patches (HNSW), built on one thread, as only then it is repeatable."""
    import faiss

    index = faiss.IndexHNSWFlat(WIDTH, 16)
    index.hnsw.efConstruction, index.hnsw.efSearch = 64, 32
    faiss.omp_set_num_threads(1)
    index.add(features)
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    found: np.ndarray = index.search(features[rows], K + 1)[1]
    return found


def measured_in_child(task: Task, path: Path, rows: np.ndarray) -> Took:
    """Run a task once for its imports and once for its cost; meant for a fresh process."""
    features = np.load(path)
    task(features[:100], np.arange(50))
    before = memory_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is not this task's
    start = time.perf_counter()
    found = task(features, rows)
    seconds = time.perf_counter() - start
    return Took(seconds, max(1.0, (memory_kb("VmHWM") - before) / 1000), found)


def memory_kb(name: str) -> int:
    """Return a figure of this process's memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0])


def took(task: Task, path: Path, rows: np.ndarray) -> Took:
    """Run a task in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured_in_child, task, path, rows).result()


def contenders(count: int, small: bool) -> dict[str, tuple[Task, int]]:
    """Return what is measured at a size: name -> task, and how many patches it is asked for."""
    many = min(count, 10_000)
    few = min(count, 50 if small else 200)
    found: dict[str, tuple[Task, int]] = {
        "wsikit, exact": (wsikit_exact, count),
        "scikit-learn, brute force": (sklearn_brute, many),
        "torch cdist and topk": (torch_cdist, many),
        "scikit-learn, ball tree": (sklearn_ball_tree, few),
        "scikit-learn, k-d tree": (sklearn_kd_tree, few),
    }
    if count > 1_000:
        found["wsikit, inverted lists"] = (wsikit_lists, count)
        found["FAISS HNSW, built on one thread"] = (faiss_hnsw, count)
    return found


def measure(small: bool, folder: Path) -> dict[str, Any]:
    """Run everything and return rows and bars."""
    rows, seconds, peaks = [], {}, {}
    sizes = SMALL_SIZES if small else SIZES
    for count in sizes:
        path = folder / f"{count}.npy"
        np.save(path, encoder_like(count))
        for name, (task, asked) in contenders(count, small).items():
            chosen = np.sort(np.random.default_rng(7).choice(count, asked, replace=False))
            cost = took(task, path, chosen)
            seconds[name, count] = cost.seconds * count / asked
            peaks[name, count] = cost.peak_mb
            part = "" if asked == count else f" (of {asked:,})"
            rows.append(line(f"{count:,}: {name}{part}", seconds[name, count], "s", 3))
            rows.append(line(f"{count:,}: {name}, memory", cost.peak_mb, "MB", 0))
    largest = sizes[-1]
    chosen = np.sort(
        np.random.default_rng(8).choice(largest, min(largest, MEASURED), replace=False)
    )
    recalls = {}
    for name, task in (("inverted lists", lists_recall), ("HNSW", hnsw_recall)):
        recalls[name] = float(took(task, folder / f"{largest}.npy", chosen).found)  # type: ignore[arg-type]
        rows.append(line(f"{largest:,}: recall, {name}", recalls[name], "", 4))
    return {"rows": rows, "bars": bars(sizes, seconds, peaks, recalls["inverted lists"])}


def bars(
    sizes: tuple[int, ...],
    seconds: dict[tuple[str, int], float],
    peaks: dict[tuple[str, int], float],
    found_share: float,
) -> list[dict[str, Any]]:
    """Return the ratios that must hold."""
    largest, exact = sizes[-1], "wsikit, exact"
    features_mb = largest * WIDTH * 4 / 1e6
    found = [at_least(f"recall at {largest:,}", found_share, 0.98)]
    for rival in ("scikit-learn, brute force", "torch cdist and topk"):
        ratio = seconds[rival, largest] / seconds["wsikit, inverted lists", largest]
        found.append(at_least(f"{rival} over wsikit at {largest:,}", ratio, 2.0))
    for count in sizes[-2:]:
        ratio = seconds[exact, count] / seconds["scikit-learn, brute force", count]
        found.append(at_most(f"wsikit, exact, over scikit-learn at {count:,}", ratio, 2.0))
    for name in (exact, "wsikit, inverted lists"):
        ratio = peaks[name, largest] / features_mb
        found.append(at_most(f"memory of {name}, over the features", ratio, 3.0))
    return found


def main() -> None:
    """Print the table; with --json also write it."""
    asked = options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.small, Path(folder))
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
