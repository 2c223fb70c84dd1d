"""CBIS-DDSM: masks known by content, boxes where lesions lie, and what is missing named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from scipy import ndimage

from wsikit.errors import UsageError
from wsikit.phantoms.mammogram_sets import SECRET, write_cbis_ddsm_tree
from wsikit.slides.grey_dicom import read_grey_dicom
from wsikit.stages.ingest.cbis_ddsm import CbisOptions, find_cbis_ddsm
from wsikit.stages.ingest.cbis_pictures import is_mask
from wsikit.stages.ingest.ingest import Ingested, IngestOptions, ingest
from wsikit.stages.ingest.mammogram import CutOptions, Kind
from wsikit.store.store import Store

PATIENTS = 8


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cbis_ddsm_tree(tmp_path_factory.mktemp("cbis"), PATIENTS)


@pytest.fixture
def own(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "own"))


def take(
    folder: Path,
    store: Path,
    ids: list[str],
    kind: Kind = "rois",
    options: CbisOptions | None = None,
) -> Ingested:
    options = options or CbisOptions(CutOptions(kind, side=64))
    return ingest(find_cbis_ddsm(folder, options), store, IngestOptions(slide_ids=ids))


def test_real_files_called_masks_are_known_to_be_crops(real_data: Path) -> None:
    sample = real_data / "mammo" / "cbis_ddsm_sample"
    files = sorted(sample.rglob("*ROI mask*/*.dcm"))
    assert len(files) == 2
    assert not any(is_mask(read_grey_dicom(path)) for path in files)
    found = find_cbis_ddsm(sample, CbisOptions(tables=real_data / "mammo" / "cbis_ddsm_csv"))
    assert not found.sources
    assert found.broken["Mass-Test_P_00116_RIGHT_MLO_1"].startswith("its mammogram")
    assert any("train" in entry.name for entry in found.left_out)


@pytest.mark.parametrize("kind", ["rois", "patches"])
def test_boxes_lie_where_the_masks_are(tree: Path, tmp_path: Path, kind: Kind) -> None:
    found = find_cbis_ddsm(tree)
    assert len(found.sources) == 2 * PATIENTS + 3  # two views each, and three second lesions
    ids = [f"Mass-Training_P_0000{name}" for name in
           ("1_LEFT_MLO_2", "2_RIGHT_CC_1", "5_LEFT_MLO_1", "6_RIGHT_CC_1")]  # fmt: skip
    done = take(tree, tmp_path / "store", ids, kind)
    assert not done.outcome.failed
    cohort = pd.read_csv(done.cohort, dtype=str)
    store = Store(tmp_path / "store")
    masks = _masks(tree)
    for slide_id in cohort["slide_id"]:
        slide = store.slide(slide_id)
        assert len(slide.patches) == (1 if kind == "rois" else 8)
        assert (slide.is_grey, slide.max_value, slide.mpp_known) == (True, 65535, False)
        mask = masks[slide_id]
        rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        for facts in slide.pictures:
            x, y, width, height = facts["boxes"][0]
            scale = facts["scale"]
            # A mask of twice the size has the same box in the mammogram's frame.
            assert width * scale == pytest.approx(cols[-1] + 1 - cols[0], abs=1)
            assert height * scale == pytest.approx(rows[-1] + 1 - rows[0], abs=1)
            if kind == "rois":
                assert 0 <= x < x + width <= 64
                assert 0 <= y < y + height <= 64
            else:
                assert x < 64
                assert y < 64
                assert x + width > 0
                assert y + height > 0


def _masks(tree: Path) -> dict[str, np.ndarray]:
    """Masks by lesion through pydicom, brought to the mammogram's size."""
    found = {}
    for path in sorted((tree / "CBIS-DDSM").rglob("*.dcm")):
        name = path.relative_to(tree / "CBIS-DDSM").parts[0]
        pixels = pydicom.dcmread(path).pixel_array
        if pixels.dtype == np.uint8:
            found[name] = pixels[::2, ::2] if pixels.shape == (960, 640) else pixels
    return found


def test_a_roi_is_the_mammogram_around_its_lesion(tree: Path, tmp_path: Path) -> None:
    store_path = tmp_path / "store"
    take(tree, store_path, ["Mass-Training_P_00005_LEFT_CC_1"])
    store, name = Store(store_path), "Mass-Training_P_00005_LEFT_CC"  # MONOCHROME1
    slide = store.slide(f"{name}_1")
    facts = slide.pictures[0]
    (path,) = (tree / "CBIS-DDSM" / name).rglob("*.dcm")
    dataset = pydicom.dcmread(path)
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    image = 65535 - dataset.pixel_array.astype(np.float64)
    x, y, width, height = (facts["scale"] * n for n in facts["boxes"][0])
    mask = _masks(tree)[f"{name}_1"]
    left = np.flatnonzero(mask.any(0))[0] - x
    top = np.flatnonzero(mask.any(1))[0] - y
    side = round(64 * facts["scale"])
    cut = image[round(top) : round(top) + side, round(left) : round(left) + side]
    zoomed = ndimage.zoom(cut, 64 / side, order=1, grid_mode=True, mode="nearest")
    found = slide.read_patch(0)[..., 0].astype(np.float64)
    assert np.corrcoef(zoomed.ravel(), found.ravel())[0, 1] > 0.99
    assert len(np.unique(found)) > 1000  # not 8 bits
    assert width > 0
    assert height > 0


def test_whole_mammograms_have_all_boxes_and_no_label(tree: Path, tmp_path: Path) -> None:
    take(tree, tmp_path / "store", ["Mass-Training_P_00001_LEFT_MLO"], "whole")
    store = Store(tmp_path / "store")
    slide = store.slide("Mass-Training_P_00001_LEFT_MLO")
    assert len(slide.pictures[0]["boxes"]) == 2
    picture = slide.read_patch(0)[..., 0]
    assert not picture[:, -6:].any()  # beside the breast there is nothing
    for x, y, width, height in slide.pictures[0]["boxes"]:
        inside = picture[round(y) : round(y + height), round(x) : round(x + width)]
        assert inside.mean() > 1.2 * picture[picture > 0].mean()


def test_names_and_dates_stay_behind(tree: Path, tmp_path: Path) -> None:
    take(tree, tmp_path / "store", ["Mass-Training_P_00001_LEFT_MLO"], "whole")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert SECRET.encode() not in data
            assert b"19530401" not in data
            assert str(tree).encode() not in data


def test_the_same_call_gives_the_same_bytes_and_another_seed_others(
    tree: Path, tmp_path: Path
) -> None:
    def chunks(name: str, seed: int, workers: int) -> list[bytes]:
        found = find_cbis_ddsm(tree, CbisOptions(CutOptions("patches", side=32, seed=seed)))
        ids = [source.slide_id for source in found.sources[:3]]
        ingest(found, tmp_path / name, IngestOptions(workers=workers, slide_ids=ids))
        paths = sorted((tmp_path / name / "slides").rglob("0/c/0/*/*"))
        return [path.read_bytes() for path in paths]

    first = chunks("a", 0, 1)
    assert first == chunks("b", 0, 2)
    assert first != chunks("c", 1, 1)


def test_what_is_missing_costs_one_line_each(own: Path, tmp_path: Path) -> None:
    top = own / "CBIS-DDSM"
    folder = {n: top / f"Mass-Training_P_{n:05d}_{side}_CC" for n, side in
              ((1, "LEFT"), (2, "RIGHT"), (3, "LEFT"), (4, "RIGHT"), (5, "LEFT"))}  # fmt: skip
    shutil.rmtree(folder[1])
    shutil.rmtree(f"{folder[2]}_1")
    for path in top.glob(f"{folder[3].name}_1/**/*.dcm"):
        if pydicom.dcmread(path).BitsStored == 8:
            _rewrite(path, np.zeros((480, 320), np.uint8))
    for path in top.glob(f"{folder[4].name}_1/**/*.dcm"):
        if pydicom.dcmread(path).BitsStored == 8:
            mask = np.zeros((480, 320), np.uint8)
            mask[2:8, 2:8] = 255  # in the corner, where the label is not
            _rewrite(path, mask)
    (path,) = folder[5].rglob("*.dcm")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    strange = top / "Mass-Training_P_00077_LEFT_CC_1"
    strange.mkdir()
    shutil.copy(next(top.rglob("*.dcm")), strange / "1-1.dcm")
    for place in ("scans/a", "scans/b", ""):
        (top / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(next(top.rglob("*.dcm")), top / place / "odd.dcm")
    table = own / "mass_case_description_train_set.csv"
    table.write_text(table.read_text() + "P_00009,3,LEFT,CC,1,mass,A,B,4,UNKNOWN,4,a,../../b,c\n")
    good = "Mass-Training_P_00006_RIGHT_CC_1"
    done = take(own, tmp_path / "store", [*(f"{path.name}_1" for path in folder.values()), good])
    failed = done.outcome.failed
    assert "mammogram Mass-Training_P_00001_LEFT_CC is missing" in failed[f"{folder[1].name}_1"]
    assert "no mask" in failed[f"{folder[2].name}_1"]
    assert "mask is empty" in failed[f"{folder[3].name}_1"]
    assert "outside the breast" in failed[f"{folder[4].name}_1"]
    assert f"{folder[5].name}/.../1-1.dcm: " in failed[f"{folder[5].name}_1"]
    assert "without pixels" in failed[f"{folder[5].name}_1"]
    assert len(failed) == 5
    assert done.outcome.done == [good]
    lines = [str(entry) for entry in done.left_out]
    assert "Mass-Training_P_00077_LEFT_CC_1: no row of the CSVs names it" in lines
    reason = "in no folder of a lesion or a mammogram"
    assert f"CBIS-DDSM/scans: 2 DICOM files {reason}" in lines
    assert f"CBIS-DDSM/odd.dcm: 1 DICOM file {reason}" in lines
    assert any("does not name a lesion" in line for line in lines)
    assert all("\n" not in line for line in (*lines, *failed.values()))


def _rewrite(path: Path, pixels: np.ndarray) -> None:
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)


def test_a_mask_of_another_shape_is_refused_and_costs_a_whole_picture_its_box(
    own: Path, tmp_path: Path
) -> None:
    name = "Mass-Training_P_00003_LEFT_CC"
    for path in (own / "CBIS-DDSM").glob(f"{name}_1/**/*.dcm"):
        if pydicom.dcmread(path).BitsStored == 8:
            _rewrite(path, np.pad(np.full((50, 50), 255, np.uint8), 100))
    done = take(own, tmp_path / "rois", [f"{name}_1"])
    assert "another shape" in done.outcome.failed[f"{name}_1"]
    whole = take(own, tmp_path / "whole", [name], "whole")
    assert not whole.outcome.failed
    assert Store(tmp_path / "whole").slide(name).pictures[0]["boxes"] == []
    assert any("another shape" in entry.reason for entry in whole.left_out)


def test_splits(tree: Path, tmp_path: Path) -> None:
    published = find_cbis_ddsm(tree, CbisOptions(split="published"))
    for source in published.sources:
        assert (source.columns["split"] == "test") == ("Mass-Test" in source.slide_id)
    assert "LEAKY" not in published.split
    images = CbisOptions(CutOptions("whole", side=64), split="images")
    take(tree, tmp_path / "store", ["Mass-Training_P_00001_LEFT_CC"], options=images)
    said = json.loads((tmp_path / "store.cohort.json").read_bytes())
    assert "LEAKY" in said["split"]


def test_missing_tables_and_folders_are_one_line(tree: Path, own: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        find_cbis_ddsm(tmp_path / "absent")
    with pytest.raises(UsageError, match="mass_case_description"):
        find_cbis_ddsm(tree / "CBIS-DDSM")
    (own / "mass_case_description_test_set.csv").unlink()
    found = find_cbis_ddsm(own)
    assert [str(entry) for entry in found.left_out] == [
        "Mass-Test: 9 folders and no description CSV of them"
    ]


def test_a_blank_mammogram_is_one_line(own: Path, tmp_path: Path) -> None:
    name = "Mass-Training_P_00005_LEFT_CC"
    (path,) = (own / "CBIS-DDSM" / name).rglob("*.dcm")
    _rewrite(path, np.zeros((480, 320), np.uint16))
    done = take(own, tmp_path / "store", [f"{name}_1"])
    assert "missing or blank" in done.outcome.failed[f"{name}_1"]


def test_an_unknown_slide_names_the_nearest_of_many(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        take(tree, tmp_path / "store", ["P_00005"])
    assert str(raised.value) == (
        "cbis-ddsm has no slide 'P_00005': the nearest of 19 are: "
        "Mass-Training_P_00005_LEFT_CC_1, Mass-Training_P_00005_LEFT_MLO_1"
    )
