"""A cohort of phantoms: slides, patients, scanners and labels, and files that state the truth."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from wsikit.errors import UsageError, WsikitError
from wsikit.phantoms.scanners import SCANNERS
from wsikit.phantoms.spec import DEMO_MPP, DEMO_SIZE, PhantomSpec
from wsikit.phantoms.truth import tumour_mask
from wsikit.types import Mpp, Size

LABELS = ("normal", "tumour")
"""The two classes; `LABELS[spec.tumour]` is a slide's."""

PEN_SHARE = 0.2
"""Share of slides of either class that somebody drew on."""

SIZE_JITTER = 0.1
"""Largest relative change of a slide's width and height."""

TRUTH_DOWNSAMPLE = 16
"""Level-0 pixels per pixel of a truth file."""


class _Draft(NamedTuple):
    """A slide before it has a place in the cohort."""

    patient: int
    tumour: bool
    scanner: str
    pen: bool


def cohort_specs(
    slides: int,
    seed: int,
    size: Size = DEMO_SIZE,
    mpp: Mpp = DEMO_MPP,
    tumour_share: float | None = None,
) -> list[PhantomSpec]:
    """Plan a cohort of which half the slides hold tumour.

    Every third patient of a class has two slides, from one scanner, so splits must keep patients
    together. Scanners and pen marks are dealt out evenly within each class: neither tells the
    class. Ids follow a random order and tell nothing either.

    Args:
        slides: how many slides, 1 or more; of an odd number one more is normal.
        seed: decides everything; equal arguments give equal cohorts.
        size: (width, height) in level-0 pixels about which sizes vary by 10 %.
        mpp: micrometres per level-0 pixel along x and y.
        tumour_share: of the tissue of slides with tumour; None: drawn anew for each.

    Returns:
        The slides in order of their ids.

    Raises:
        UsageError: `slides` is less than 1, or another number is out of range.
    """
    if slides < 1:
        raise UsageError(f"a cohort cannot have {slides} slides", "ask for 1 or more")
    rng = np.random.default_rng(seed)
    drafts = [*_drafts(slides - slides // 2, False, rng), *_drafts(slides // 2, True, rng)]
    patients: dict[tuple[bool, int], str] = {}
    specs = []
    for number, place in enumerate(rng.permutation(len(drafts)), start=1):
        draft = drafts[place]
        patient = patients.setdefault(
            (draft.tumour, draft.patient), f"patient-{len(patients) + 1:03d}"
        )
        specs.append(
            PhantomSpec(
                slide_id=f"phantom-{number:03d}",
                size=_varied(size, rng),
                mpp=mpp,
                seed=int(rng.integers(2**63)),
                tumour=draft.tumour,
                scanner=draft.scanner,
                pen=draft.pen,
                patient_id=patient,
                tumour_share=tumour_share if draft.tumour else None,
            )
        )
    return specs


def cohort_table(specs: list[PhantomSpec]) -> pd.DataFrame:
    """Return the cohort's table, as a cohort CSV has it.

    Returns:
        One row a slide, in order, with columns `slide` (`<slide_id>.tiff`, relative to the CSV),
        `slide_id`, `patient_id`, `site` (whose scanner it was) and `label` (`tumour` or `normal`).
    """
    columns = {
        "slide": [f"{spec.slide_id}.tiff" for spec in specs],
        "slide_id": [spec.slide_id for spec in specs],
        "patient_id": [spec.patient_id or spec.slide_id for spec in specs],
        "site": [spec.scanner for spec in specs],
        "label": [LABELS[spec.tumour] for spec in specs],
    }
    return pd.DataFrame(columns, dtype=str)


def write_truth(spec: PhantomSpec, folder: Path) -> Path:
    """Write where the tumour is, as `<slide_id>_mask.png`: 255 tumour, 0 elsewhere.

    Args:
        spec: the slide.
        folder: where to; it exists. An older file is replaced, in one step.

    Returns:
        The file; one of its pixels is `TRUTH_DOWNSAMPLE` level-0 pixels wide and high.

    Raises:
        WsikitError: the file cannot be written.
    """
    mask = tumour_mask(spec, TRUTH_DOWNSAMPLE).astype(np.uint8) * np.uint8(255)
    png = io.BytesIO()
    Image.fromarray(mask).save(png, "PNG")
    path = folder / f"{spec.slide_id}_mask.png"
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(png.getvalue())
        partial.replace(path)
    except OSError as error:
        raise WsikitError(
            f"cannot write the truth {path.name}: {error.strerror or error}",
            "choose a folder that exists, can be written to and has room",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _drafts(slides: int, tumour: bool, rng: np.random.Generator) -> list[_Draft]:
    """Deal patients, scanners and pens out to the slides of one class."""
    patients: list[int] = []
    while len(patients) < slides:
        patient = patients[-1] + 1 if patients else 0
        patients += [patient] * (2 if patient % 3 == 2 else 1)
    patients = patients[:slides]
    names = sorted(SCANNERS)
    rounds = -(-(len(set(patients))) // len(names))
    dealt = [name for _ in range(rounds) for name in rng.permutation(names).tolist()]
    pens = np.zeros(slides, bool)
    pens[rng.choice(slides, round(PEN_SHARE * slides), replace=False)] = True
    return [
        _Draft(patient, tumour, dealt[patient], bool(pen))
        for patient, pen in zip(patients, pens, strict=True)
    ]


def _varied(size: Size, rng: np.random.Generator) -> Size:
    factors = rng.uniform(1 - SIZE_JITTER, 1 + SIZE_JITTER, 2)
    width, height = (max(1, round(side * f)) for side, f in zip(size, factors, strict=True))
    # Never square, so that swapped axes show.
    return Size(width + 1 if width == height else width, height)
