"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real slides and pictures: WSIKIT_TEST_DATA, else ../shared/data beside the checkout."""
    given = os.environ.get("WSIKIT_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: set WSIKIT_TEST_DATA to its folder")
    return folder
