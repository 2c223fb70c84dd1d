"""Pieces and holes of drawn masks, and against scikit-image."""

from __future__ import annotations

import numpy as np
from skimage.morphology import remove_small_holes, remove_small_objects

from wsikit.tissue.pieces import fill_holes, large_pieces


def blobs(seed, size=90):
    noise = np.random.default_rng(seed).random((size, size + 7))
    return noise < 0.55


def test_pieces_are_those_of_scikit_image():
    for seed in range(3):
        mask = blobs(seed)
        expected = remove_small_objects(mask, max_size=11, connectivity=2)
        np.testing.assert_array_equal(large_pieces(mask, 12), expected)


def test_holes_are_those_of_scikit_image_within_a_frame():
    mask = np.ones((60, 70), bool)
    mask[5:40, 5:50] = blobs(5)[:35, :45]
    np.testing.assert_array_equal(
        fill_holes(mask, 9), remove_small_holes(mask, max_size=9, connectivity=1)
    )


def test_a_bay_open_to_the_edge_is_no_hole():
    mask = np.ones((9, 9), bool)
    mask[:3, 4] = False
    mask[6, 6] = False
    filled = fill_holes(mask, 100)
    assert not filled[:3, 4].any()
    assert filled[6, 6]


def test_only_seen_pixels_of_a_piece_count():
    mask = np.zeros((10, 20), bool)
    mask[2, 2:8] = mask[5, 2:18] = True
    seen = np.zeros_like(mask)
    seen[2, 3:7] = seen[5, 2:5] = True
    kept = large_pieces(mask, 4, seen)
    assert kept[2, 2:8].all()
    assert not kept[5].any()


def test_nothing_and_everything():
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    assert not large_pieces(empty, 1).any()
    assert large_pieces(full, 20).all()
    assert not large_pieces(full, 21).any()
    assert not fill_holes(empty, 100).any()
    assert fill_holes(full, 100).all()
