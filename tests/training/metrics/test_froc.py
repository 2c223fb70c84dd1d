"""FROC counted by hand, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from wsikit.training.metrics.froc import RATES, SlideDetections, detections, froc, peaks


def grid(image):
    """Return rowcol and scores of the patches of a picture; NaN is background."""
    image = np.array(image, float)
    rowcol = np.argwhere(np.isfinite(image))
    return rowcol, image[tuple(rowcol.T)]


def peak_places(image):
    rowcol, scores = grid(image)
    return [tuple(int(v) for v in rowcol[i]) for i in peaks(rowcol, scores)]


def test_a_peak_is_higher_than_its_eight_neighbours() -> None:
    image = [
        [9, 1, 0, 0, 5],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 3, 0],
        [7, 0, 0, 0, 0],
    ]
    assert peak_places(image) == [(0, 0), (0, 4), (2, 3), (3, 0)]


def test_equal_neighbours_are_one_detection_at_their_middle() -> None:
    assert peak_places([[2, 2, 2, 0, 1]]) == [(0, 1), (0, 4)]
    assert peak_places(np.full((3, 5), 0.5)) == [(1, 2)]
    assert peak_places([[3, 3], [3, 0]]) == [(0, 0)]
    # A ring of equal scores around a lower middle is one place still, on the ring.
    assert len(peak_places([[4, 4, 4], [4, 0, 4], [4, 4, 4]])) == 1


def test_a_flat_place_beside_a_higher_one_is_no_peak() -> None:
    assert peak_places([[1, 1, 5, 5], [1, 1, 5, 5]]) == [(0, 2)]
    assert peak_places([[1, 1, 2, 0, 0, 0]]) == [(0, 2)]


def test_background_parts_what_it_lies_between() -> None:
    nan = np.nan
    assert peak_places([[5, nan, 4], [1, nan, 1]]) == [(0, 0), (0, 2)]
    assert peak_places([[nan, 2], [nan, nan]]) == [(0, 1)]
    assert len(peaks(np.zeros((0, 2), np.int64), np.zeros(0))) == 0


def test_the_order_of_patches_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rowcol, scores = grid(rng.integers(0, 6, (12, 9)).astype(float))
    found = {tuple(rowcol[i]) for i in peaks(rowcol, scores)}
    order = rng.permutation(len(scores))
    again = {tuple(rowcol[order][i]) for i in peaks(rowcol[order], scores[order])}
    assert found == again


def test_peaks_are_those_of_a_naive_search() -> None:
    """Without ties: every patch that none of its neighbours beats."""
    rng = np.random.default_rng(1)
    image = rng.permutation(120).reshape(10, 12).astype(float)
    image[rng.random(image.shape) < 0.3] = np.nan
    naive = []
    for (r, c), value in np.ndenumerate(image):
        around = image[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
        if np.isfinite(value) and value == np.nanmax(around):
            naive.append((r, c))
    assert peak_places(image) == naive


def test_detections_hit_lesions_or_are_alarms() -> None:
    rowcol, scores = grid([[9, 0, 0, 8, 0, 0, 7], [0, 0, 0, 0, 0, 0, 0], [0, 0, 6, 0, 0, 0, 5]])
    first = (rowcol[:, 1] <= 3) & (rowcol[:, 0] == 0)  # holds the peaks 9 and 8
    second = (rowcol == (2, 6)).all(axis=1)  # holds the peak 5
    third = (rowcol == (1, 1)).all(axis=1)  # holds no peak
    found = detections("p", rowcol, scores, [first, second, third])
    assert found.lesions.tolist() == [9, 5, -np.inf]
    assert sorted(found.alarms.tolist()) == [6, 7]


def test_a_detection_in_two_lesions_hits_both() -> None:
    rowcol, scores = grid([[1, 3, 1]])
    both = rowcol[:, 1] == 1
    found = detections("p", rowcol, scores, [both, both])
    assert found.lesions.tolist() == [3, 3]
    assert len(found.alarms) == 0


def test_counted_by_hand() -> None:
    """Two slides, four lesions. Going down: 9 hit, 8 alarm, 7 hit, 6 alarm, 5 alarm, 4 hit; one
    lesion is never hit. False alarms a slide: 0, 1/2, 1/2, 1, 3/2, 3/2."""
    slides = [
        SlideDetections("a", np.array([9.0, 4.0, -np.inf]), np.array([8.0, 5.0])),
        SlideDetections("b", np.array([7.0]), np.array([6.0])),
    ]
    found = froc(slides, bootstrap=0, seed=0)
    assert found.rates.tolist() == [0, 0, 0.5, 0.5, 1, 1.5, 1.5]
    assert found.sensitivity.tolist() == [0, 0.25, 0.25, 0.5, 0.5, 0.5, 0.75]
    read = [found.at_rates[rate].value for rate in RATES]
    assert read == [0.25, 0.5, 0.5, 0.75, 0.75, 0.75]
    assert found.score.value == pytest.approx(np.mean(read))
    assert (found.lesions, found.slides) == (4, 2)


def test_equal_scores_are_taken_together() -> None:
    slides = [SlideDetections("a", np.array([5.0]), np.array([5.0, 5.0]))]
    found = froc(slides, bootstrap=0, seed=0)
    assert found.rates.tolist() == [0, 2]
    assert [found.at_rates[r].value for r in RATES] == [0, 0, 0, 1, 1, 1]


def test_perfect_blind_and_without_lesion() -> None:
    perfect = [SlideDetections(f"{n}", np.array([1.0]), np.array([0.0] * 50)) for n in range(6)]
    assert froc(perfect, seed=0).score[:3] == (1, 1, 1)
    blind = [SlideDetections("a", np.full(2, -np.inf), np.array([3.0]))]
    assert froc(blind, bootstrap=0, seed=0).score.value == 0
    assert froc([SlideDetections("a", np.zeros(0), np.ones(3))], seed=0) is None
    assert froc([], seed=0) is None
    silent = froc([SlideDetections("a", np.full(1, -np.inf), np.zeros(0))], bootstrap=0, seed=0)
    assert silent.score.value == 0


def test_the_interval_is_that_of_a_naive_loop_over_patients(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    slides = [
        SlideDetections(f"p{n % 6}", rng.normal(1, 1, n % 3), rng.normal(0, 1, 3 + n % 5))
        for n in range(18)
    ]
    monkeypatch.setattr("wsikit.training.metrics.bootstrap.BLOCK", 300)
    found = froc(slides, bootstrap=80, seed=4)
    scores = []
    for draw in np.random.default_rng(4).multinomial(6, np.full(6, 1 / 6), size=80):
        drawn = [s for n, s in enumerate(slides) for _ in range(draw[n % 6])]
        again = froc(drawn, bootstrap=0, seed=0)
        scores.append(again.score.value)
    assert found.score[1:3] == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))
