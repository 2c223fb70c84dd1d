"""One mammogram under two patients, its header, mask and cut being others, is found and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from wsikit.config import load_config
from wsikit.errors import CohortError
from wsikit.phantoms.mammogram_sets import write_cbis_ddsm_tree
from wsikit.stages.ingest.cbis_ddsm import CbisOptions, find_cbis_ddsm
from wsikit.stages.ingest.ingest import IngestOptions, ingest
from wsikit.stages.ingest.mammogram import CutOptions, Kind
from wsikit.stages.training.near_duplicates import find_alike
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

ORIGINAL, COPY = "Mass-Training_P_00005_LEFT_CC", "Mass-Training_P_00003_LEFT_CC"
SIDES = {
    "P_00001": "train", "P_00002": "train", "P_00003": "train", "P_00004": "val",
    "P_00005": "test", "P_00006": "test", "P_00007": "val", "P_00008": "test",
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients; the third one's mammogram is the fifth one's, stored the other way round."""
    folder = write_cbis_ddsm_tree(tmp_path_factory.mktemp("cbis"), 8)
    (original,) = (folder / "CBIS-DDSM" / ORIGINAL).rglob("*.dcm")
    (copy,) = (folder / "CBIS-DDSM" / COPY).rglob("*.dcm")
    given, dataset = pydicom.dcmread(original), pydicom.dcmread(copy)
    kinds = (given.PhotometricInterpretation, dataset.PhotometricInterpretation)
    assert kinds == ("MONOCHROME1", "MONOCHROME2")
    dataset.PixelData = (~given.pixel_array).astype("<u2").tobytes()
    dataset.save_as(copy)
    assert original.read_bytes() != copy.read_bytes()
    return folder


@pytest.mark.parametrize("kind", ["rois", "patches", "whole"])
def test_the_copy_alone_is_found_and_told_of_when_it_is_ingested(
    tree: Path, tmp_path: Path, kind: Kind
) -> None:
    found = find_cbis_ddsm(tree, CbisOptions(CutOptions(kind, side=48)))
    tail = "" if kind == "whole" else "_1"
    ids = [f"{COPY}{tail}", f"{ORIGINAL}{tail}", f"Mass-Training_P_00006_RIGHT_CC{tail}"]
    done = ingest(found, tmp_path / "store", IngestOptions(slide_ids=ids))
    assert not done.outcome.failed
    store = Store(tmp_path / "store")
    pairs, unseen = find_alike(store, store.slide_ids())
    assert [(pair.one, pair.other) for pair in pairs] == [(ids[0], ids[1])]
    assert unseen == []
    (note,) = pd.read_json(done.cohort.with_suffix(".json"), typ="series")["notes"]
    assert note == (
        f"'{ids[0]}' and '{ids[1]}' hold the same picture under two patients: keep one of them"
    )
    if kind != "whole":  # other masks, so other cuts: the stored pixels would not tell
        first, other = (store.slide(slide_id).read_patch(0) for slide_id in ids[:2])
        assert not np.array_equal(first, other)


def test_on_two_sides_it_fails_the_run_in_one_line_unless_it_is_one_patient(
    tree: Path, tmp_path: Path
) -> None:
    found = find_cbis_ddsm(tree, CbisOptions(CutOptions("patches", side=48, patches=2)))
    done = ingest(found, tmp_path / "store")
    cohort = pd.read_csv(done.cohort, dtype=str)
    cohort = cohort.assign(split=cohort["patient_id"].map(SIDES))
    config = load_config(None, [
        "train.method=resnet50_cbam", "train.epochs=1", "train.patch.encoder=timm:test_resnet",
        "train.patch.weights=random", "train.patch.input_px=48",
    ])  # fmt: skip

    def train(table: pd.DataFrame) -> None:
        table.to_csv(tmp_path / "cohort.csv", index=False)
        run_train(
            tmp_path / "store", tmp_path / "cohort.csv", tmp_path / "run", config, device="cpu"
        )

    with pytest.raises(CohortError) as raised:
        train(cohort)
    assert str(raised.value) == (
        f"slides '{COPY}_1' and '{ORIGINAL}_1' look like copies of one another (likeness 1.00), "
        "and stand on two sides (train and test of fold 0): give both one patient_id, or leave one "
        "out; if they are two slides, --set train.near_duplicates=allow"
    )
    assert not (tmp_path / "run").exists()
    train(cohort[cohort["slide_id"] != f"{COPY}_1"])
