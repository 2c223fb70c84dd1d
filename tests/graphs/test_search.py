"""Beyond the size of an exact search: recall, steadiness, and when not to approximate."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tests.graphs.feature_sets import encoder_like, nearest_by_brute_force
from wsikit.config import GraphConfig
from wsikit.graphs.exact_search import exact_neighbours
from wsikit.graphs.inverted_search import (
    InvertedLists,
    Recall,
    inverted_neighbours,
    rank_proposals,
)
from wsikit.graphs.knn import knn_graph
from wsikit.graphs.search import Search, find_neighbours

LOW = Search(exact_up_to=1000)


@pytest.fixture
def lists_at_any_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look into as many lists as it takes, where so few patches are quicker searched exactly."""
    monkeypatch.setattr("wsikit.graphs.inverted_search.SCAN_COST", 0)


def recall(found: np.ndarray, features: np.ndarray, k: int) -> float:
    """Measure against scikit-learn."""
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(features)
    true = search.kneighbors(features, return_distance=False)
    shares = [
        len((set(row) - {i}) & set(f)) / k
        for i, (row, f) in enumerate(zip(true.tolist(), found.tolist(), strict=True))
    ]
    return float(np.mean(shares))


@pytest.mark.parametrize(("count", "k"), [(5000, 8), (2000, 40)])
def test_the_default_finds_98_percent(count: int, k: int) -> None:
    features = encoder_like(count)
    found = find_neighbours(features, k, LOW)
    assert found.recall is not None
    measured = recall(found.nearest, features, k)
    assert measured >= 0.98
    assert found.recall == pytest.approx(measured, abs=0.01)
    assert (found.nearest != np.arange(count)[:, None]).all()
    assert all(len(set(row)) == k for row in found.nearest.tolist())


@pytest.mark.usefixtures("lists_at_any_cost")
def test_more_recall_can_be_asked_for() -> None:
    features = encoder_like(3000)
    found = find_neighbours(features, 8, Search(1000, min_recall=0.999))
    assert found.recall is not None
    assert recall(found.nearest, features, 8) >= 0.998


@pytest.mark.usefixtures("lists_at_any_cost")
@pytest.mark.parametrize("width", [3, 40, 100, 700])
def test_features_of_any_width(width: int) -> None:
    features = encoder_like(2000, width)
    found = find_neighbours(features, 8, LOW)
    assert found.recall is not None
    assert recall(found.nearest, features, 8) >= 0.98


def test_without_structure_it_searches_exactly() -> None:
    features = np.random.default_rng(0).normal(size=(3000, 200)).astype(np.float32)
    assert inverted_neighbours(features, 8, 0.98) is None
    found = find_neighbours(features, 8, LOW)
    assert found.recall is None
    np.testing.assert_array_equal(found.nearest, exact_neighbours(features, 8))


def test_few_patches_are_searched_exactly_whatever_is_asked() -> None:
    features = encoder_like(200)
    found = find_neighbours(features, 8, Search(exact_up_to=1))
    assert found.recall is None
    np.testing.assert_array_equal(found.nearest, nearest_by_brute_force(features, 8))


@pytest.mark.usefixtures("lists_at_any_cost")
@pytest.mark.parametrize("distinct", [3, 40, 1500])
def test_copies_are_joined_as_in_an_exact_search(distinct: int) -> None:
    rng = np.random.default_rng(3)
    some = encoder_like(distinct, 64)
    features = some[rng.permutation(np.r_[np.zeros(1200, int), np.arange(distinct).repeat(2)])]
    found = find_neighbours(features, 8, LOW).nearest
    expected = exact_neighbours(features, 8)
    copies = (features[:, None] == some[None, 0]).all(2)[:, 0]
    np.testing.assert_array_equal(found[copies], expected[copies])
    assert (found == expected).mean() >= 0.98
    if distinct < 1000:  # so few that they are searched exactly
        np.testing.assert_array_equal(found, expected)


def test_a_patch_with_too_few_proposals_is_searched_exactly() -> None:
    features = encoder_like(300, 32)
    proposed = nearest_by_brute_force(features, 20)
    proposed[7, 5:] = 7
    nearest = rank_proposals(features, proposed, 8)
    np.testing.assert_array_equal(nearest, nearest_by_brute_force(features, 8))


def test_lists_give_only_what_they_hold() -> None:
    features = encoder_like(2000, 32)
    lists = InvertedLists(features, 32)
    rows = np.arange(2000)
    few = lists.propose(rows, 1900, 1)
    assert few.min() >= 0
    assert (few[:, -1] == rows).all()
    everything = lists.propose(rows[:50], 20, lists.lists)
    np.testing.assert_array_equal(
        np.sort(everything), np.sort(lists.propose_from_all(rows[:50], 20))
    )


def test_a_recall_is_reached_beyond_chance() -> None:
    assert Recall(0.99, 0.004).reaches(0.98)
    assert not Recall(0.985, 0.004).reaches(0.98)


def test_defaults_are_the_configurations() -> None:
    config = GraphConfig()
    assert Search() == Search(config.exact_up_to, config.min_recall)


DIGEST = """
import hashlib
import faiss
from tests.graphs.feature_sets import encoder_like
from wsikit.graphs.knn import knn_graph
from wsikit.graphs.search import Search
features = encoder_like(4000)
found = b"".join(
    part.tobytes() for n in (1000, 10000) for part in knn_graph(features, 8, search=Search(n))
)
print(faiss.omp_get_max_threads(), hashlib.sha256(found).hexdigest())
"""


def test_the_same_bytes_on_one_thread_and_on_two() -> None:
    root = str(Path(__file__).parents[2])
    answers = []
    for threads in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": root}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            capture_output=True, text=True, check=True, env=environment, cwd=root,
        )  # fmt: skip
        answers.append(done.stdout.split())
    assert [used for used, _ in answers] == ["1", "2"]
    assert answers[0][1] == answers[1][1]
    features = encoder_like(4000)
    here = [knn_graph(features, 8, search=Search(n)) for n in (1000, 10000)]
    digest = hashlib.sha256(b"".join(part.tobytes() for pair in here for part in pair))
    assert digest.hexdigest() == answers[0][1]
