"""Small phantoms that several stages are tested on."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsikit.phantoms.cohort import write_truth
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom slide with tumour, not square, its mpp x other than y; truth beside it."""
    folder = tmp_path_factory.mktemp("phantom")
    spec = PhantomSpec(
        slide_id="ph",
        size=Size(2900, 1700),
        mpp=Mpp(0.5, 0.49),
        seed=5,
        tumour=True,
        scanner="dune",
    )
    write_phantom(spec, folder / "ph.tiff")
    write_truth(spec, folder)
    return folder / "ph.tiff"
