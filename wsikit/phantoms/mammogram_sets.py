"""Write phantom mammograms in the layouts in which CBIS-DDSM and mini-MIAS are published."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from wsikit.atomic import ensure_folder
from wsikit.phantoms.mammograms import PhantomMammogram, phantom_mammogram
from wsikit.types import Size

HEADERS = {
    "mass": ("breast_density", "mass shape", "mass margins"),
    "calc": ("breast density", "calc type", "calc distribution"),
}
"""Where the two kinds of CSV differ, as published."""

SECRET = "DOE^JANE"
"""A name written into every DICOM file, which must never be seen again."""

CLASSES = ("BENIGN", "MALIGNANT", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT")

MIAS_PX = 1024

SMALL_SIZE = Size(320, 480)


class _Case(NamedTuple):
    """One mammogram of a phantom CBIS-DDSM."""

    patient: int
    kind: str
    breast: str
    view: str

    @property
    def side(self) -> str:
        return "Test" if self.patient % 8 >= 6 else "Training"

    @property
    def name(self) -> str:
        patient = f"P_{self.patient + 1:05d}"
        return f"{self.kind.capitalize()}-{self.side}_{patient}_{self.breast}_{self.view}"


def write_cbis_ddsm_tree(
    folder: Path,
    patients: int = 8,
    size: Size = SMALL_SIZE,
    seed: int = 0,
    kind: str = "mass",
) -> Path:
    """Write mammograms, masks, crops and CSVs as CBIS-DDSM has them, its oddities included.

    Patients are benign and malignant by turns, with two views each; the second view of every third
    has two lesions, the last two of eight are the test side. Line breaks stand in paths; TCIA's
    folders are named in two ways; masks and crops are swapped by name for every second lesion;
    every fifth patient's mammograms are MONOCHROME1; every third one's masks are of another size;
    every file names a patient.

    Args:
        folder: receives the CSVs, and `CBIS-DDSM` with the DICOM files.
        patients: how many.
        size: (width, height) of the mammograms in px.
        seed: decides everything.
        kind: `mass` or `calc`.

    Returns:
        `folder`.
    """
    rows: dict[str, list[list[str]]] = {"train": [], "test": []}
    for case in _cases(patients, kind):
        label = CLASSES[case.patient % len(CLASSES)]
        rng = np.random.default_rng([seed, *case.name.encode()])
        count = 2 if case.view == "MLO" and case.patient % 3 == 0 else 1
        made = phantom_mammogram(
            [label == "MALIGNANT"] * count, size, rng, left=case.breast == "LEFT"
        )
        rows["train" if case.side == "Training" else "test"] += _write_case(
            folder / "CBIS-DDSM", case, made, label
        )
    for side, lines in rows.items():
        _write_csv(folder / f"{kind}_case_description_{side}_set.csv", kind, lines)
    return folder


def _cases(patients: int, kind: str) -> Iterator[_Case]:
    for patient in range(patients):
        breast = ("LEFT", "RIGHT")[patient % 2]
        yield _Case(patient, kind, breast, "CC")
        yield _Case(patient, kind, breast, "MLO")


def _write_case(root: Path, case: _Case, made: PhantomMammogram, label: str) -> list[list[str]]:
    """Write one mammogram with its lesions, and return their rows."""
    inverted = case.patient % 5 == 4
    image = _place(case, case.name, "full mammogram images") / _file_name(case, 1)
    _write_dicom(root / image, made.pixels, case.name, inverted)
    rows = []
    for number, lesion in enumerate(made.lesions, start=1):
        name = f"{case.name}_{number}"
        swapped = (case.patient + number) % 2 == 0
        place = _place(case, name, "ROI mask images")
        crop, mask = (place / _file_name(case, 2 if swapped else 1),
                      place / _file_name(case, 1 if swapped else 2))  # fmt: skip
        _write_dicom(root / crop, _crop(made.pixels, lesion), name, False)
        _write_dicom(root / mask, _mask(lesion, case), name, False)
        # The CSV names the crop first, whichever file it lies in.
        rows.append(_row(case, number, label, image, place / _file_name(case, 1),
                         place / _file_name(case, 2)))  # fmt: skip
    return rows


def _place(case: _Case, name: str, series: str) -> Path:
    """Return a folder: by identifiers, or by dates and words, as TCIA's two programs name them."""
    if case.patient % 2:
        return Path(name, "10-04-2016-DDSM-20113", f"1-{series}-93761")
    return Path(name, _uid(name, "study"), _uid(name, series))


def _file_name(case: _Case, number: int) -> str:
    return f"{number - 1:06d}.dcm" if case.patient % 2 else f"1-{number}.dcm"


def _uid(*words: str) -> str:
    return str(generate_uid(prefix="1.3.6.1.4.1.9590.100.1.2.", entropy_srcs=list(words)))


def _crop(pixels: NDArray[np.uint16], lesion: NDArray[np.bool_]) -> NDArray[np.uint16]:
    rows, cols = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    return pixels[max(0, rows[0] - 8) : rows[-1] + 9, max(0, cols[0] - 8) : cols[-1] + 9]


def _mask(lesion: NDArray[np.bool_], case: _Case) -> NDArray[np.uint8]:
    mask = lesion.astype(np.uint8) * 255
    if case.patient % 3 == 1:
        return np.asarray(np.kron(mask, np.ones((2, 2), np.uint8)))
    return mask


def _write_dicom(
    path: Path, pixels: NDArray[np.uint16] | NDArray[np.uint8], name: str, inverted: bool
) -> None:
    bits = pixels.dtype.itemsize * 8
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = _uid(str(path.name), name)
    dataset.Modality = "MG"
    dataset.PatientName = SECRET
    dataset.PatientID = name
    dataset.PatientBirthDate = "19530401"
    dataset.StudyDate = "20161004"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    stored = ~pixels if inverted else pixels
    data = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    ensure_folder(path.parent)
    dataset.save_as(path, enforce_file_format=True)


def _row(case: _Case, number: int, label: str, image: Path, crop: Path, mask: Path) -> list[str]:
    words = ("OVAL", "CIRCUMSCRIBED") if case.kind == "mass" else ("PLEOMORPHIC", "CLUSTERED")
    abnormality = "mass" if case.kind == "mass" else "calcification"
    return [
        f"P_{case.patient + 1:05d}", "3", case.breast, case.view, str(number), abnormality,
        *words, "4", label, "4", image.as_posix(), crop.as_posix(), f"{mask.as_posix()}\n",
    ]  # fmt: skip


def _write_csv(path: Path, kind: str, rows: list[list[str]]) -> None:
    density, first, second = HEADERS[kind]
    header = [
        "patient_id", density, "left or right breast", "image view", "abnormality id",
        "abnormality type", first, second, "assessment", "pathology", "subtlety",
        "image file path", "cropped image file path", "ROI mask file path",
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_mini_mias(folder: Path, pictures: int = 16, side: int = 512, seed: int = 0) -> Path:
    """Write mammograms as mini-MIAS has them: grey PNG, and `labels.csv`.

    Pairs of pictures are one woman's. By turns of four pairs they are normal, benign, malignant,
    and of the last the first picture is benign and its lesion without a centre.

    Args:
        folder: receives `mdbNNN.png` and `labels.csv`.
        pictures: how many, up to 999.
        side: of the pictures in px; centres refer to 1024 px all the same.
        seed: decides everything.

    Returns:
        `folder`.
    """
    ensure_folder(folder)
    rows = [["Name", "Background Tissue", "Abnormality", "Type", "x", "y", "r"]]
    for number in range(1, pictures + 1):
        name, turn = f"mdb{number:03d}", (number - 1) // 2 % 4
        rng = np.random.default_rng([seed, number])
        lesions = {0: [], 1: [False], 2: [True], 3: [False] if number % 2 else []}[turn]
        made = phantom_mammogram(lesions, Size(side, side), rng, number % 2 == 0, 255)
        Image.fromarray(made.pixels.astype(np.uint8)).save(folder / f"{name}.png")
        rows.append([name, "FGD"[number % 3], *_finding(made, lesions, turn, side)])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return folder


def _finding(made: PhantomMammogram, lesions: list[bool], turn: int, side: int) -> list[str]:
    """Return kind, severity, centre and radius, from the bottom left and in px of 1024."""
    if not lesions:
        return ["NORM", "", "", "", ""]
    kind, severity = ("SPIC", "M") if lesions[0] else ("CIRC", "B")
    if turn == 3:
        return ["CALC", severity, "", "", ""]
    rows, cols = (np.flatnonzero(made.lesions[0].any(axis=axis)) for axis in (1, 0))
    scale = MIAS_PX / side
    x, y = (cols[0] + cols[-1] + 1) / 2 * scale, (rows[0] + rows[-1] + 1) / 2 * scale
    radius = max(cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1) / 2 * scale
    return [kind, severity, *(str(round(v)) for v in (x, MIAS_PX - y, radius))]
