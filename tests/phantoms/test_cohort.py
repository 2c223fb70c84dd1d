from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from wsikit.errors import UsageError, WsikitError
from wsikit.phantoms.cohort import cohort_specs, cohort_table, write_truth
from wsikit.phantoms.scanners import SCANNERS
from wsikit.phantoms.truth import tumour_mask
from wsikit.types import Mpp, Size


def test_a_cohort_is_balanced_and_says_nothing_by_its_order():
    specs = cohort_specs(48, seed=0)
    assert sum(spec.tumour for spec in specs) == 24
    for tumour in (False, True):
        scanners = Counter(spec.scanner for spec in specs if spec.tumour == tumour)
        assert set(scanners) == set(SCANNERS)
        assert max(scanners.values()) < 2 * min(scanners.values())
        assert sum(spec.pen for spec in specs if spec.tumour == tumour) == 5
    classes = [spec.tumour for spec in specs]
    assert 12 < sum(a != b for a, b in itertools.pairwise(classes)) < 36
    assert len({spec.seed for spec in specs}) == 48


def test_slides_of_a_patient_share_class_and_scanner():
    patients = {}
    for spec in cohort_specs(31, seed=4):
        patients.setdefault(spec.patient_id, []).append(spec)
    assert {len(slides) for slides in patients.values()} == {1, 2}
    assert sum(len(slides) == 2 for slides in patients.values()) >= 5
    for slides in patients.values():
        assert len({(spec.tumour, spec.scanner) for spec in slides}) == 1


def test_sizes_vary_and_are_never_square():
    sizes = [spec.size for spec in cohort_specs(40, 1, size=Size(400, 400), mpp=Mpp(2.0, 1.9))]
    assert all(size.width != size.height for size in sizes)
    assert len(set(sizes)) > 30
    assert all(355 < side < 445 for size in sizes for side in size)


def test_equal_seeds_give_equal_cohorts():
    assert cohort_specs(9, seed=7) == cohort_specs(9, seed=7)
    assert cohort_specs(9, seed=7) != cohort_specs(9, seed=8)


@pytest.mark.parametrize("slides", [1, 2, 3])
def test_small_cohorts(slides):
    assert sum(spec.tumour for spec in cohort_specs(slides, seed=0)) == slides // 2


def test_an_empty_cohort_is_refused():
    with pytest.raises(UsageError, match="cannot have 0 slides"):
        cohort_specs(0, seed=0)


def test_the_table_is_a_cohort_csv():
    specs = cohort_specs(6, seed=2)
    table = cohort_table(specs)
    assert list(table.columns) == ["slide", "slide_id", "patient_id", "site", "label"]
    assert list(table["slide"]) == [f"{spec.slide_id}.tiff" for spec in specs]
    assert Counter(table["label"]) == {"normal": 3, "tumour": 3}
    assert set(table["site"]) <= set(SCANNERS)
    assert table.notna().all().all()


def test_truth_files_hold_the_mask_and_nothing_else(tmp_path):
    spec = next(spec for spec in cohort_specs(2, seed=3) if spec.tumour)
    path = write_truth(spec, tmp_path)
    assert list(tmp_path.iterdir()) == [path] == [tmp_path / f"{spec.slide_id}_mask.png"]
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels, tumour_mask(spec, 16) * np.uint8(255))


def test_truth_that_cannot_be_written_is_one_clear_line(tmp_path):
    spec = cohort_specs(1, seed=3)[0]
    with pytest.raises(WsikitError, match=r"cannot write the truth .*choose a folder"):
        write_truth(spec, tmp_path / "missing")
