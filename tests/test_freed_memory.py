"""Freed memory is kept where the C library lets it be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from wsikit.freed_memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
for _ in range(20):  # glibc comes to use a block again after some
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str, **environment: str) -> int:
    """Count how often a fresh process asks for a page while it makes ten arrays of 40 MB."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], env=inherited | environment,
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told")
def test_arrays_of_one_size_share_their_pages() -> None:
    assert faults() > 50_000
    assert faults("keep") < 5_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told")
def test_the_users_own_setting_goes_before() -> None:
    assert faults("keep", MALLOC_MMAP_THRESHOLD_="1000000") > 50_000
