"""Find CBIS-DDSM on disk: its four description CSVs and the DICOM folders as TCIA hands them out.

What the set has that a reader must know stands where it is dealt with: `cbis_descriptions` reads
the CSVs, `cbis_folders` finds the files, `cbis_pictures` tells masks from crops and makes pictures.
Here lesions are looked up among the folders, and become slides with labels and sides.

Source: Lee et al. 2017, "A curated mammography data set for use in computer-aided detection and
diagnosis research": 1,696 masses and 1,872 groups of calcifications.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wsikit.errors import UsageError
from wsikit.stages.ingest.cbis_descriptions import Lesion, read_descriptions
from wsikit.stages.ingest.cbis_folders import Abnormality, Folders, dicom_folders
from wsikit.stages.ingest.cbis_pictures import open_lesion, open_whole
from wsikit.stages.ingest.collection import DataSet, LeftOut, Source
from wsikit.stages.ingest.mammogram import CutOptions
from wsikit.stages.ingest.splits import SplitKind, published_split, split_images

VAL_SHARE = 0.2
"""Share of the published training patients that validate."""

IMAGE_SHARES: dict[str, tuple[float, float, float]] = {
    "patches": (0.8, 0.1, 0.1),
    "rois": (0.8, 0.1, 0.1),
    "whole": (0.6, 0.2, 0.2),
}
"""How papers split single pictures."""


@dataclass(frozen=True)
class CbisOptions:
    """What is taken of CBIS-DDSM.

    Attributes:
        cut: how pictures are cut.
        abnormality: masses, calcifications, or both.
        split: `patient`: none, training splits by patient; `published`: the set's own test side;
            `images`: of single pictures.
        seed: of these splits.
        tables: folder of the CSVs; None: in or below the data set's own.
    """

    cut: CutOptions = field(default_factory=CutOptions)
    abnormality: Abnormality = "mass"
    split: SplitKind = "patient"
    seed: int = 0
    tables: Path | None = None


def find_cbis_ddsm(folder: Path, options: CbisOptions | None = None) -> DataSet:
    """Find the lesions and mammograms of CBIS-DDSM in a folder and below it.

    Args:
        folder: what was fetched from TCIA, the CSVs in it or below it.
        options: what is taken.

    Raises:
        UsageError: there is no such folder, or it has no description CSV.
    """
    options = options or CbisOptions()
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", "give the folder of CBIS-DDSM")
    lesions, left_out = read_descriptions(options.tables or folder, options.abnormality)
    folders, foreign = dicom_folders(folder, options.abnormality)
    lesions = _present(lesions, folders, left_out)
    left_out += [*_undescribed(folders, lesions), *foreign]
    make = _whole_sources if options.cut.kind == "whole" else _lesion_sources
    sources, broken = make(lesions, folders, options)
    sides, words = _split(sources, lesions, options)
    sources = [
        Source(s.slide_id, s.patient_id, s.label, s.files, s.open, s.settings,
               {**s.columns, "split": sides[s.slide_id]} if sides else s.columns)
        for s in sources
    ]  # fmt: skip
    recipe = options.cut.recipe()
    return DataSet("cbis-ddsm", sources, recipe, left_out, broken, split=words)


def _present(lesions: Sequence[Lesion], folders: Folders, left_out: list[LeftOut]) -> list[Lesion]:
    """Drop whole sides of the set of which nothing was fetched, with one line each."""
    kept: list[Lesion] = []
    for key in sorted({(lesion.kind, lesion.published) for lesion in lesions}):
        side = [lesion for lesion in lesions if (lesion.kind, lesion.published) == key]
        if any(name in folders for lesion in side for name in (lesion.folder, lesion.image)):
            kept += side
        else:
            name = f"{key[0]}_case_description_{key[1]}_set"
            left_out.append(LeftOut(name, f"none of its {len(side)} lesions is here"))
    return kept


def _undescribed(folders: Folders, lesions: Iterable[Lesion]) -> list[LeftOut]:
    """List folders that no row names; of a side that has no CSV at all, in one line."""
    known = {name for lesion in lesions for name in (lesion.folder, lesion.image)}
    sides = {lesion.folder.partition("_")[0] for lesion in lesions}
    unknown = sorted(set(folders) - known)
    lines = []
    for side in sorted({name.partition("_")[0] for name in unknown}):
        own = [name for name in unknown if name.partition("_")[0] == side]
        if side in sides:
            lines += [LeftOut(name, "no row of the CSVs names it") for name in own]
        else:
            lines.append(LeftOut(side, f"{len(own)} folders and no description CSV of them"))
    return lines


def _lesion_sources(
    lesions: Sequence[Lesion], folders: Folders, options: CbisOptions
) -> tuple[list[Source], dict[str, str]]:
    sources, broken = [], {}
    for lesion in lesions:
        if lesion.image not in folders:
            broken[lesion.folder] = f"its mammogram {lesion.image} is missing"
        elif lesion.folder not in folders:
            broken[lesion.folder] = "it has no mask: the folder is missing"
        else:
            sources.append(_lesion_source(lesion, folders, options))
    return sources, broken


def _lesion_source(lesion: Lesion, folders: Folders, options: CbisOptions) -> Source:
    image, masks = tuple(folders[lesion.image]), tuple(folders[lesion.folder])
    return Source(
        slide_id=lesion.folder,
        patient_id=lesion.patient_id,
        label=lesion.label,
        files=(*image, *masks),
        open=partial(open_lesion, lesion, image, masks, options.cut),
        settings={"lesion": lesion.folder},
        columns=_columns(lesion),
    )


def _whole_sources(
    lesions: Sequence[Lesion], folders: Folders, options: CbisOptions
) -> tuple[list[Source], dict[str, str]]:
    """Make a source of each mammogram; it is malignant where any of its lesions is."""
    by_image: dict[str, list[Lesion]] = defaultdict(list)
    for lesion in lesions:
        by_image[lesion.image].append(lesion)
    sources, broken = [], {}
    for name, own in by_image.items():
        if name not in folders:
            broken[name] = "the mammogram is missing"
            continue
        masks = {lesion.folder: tuple(folders.get(lesion.folder, ())) for lesion in own}
        malignant = any(lesion.label == "malignant" for lesion in own)
        sources.append(
            Source(
                slide_id=name,
                patient_id=own[0].patient_id,
                label="malignant" if malignant else "benign",
                files=(*folders[name], *(path for paths in masks.values() for path in paths)),
                open=partial(open_whole, own[0], tuple(folders[name]), masks, options.cut),
                settings={"lesions": [lesion.folder for lesion in own]},
                columns=_columns(own[0]),
            )
        )
    return sources, broken


def _columns(lesion: Lesion) -> dict[str, str]:
    return {"abnormality": lesion.kind, "view": lesion.view, "side": lesion.breast.lower()}


def _split(
    sources: Sequence[Source], lesions: Sequence[Lesion], options: CbisOptions
) -> tuple[dict[str, str], str]:
    if options.split == "patient" or not sources:
        return {}, ""
    if options.split == "images":
        labels = {s.slide_id: s.label for s in sources}
        return split_images(labels, IMAGE_SHARES[options.cut.kind], options.seed)
    published = {n: each.published for each in lesions for n in (each.folder, each.image)}
    return published_split(
        {s.slide_id: published[s.slide_id] for s in sources},
        {s.slide_id: s.patient_id for s in sources},
        VAL_SHARE,
        options.seed,
    )
