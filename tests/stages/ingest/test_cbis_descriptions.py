"""The description CSVs of CBIS-DDSM: counted by pandas, and wrong ones named in one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from wsikit.errors import UsageError
from wsikit.stages.ingest.cbis_descriptions import read_descriptions
from wsikit.stages.ingest.splits import published_split

HEADER = (
    "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,"
    "mass shape,mass margins,assessment,pathology,subtlety,image file path,"
    "cropped image file path,ROI mask file path"
)
NAME = "mass_case_description_train_set.csv"


def row(patient: str = "P_00001", folder: str = "Mass-Training_P_00001_LEFT_CC_1") -> str:
    paths = f"Mass-Training_{patient}_LEFT_CC/a/b.dcm,{folder}/a/b.dcm,{folder}/a/c.dcm"
    return f"{patient},3,LEFT,CC,1,mass,OVAL,ROUND,4,BENIGN,4,{paths}"


def test_the_real_tables_hold_what_was_published(real_data: Path) -> None:
    tables = real_data / "mammo" / "cbis_ddsm_csv"
    for kind, count in (("mass", 1696), ("calc", 1872), ("both", 3568)):
        lesions, left_out = read_descriptions(tables, kind)  # type: ignore[arg-type]
        assert (len(lesions), left_out) == (count, [])
    lesions, _ = read_descriptions(tables, "mass")
    theirs = pd.concat([pd.read_csv(p) for p in sorted(tables.glob("mass_*.csv"))])
    malignant = (theirs["pathology"] == "MALIGNANT").sum()
    assert sum(lesion.label == "malignant" for lesion in lesions) == malignant
    assert {lesion.patient_id for lesion in lesions} == set(theirs["patient_id"])
    train = sum(lesion.published == "train" for lesion in lesions)
    assert (train, len(lesions) - train) == (1318, 378)


def test_published_sides_of_both_kinds_share_patients_and_it_is_said(real_data: Path) -> None:
    lesions, _ = read_descriptions(real_data / "mammo" / "cbis_ddsm_csv", "both")
    sides, words = published_split(
        {each.folder: each.published for each in lesions},
        {each.folder: each.patient_id for each in lesions}, 0.2, 0,
    )  # fmt: skip
    assert "LEAKY" in words
    assert "31 patients in both" in words
    assert {sides[e.folder] for e in lesions if e.published == "test"} == {"test"}


def test_of_a_row_the_folder_and_the_columns_must_agree(tmp_path: Path) -> None:
    rows = [
        row(),
        row(),  # again
        row("P_00002"),  # another patient's folder
        row(folder="../../etc/passwd"),
        row().replace("BENIGN", "UNPROVEN"),
        "P_00003,3",  # cut off
    ]
    (tmp_path / NAME).write_text("\n".join([HEADER, *rows, ""]))
    lesions, left_out = read_descriptions(tmp_path)
    assert [(lesion.patient_id, lesion.label) for lesion in lesions] == [("P_00001", "benign")]
    no_lesion = "does not name a lesion and its pathology"
    assert [str(entry) for entry in left_out] == [
        f"{NAME}, line 3: Mass-Training_P_00001_LEFT_CC_1 stands twice",
        *(f"{NAME}, line {line}: {no_lesion}" for line in (4, 5, 6, 7)),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER.replace("pathology", "outcome").encode(), "column 'pathology' is missing"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (b"", "column 'patient id' is missing"),
    ],
)
def test_a_csv_that_is_none_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UsageError, match=words) as raised:
        read_descriptions(tmp_path)
    assert NAME in str(raised.value)


def test_no_csv_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no mass or calc_case_description_\*_set.csv: put"):
        read_descriptions(tmp_path, "both")
