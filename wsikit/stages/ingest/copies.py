"""Find files that are byte for byte the same and count as two patients': a leak in any split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from wsikit.slides.fingerprint import fingerprint
from wsikit.stages.ingest.collection import Source

SHOWN = 5
"""Pairs that are named one by one."""


def copies_apart(sources: Sequence[Source]) -> list[str]:
    """Say which files are copies of another patient's, a line each.

    Only files of one length are read, so that of pictures in compressed formats hardly any are.
    Nothing is left out: which of the two is right, the files do not say.

    Raises:
        SlideError: a file is gone or cannot be read.
    """
    by_length: dict[int, dict[Path, str]] = defaultdict(dict)
    for source in sources:
        for path in source.files:
            by_length[path.stat().st_size][path] = source.patient_id
    pairs: list[tuple[Path, Path]] = []
    for patients in by_length.values():
        if len(set(patients.values())) > 1:
            pairs += _same(patients)
    lines = [
        f"{one.name} and {other.name} are the same picture under two patients: keep one of them"
        for one, other in pairs[:SHOWN]
    ]
    if len(pairs) > SHOWN:
        lines.append(f"and {len(pairs) - SHOWN} more such pairs")
    return lines


def _same(patients: dict[Path, str]) -> list[tuple[Path, Path]]:
    """Pair each file with the first one of the same content, where the patients differ."""
    first: dict[str, Path] = {}
    pairs = []
    for path, patient in patients.items():
        other = first.setdefault(fingerprint(path), path)
        if patients[other] != patient:
            pairs.append((other, path))
    return pairs
