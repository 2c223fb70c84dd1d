from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import percentileofscore

from wsikit.errors import WsikitError
from wsikit.heatmap.scores import PatchScores
from wsikit.types import ScoreKind, Size


def scores(values: list[float], kind: ScoreKind = "probability") -> PatchScores:
    xy = np.zeros((len(values), 2), np.int32)
    return PatchScores(xy, Size(10, 10), np.array(values, np.float32), "probability of x", kind)


def test_percentile_is_that_of_scipy():
    rng = np.random.default_rng(0)
    values = np.float32(rng.integers(0, 20, 60) / 20)  # many ties
    ours = scores(values.tolist()).percentile
    theirs = [percentileofscore(values, v, kind="mean") for v in values]
    np.testing.assert_allclose(ours, np.array(theirs), atol=1e-4)


def test_rank_counts_from_the_top_and_ties_share_the_better():
    assert scores([0.1, 0.9, 0.5, 0.9]).rank.tolist() == [4, 1, 3, 1]


def test_probability_is_shown_as_it_is():
    shown = scores([0.0, 0.25, 1.0])
    np.testing.assert_array_equal(shown.shown, np.float32([0, 0.25, 1]))
    assert shown.shown_meaning == "probability of x"


def test_attention_is_shown_as_percentile_and_says_so():
    few = scores([0.7, 0.2, 0.1], "attention")
    many = scores([0.07, 0.02, 0.01], "attention")
    np.testing.assert_array_equal(few.shown, many.shown)
    assert "percentile" in few.shown_meaning


def test_equal_attention_is_in_the_middle():
    np.testing.assert_allclose(scores([0.25] * 4, "attention").shown, 0.5)
    np.testing.assert_allclose(scores([1.0], "attention").shown, 0.5)


def test_no_patch_at_all():
    empty = scores([])
    assert empty.shown.shape == empty.rank.shape == (0,)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, np.nan], "probability"),
        ([np.inf], "attention"),
        ([1.2], "probability"),
        ([-0.1], "attention"),
    ],
)
def test_a_score_that_is_no_number_is_refused(values: list[float], kind: ScoreKind):
    with pytest.raises(WsikitError, match=f"1 of {len(values)} patch scores"):
        scores(values, kind)


def test_rounding_above_one_is_no_fault():
    assert scores([1 + 1e-7]).shown.max() == 1


def test_arrays_that_do_not_belong_together():
    with pytest.raises(ValueError, match="not \\(N, 2\\)"):
        PatchScores(
            np.zeros((3, 2), np.int32), Size(1, 1), np.zeros(2, np.float32), "x", "probability"
        )
    with pytest.raises(ValueError, match="at least one"):
        PatchScores(
            np.zeros((2, 2), np.int32), Size(0, 1), np.zeros(2, np.float32), "x", "probability"
        )
