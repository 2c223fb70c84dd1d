from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.heatmap.viewer.made_subject import grid_scores
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.viewer.layers import BARE, Layer, choose_patches, describe, patch_name
from wsikit.types import Size


def scores(values: list[float]) -> PatchScores:
    xy = np.array([(10 * n, 0) for n in range(len(values))], np.int32)
    return PatchScores(xy.reshape(-1, 2), Size(10, 10), np.float32(values), "p", "probability")


def test_high_patches_and_a_low_one_of_every_five():
    layer = Layer("a", scores([0.01 * n for n in range(50)]))
    chosen = [int(box.x) // 10 for box in choose_patches([layer], 10)]
    assert chosen == [49, 48, 47, 46, 0, 45, 44, 43, 42, 1]
    assert {int(box.x) // 10 for box in choose_patches([layer], 500)} == set(range(50))
    assert choose_patches([layer], 0) == []


@pytest.mark.parametrize("count", range(12))
def test_every_patch_is_chosen_once_where_there_is_room(count: int):
    chosen = choose_patches([Layer("a", scores([0.5] * count))], 100)
    assert len(chosen) == len(set(chosen)) == count


def test_runs_take_turns():
    rising, falling = scores([0.1, 0.2, 0.3]), scores([0.9, 0.5, 0.1])
    chosen = choose_patches([Layer("a", rising), Layer("b", falling)], 2)
    assert [int(box.x) // 10 for box in chosen] == [2, 0]
    assert len(choose_patches([Layer("a", rising), Layer("b", falling)], 99)) == 3


def test_numbers_survive():
    layer = Layer("a", grid_scores())
    kept = {patch_name(layer.box(3))}
    told = describe(layer, kept)
    unpack = {key: base64.b64decode(told[key]) for key in ("x", "y", "value", "rank", "kept")}
    xy = np.stack([np.frombuffer(unpack[key], "<i4") for key in "xy"], axis=1)
    np.testing.assert_array_equal(xy, layer.scores.xy_l0)
    np.testing.assert_array_equal(np.frombuffer(unpack["value"], "<f4"), layer.scores.values)
    np.testing.assert_array_equal(np.frombuffer(unpack["rank"], "<i4"), layer.scores.rank)
    assert np.nonzero(np.frombuffer(unpack["kept"], "u1"))[0].tolist() == [3]
    first, second = told["views"]
    assert (first["words"], first["kind"]) == ("probability of tumour", "value")
    assert second["words"] == "probability of tumour: percentile within this slide"
    cells = np.frombuffer(base64.b64decode(first["cells"]), "<u2").reshape(first["shape"])
    assert (cells != BARE).sum() == len(xy)
    assert cells[cells != BARE].max() / (BARE - 1) == pytest.approx(
        layer.scores.values.max(), abs=1e-5
    )


def test_attention_comes_as_percentile_first():
    told = describe(Layer("a", grid_scores("attention")), ())
    assert [view["kind"] for view in told["views"]] == ["percentile", "share"]
    assert told["views"][0]["words"] == "attention: percentile within this slide"


def test_a_slide_without_patches():
    told = describe(Layer("a", scores([])), ())
    assert told["x"] == ""
    assert all(view["shape"] == [1, 1] for view in told["views"])


def test_what_is_shown_of_a_square_is_the_patch_around_it():
    layer = Layer("a", scores([0.1, 0.9]), Size(40, 40))
    assert layer.box(1) == (-5, -15, 40, 40)
    told = describe(layer, [patch_name(layer.box(1))])
    assert (told["window"], told["margin"], told["side"]) == ([40, 40], [15, 15], [10, 10])
    assert base64.b64decode(told["kept"]) == b"\x00\x01"
