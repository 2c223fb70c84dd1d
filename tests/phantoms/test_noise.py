from __future__ import annotations

import numpy as np

from wsikit.phantoms.noise import fractal_noise, gradient_noise, hash_cells, stream, uniform


def test_a_grid_and_its_points_one_by_one_agree():
    x, y = np.linspace(-300, 900, 41)[None, :], np.linspace(5, 700, 23)[:, None]
    grid = fractal_noise(x, y, 60.0, seed=5, octaves=3)
    xs, ys = np.broadcast_arrays(x, y)
    points = fractal_noise(xs.ravel(), ys.ravel(), 60.0, seed=5, octaves=3)
    np.testing.assert_array_equal(grid.ravel(), points)


def test_a_window_of_a_grid_is_the_grid_of_the_window():
    x, y = np.arange(0.0, 400, 3)[None, :], np.arange(0.0, 300, 3)[:, None]
    whole = gradient_noise(x, y, 37.0, seed=9)
    part = gradient_noise(x[:, 50:80], y[20:60], 37.0, seed=9)
    np.testing.assert_array_equal(whole[20:60, 50:80], part)


def test_noise_is_smooth_bounded_and_centred():
    x, y = np.arange(0.0, 6000, 11)[None, :], np.arange(0.0, 6000, 11)[:, None]
    noise = gradient_noise(x, y, 100.0, seed=2)
    assert np.abs(noise).max() <= 1
    assert abs(noise.mean()) < 0.03
    assert np.abs(np.diff(noise, axis=1)).max() < 0.5


def test_no_points_give_no_noise():
    assert gradient_noise(np.empty(0), np.empty(0), 10.0, seed=1).shape == (0,)


def test_hashes_are_uniform_and_differ_by_axis_and_seed():
    ix, iy = np.arange(-200, 200)[None, :], np.arange(-200, 200)[:, None]
    draw = uniform(hash_cells(ix, iy, 3), 0)
    assert abs(draw.mean() - 0.5) < 0.005
    assert np.histogram(draw, 10, (0, 1))[0].min() > 0.95 * draw.size / 10
    assert not np.allclose(draw, draw.T)
    assert abs(np.corrcoef(draw.ravel(), uniform(hash_cells(ix, iy, 4), 0).ravel())[0, 1]) < 0.01
    assert stream(1, 2) != stream(2, 1) != stream(1, 3)
