from __future__ import annotations

import numpy as np
import pytest

from wsikit.heatmap.colours import OKABE_ITO, heat, heat_lut
from wsikit.heatmap.paint import blend, blend_clusters, score_map
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Size

SCALE = (7.3, 5.9)  # level-0 px per thumbnail px, differing, so that swapped axes show
RNG = np.random.default_rng(5)
THUMBNAIL = RNG.integers(0, 256, (40, 61, 3), dtype=np.uint8)


def some_scores(count: int = 12) -> PatchScores:
    rng = np.random.default_rng(1)
    xy = np.stack([rng.integers(-20, 430, count), rng.integers(-20, 230, count)], 1)
    values = rng.random(count).astype(np.float32)
    return PatchScores(xy.astype(np.int32), Size(37, 52), values, "probability of x", "probability")


def dense_map(scores: PatchScores) -> np.ndarray:
    """The mean score at each pixel centre, pixel by pixel; NaN where there is none."""
    height, width = THUMBNAIL.shape[:2]
    out = np.full((height, width), np.nan)
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5) * SCALE[0], (i + 0.5) * SCALE[1]
            inside = [
                value
                for (left, top), value in zip(scores.xy_l0, scores.values, strict=True)
                if left <= x < left + scores.side_l0.width
                and top <= y < top + scores.side_l0.height
            ]
            if inside:
                out[i, j] = np.mean(inside, dtype=np.float64)
    return out


def test_every_pixel_against_the_definition():
    scores = some_scores()
    expected = dense_map(scores)
    shown, scored = score_map(THUMBNAIL.shape[:2], SCALE, scores)
    np.testing.assert_array_equal(scored, np.isfinite(expected))
    np.testing.assert_allclose(shown[scored], expected[scored], atol=1e-9)


def test_scored_pixels_are_coloured_and_the_rest_is_bare():
    scores = some_scores()
    shown, scored = score_map(THUMBNAIL.shape[:2], SCALE, scores)
    out = blend(THUMBNAIL, SCALE, scores, alpha=0.45)
    np.testing.assert_array_equal(out[~scored], THUMBNAIL[~scored])
    expected = 0.55 * THUMBNAIL[scored].astype(float) + 0.45 * heat(shown[scored]).astype(float)
    assert np.abs(out[scored] - expected).max() <= 0.5 + 1e-4
    assert 0 < scored.mean() < 1


def test_alpha_one_is_the_pure_colour_and_zero_the_tissue():
    one = PatchScores(
        np.array([[73, 59]], np.int32), Size(73, 59), np.float32([1.0]), "p", "probability"
    )
    out = blend(THUMBNAIL, SCALE, one, alpha=1.0)
    assert (out[10:20, 10:20] == heat_lut()[255]).all()
    np.testing.assert_array_equal(out[:10], THUMBNAIL[:10])
    np.testing.assert_array_equal(blend(THUMBNAIL, SCALE, one, alpha=0.0), THUMBNAIL)


def test_neighbours_leave_no_gap_and_do_not_overlap():
    xy = np.array([(c * 50, r * 50) for r in range(4) for c in range(8)], np.int32)
    scores = PatchScores(xy, Size(50, 50), np.ones(32, np.float32), "p", "probability")
    shown, scored = score_map(THUMBNAIL.shape[:2], SCALE, scores)
    filled = np.zeros_like(scored)
    filled[: int(200 / SCALE[1] + 0.5), : int(400 / SCALE[0] + 0.5)] = True
    np.testing.assert_array_equal(scored, filled)
    np.testing.assert_allclose(shown[scored], 1)


def test_the_order_of_patches_does_not_matter():
    scores = some_scores(30)
    order = np.random.default_rng(0).permutation(30)
    shuffled = PatchScores(
        scores.xy_l0[order], scores.side_l0, scores.values[order], "p", "probability"
    )
    np.testing.assert_array_equal(
        blend(THUMBNAIL, SCALE, scores), blend(THUMBNAIL, SCALE, shuffled)
    )


def test_nothing_scored_changes_nothing_and_the_input_stays():
    before = THUMBNAIL.copy()
    out = blend(THUMBNAIL, SCALE, some_scores(0))
    np.testing.assert_array_equal(out, before)
    blend(THUMBNAIL, SCALE, some_scores())
    np.testing.assert_array_equal(THUMBNAIL, before)


def test_clusters_have_their_own_colours():
    xy = np.array([(0, 0), (73, 0), (0, 118)], np.int32)
    out = blend_clusters(THUMBNAIL, SCALE, xy, Size(73, 59), np.array([0, 1, 7]), alpha=1.0)
    assert (out[:10, :10] == OKABE_ITO[0]).all()
    assert (out[:10, 10:20] == OKABE_ITO[1]).all()
    assert (out[20:30, :10] == OKABE_ITO[7]).all()
    np.testing.assert_array_equal(out[:, 20:], THUMBNAIL[:, 20:])


@pytest.mark.parametrize("bad", [-1, 8])
def test_a_cluster_without_a_colour_is_refused(bad: int):
    with pytest.raises(ValueError, match=r"numbered 0\.\.7"):
        blend_clusters(THUMBNAIL, SCALE, np.zeros((1, 2), np.int32), Size(9, 9), np.array([bad]))
