"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Let processes that tests start hear Ctrl-C, also where these run as a script's job."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real slides and pictures: WSIKIT_TEST_DATA, else ../shared/data beside the checkout."""
    given = os.environ.get("WSIKIT_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: set WSIKIT_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread of torch: quicker for small networks, and the same bytes anywhere."""
    import torch  # seconds, which tests without it need not pay

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
