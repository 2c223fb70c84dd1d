"""A reference file: what it holds, what it may look like, and what is said where it does not."""

from __future__ import annotations

import hashlib
import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.stain.pictures import mixture, phantom, sample_of
from wsikit.errors import ConfigError
from wsikit.stain.methods import STAIN_METHODS, check_reference
from wsikit.stain.reference import (
    Reference,
    fit_reference,
    load_reference,
    reference_digest,
    save_reference,
)


def content() -> dict:
    path = Path(__file__).parents[2] / "wsikit" / "stain" / "reference.json"
    return json.loads(path.read_text())


def test_the_packaged_reference_is_made_by_program() -> None:
    script = Path(__file__).parents[2] / "pipelines" / "stain_reference.py"
    made, held = runpy.run_path(str(script))["make_reference"](), load_reference()
    np.testing.assert_array_equal(made.histogram, held.histogram)
    assert made.lab is not None
    assert held.lab is not None
    np.testing.assert_allclose(made.lab.mean, held.lab.mean, atol=1e-4)
    np.testing.assert_allclose(made.lab.std, held.lab.std, atol=1e-4)
    assert made.stains is not None
    assert held.stains is not None
    np.testing.assert_allclose(made.stains.matrix(), held.stains.matrix(), atol=1e-4)
    np.testing.assert_allclose(made.stains.full, held.stains.full, atol=1e-4)


def test_its_histogram_is_the_one_that_slides_were_always_matched_to() -> None:
    counts = load_reference().histogram.astype("<i8").tobytes()
    assert hashlib.sha256(counts).hexdigest()[:16] == "19d0d2d159c3601b"


def test_a_saved_reference_comes_back_the_same(tmp_path: Path) -> None:
    reference = fit_reference(sample_of(phantom("boreal")))
    save_reference(reference, tmp_path / "r.json")
    back = load_reference(str(tmp_path / "r.json"))
    np.testing.assert_array_equal(back.histogram, reference.histogram)
    assert (back.lab, back.stains) == (reference.lab, reference.stains)
    assert reference_digest(back) == reference_digest(reference)


def test_a_file_of_the_first_form_serves_histograms_only(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"histogram": content()["histogram"]}))
    reference = load_reference(str(path))
    for method in ("none", "histogram", "histogram-patch"):
        check_reference(method, reference)
    for method in ("reinhard", "macenko"):
        with pytest.raises(ConfigError, match=rf"tile\.stain\.reference.*cannot serve.*{method}"):
            check_reference(method, reference)
        with pytest.raises(ConfigError, match="--reference SLIDE"):
            STAIN_METHODS[method].fit(sample_of(phantom("dune")), reference)


def test_a_reference_slide_with_one_stain_serves_all_but_macenko() -> None:
    stain = (1.4, 1.5, 0.6)
    reference = fit_reference(sample_of(mixture(stain, stain)))
    check_reference("reinhard", reference)
    with pytest.raises(ConfigError, match="macenko"):
        check_reference("macenko", reference)


def test_a_blank_slide_is_no_reference() -> None:
    with pytest.raises(ConfigError, match="tissue"):
        fit_reference(sample_of(np.full((64, 64, 3), 245, np.uint8)))


@pytest.mark.parametrize(
    "broken",
    [
        {"schema": 3},
        {"schema": "two"},
        {"histogram": 1},
        {"histogram": [[1]]},
        {"histogram": [[-1] * 256] * 3},
        {"histogram": [[0] * 256] * 3},
        {"histogram": [[1.5] * 256] * 3},
        {"histogram": [[True] * 256] * 3},
        {"histogram": [[2**70] * 256] * 3},
        {"lab": 5},
        {"lab": {}},
        {"lab": {**content()["lab"], "mean": [1, 2]}},
        {"lab": {**content()["lab"], "std": [1, 2, float("nan")]}},
        {"lab": {**content()["lab"], "white": [0, 0, 0]}},
        {"stains": {**content()["stains"], "eosin": content()["stains"]["haematoxylin"]}},
        {"stains": {**content()["stains"], "eosin": [0, 0, 0]}},
        {"stains": {**content()["stains"], "full": [0, 1]}},
        {"stains": {**content()["stains"], "full": "ab"}},
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, broken: dict) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**content(), **broken}))
    with pytest.raises(ConfigError, match=r"tile\.stain\.reference: .*r\.json") as caught:
        load_reference(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '"x"', "[" * 100_000, "\xff\xfe"])
def test_a_file_that_is_not_even_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="histogram"):
        load_reference(str(path))


def test_an_absent_reference_names_its_key() -> None:
    with pytest.raises(ConfigError, match=r"tile\.stain\.reference: nowhere\.json cannot be read"):
        load_reference("nowhere.json")


def test_the_digest_covers_every_part() -> None:
    reference = load_reference()
    assert reference.lab is not None
    assert reference.stains is not None
    others = [
        Reference(reference.histogram + 1, reference.lab, reference.stains),
        Reference(reference.histogram, replace(reference.lab, pale=70.0), reference.stains),
        Reference(reference.histogram, reference.lab, replace(reference.stains, full=(1.0, 1.0))),
        Reference(reference.histogram),
    ]
    digests = {reference_digest(r) for r in [reference, *others]}
    assert len(digests) == 5
    assert reference_digest(load_reference()) in digests
