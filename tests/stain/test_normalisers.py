"""What every stain method keeps to, whatever it does."""

from __future__ import annotations

import json
import pickle
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stain.pictures import lab, mixture, phantom, sample_of
from wsikit.errors import ConfigError, StoreError
from wsikit.phantoms.scanners import SCANNERS
from wsikit.slides.open import open_slide
from wsikit.stain.histogram import apply_table, matching_table
from wsikit.stain.lookup import count_values
from wsikit.stain.methods import STAIN_METHODS, fit_normaliser, normaliser_from_json
from wsikit.stain.normaliser import Identity, Normaliser
from wsikit.stain.reference import load_reference
from wsikit.stain.sample import MIN_TISSUE_PX, gather_sample
from wsikit.types import Box

METHODS = list(STAIN_METHODS)
ONE_FIT = [m for m in METHODS if m not in ("none", "histogram-patch")]
"""The methods that normalise a slide as a whole."""


def fit(method: str, *images: np.ndarray) -> Normaliser:
    return fit_normaliser(method, sample_of(*images), load_reference())


def test_the_methods_are_those_that_the_docs_name() -> None:
    assert METHODS == ["histogram", "histogram-patch", "macenko", "none", "reinhard"]


def test_an_unknown_method_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'macenko'"):
        fit("mackenko", phantom("aurora"))


@pytest.mark.parametrize("method", METHODS)
def test_what_was_written_normalises_as_what_was_fitted(method: str) -> None:
    image = phantom("boreal")
    made = fit(method, image)
    assert made.method == method
    back = normaliser_from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    assert type(back) is type(made)
    np.testing.assert_array_equal(back.apply(image), made.apply(image))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).apply(image), made.apply(image))
    assert back.to_json() == made.to_json()


@pytest.mark.parametrize("method", METHODS)
def test_it_is_fitted_the_same_every_time_and_leaves_its_input_alone(method: str) -> None:
    image = phantom("cinder")
    before = image.copy()
    first, second = fit(method, image), fit(method, image)
    assert first.to_json() == second.to_json()
    out, counts = first.apply_counting(image)
    assert out.dtype == np.uint8
    assert out.shape == image.shape
    np.testing.assert_array_equal(out, second.apply(image))
    np.testing.assert_array_equal(counts, count_values(image))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("method", METHODS)
def test_the_last_bits_of_a_fit_do_not_reach_the_pixels(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's linear algebra and powers differ in their last bits."""
    image, solve = phantom("cinder"), np.linalg.eigh
    here = fit(method, image).to_json()
    monkeypatch.setattr(np.linalg, "eigh", lambda m: solve(m * (1 + 1e-14)))
    from wsikit.stain import lab_statistics

    convert = lab_statistics.rgb2lab
    monkeypatch.setattr(lab_statistics, "rgb2lab", lambda i: convert(i) * (1 + 1e-14))
    assert fit(method, image).to_json() == here


@pytest.mark.parametrize("method", [m for m in METHODS if m != "histogram-patch"])
def test_a_pixel_is_changed_alike_wherever_it_lies(method: str) -> None:
    image = phantom("dune")
    made = fit(method, image)
    np.testing.assert_array_equal(
        made.apply(image[50:150, 31:77]), made.apply(image)[50:150, 31:77]
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tissue_px", [0, 1, MIN_TISSUE_PX - 1])
def test_a_nearly_blank_slide_is_left_as_it_is(method: str, tissue_px: int) -> None:
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(243, 2, (128, 128, 3)), 0, 255).astype(np.uint8)
    image.reshape(-1, 3)[:tissue_px] = (150, 80, 130)
    made = fit(method, image)
    assert isinstance(made, Identity)
    assert method == "none" or method in made.reason
    np.testing.assert_array_equal(made.apply(image), image)
    assert normaliser_from_json(made.to_json()) == made


@pytest.mark.parametrize("method", METHODS)
def test_barely_enough_tissue_does_no_harm(method: str) -> None:
    """All of it one colour, noise none: spreads and angles are nought."""
    image = np.full((128, 128, 3), 243, np.uint8)
    image.reshape(-1, 3)[: MIN_TISSUE_PX + 5] = (150, 80, 130)
    out = fit(method, image).apply(image)
    assert np.abs(out[-1].astype(int) - 243).max() <= 12 or method == "histogram-patch"


@pytest.mark.parametrize("white", [(243.0, 243.0, 243.0), (247.0, 238.0, 250.0)])
@pytest.mark.parametrize("strength", [0.35, 1.0, 1.6])
@pytest.mark.parametrize("method", ONE_FIT)
def test_glass_stays_white_and_its_noise_small(
    method: str, strength: float, white: tuple[float, float, float]
) -> None:
    image = mixture((1.4, 1.5, 0.6), (0.15, 1.3, 0.6), white, strength, noise=1.5)
    glass = image[:, 10:70]
    out = fit(method, image).apply(glass)
    assert out.reshape(-1, 3).mean(axis=0).min() > 230
    assert np.ptp(out.reshape(-1, 3).mean(axis=0)) < 12
    assert out.std(axis=(0, 1)).max() < 3 * glass.std(axis=(0, 1)).max()


@pytest.mark.parametrize("method", ONE_FIT)
def test_unscanned_white_stays_white(method: str) -> None:
    image = phantom("aurora")
    white = np.full((8, 8, 3), 255, np.uint8)
    assert fit(method, image).apply(white).min() >= 244


@pytest.mark.parametrize("method", ONE_FIT)
def test_one_tissue_on_two_scanners_comes_closer(method: str) -> None:
    images = [phantom(scanner) for scanner in sorted(SCANNERS)]
    normalised = [fit(method, image).apply(image) for image in images]
    for n, (before, after) in enumerate(zip(images[1:], normalised[1:], strict=True)):
        assert colour_distance(after, normalised[0]) < 0.6 * colour_distance(before, images[0]), n


@pytest.mark.parametrize("method", ONE_FIT)
def test_one_slide_in_two_files_comes_out_the_same(method: str, real_data: Path) -> None:
    """The DICOM file holds the SVS's pixels compressed once more, 5.7 grey values off."""
    files = ("cmu-1-small-region.svs", "cmu-1-small-region-dicom")
    outs = []
    for file in files:
        with open_slide(real_data / "slides" / file) as slide:
            squares = [slide.read(Box(x, 2048, 512, 512)) for x in (0, 512, 1024)]
        outs.append(fit(method, *squares).apply(squares[1]))
    mean = [lab(out)[~(out > 200).all(axis=2)].mean(axis=0) for out in outs]
    assert np.linalg.norm(mean[0] - mean[1]) < 1


@pytest.mark.parametrize("method", ONE_FIT)
def test_a_real_slide_becomes_like_the_reference(method: str, real_data: Path) -> None:
    with open_slide(real_data / "slides" / "cmu-1-small-region.svs") as slide:
        image = slide.read(Box(0, 1700, 1536, 1024))
    target = load_reference().lab
    assert target is not None
    tissue = ~(image > 200).all(axis=2)
    before, after = (lab(i)[tissue].mean(axis=0) for i in (image, fit(method, image).apply(image)))
    assert np.linalg.norm(after - target.mean) < 0.75 * np.linalg.norm(before - target.mean)


def colour_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean distance in Lab (CIE76) where either is tissue."""
    tissue = ~((a > 225).all(axis=2) & (b > 225).all(axis=2))
    return float(np.linalg.norm(lab(a) - lab(b), axis=2)[tissue].mean())


def test_the_table_of_method_histogram_is_matching_tables() -> None:
    image, reference = phantom("aurora"), load_reference()
    sample = sample_of(image)
    table = matching_table(sample.histogram, reference.histogram)
    np.testing.assert_array_equal(fit("histogram", image).to_json()["table"], table)
    np.testing.assert_array_equal(fit("histogram", image).apply(image), apply_table(image, table))


def good(method: str) -> dict[str, Any]:
    return fit(method, phantom("aurora")).to_json()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"method": 3},
        {"method": "vahadane"},
        {"method": "histogram"},
        {"method": "histogram", "table": [[0] * 255] * 3},
        {"method": "histogram", "table": [[256] * 256] * 3},
        {"method": "histogram", "table": "x" * 768},
        {"method": "histogram-patch", "reference": [[0] * 256] * 3},
        {"method": "reinhard", "source": {}, "reference": {}},
        {"method": "reinhard", "source": None, "reference": None},
        {"method": "macenko", "source": [], "reference": []},
    ],
)
def test_what_is_no_normaliser_is_refused(data: object) -> None:
    with pytest.raises(StoreError, match="stain normalisation"):
        normaliser_from_json(data)


@pytest.mark.parametrize("method", ["reinhard", "macenko"])
def test_a_number_out_of_range_is_refused(method: str) -> None:
    for key, value in good(method)["source"].items():
        for bad in (1e9, float("inf"), float("nan"), "1", None, True):
            data = good(method)
            data["source"][key] = [bad] * len(value) if isinstance(value, list) else bad
            with pytest.raises(StoreError):
                normaliser_from_json(data)


def test_a_slides_squares_never_lie_in_memory_together() -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def squares() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal most
        for n in range(6):
            image = mixture((1.4, 1.5, 0.6), (0.15, 1.3, 0.6), seed=n)
            given.append(weakref.ref(image))
            most = max(most, sum(ref() is not None for ref in given))
            yield image, ~(image > 200).all(axis=2)

    gather_sample(squares())
    assert len(given) == 6
    assert most <= 2
