"""What a log shows of long work."""

from __future__ import annotations

import pytest

from wsikit.cli import console
from wsikit.cli.console import LineProgress


def test_a_log_shows_small_units_once_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    progress = LineProgress()
    progress.start("train", 500)
    for second in range(150):
        now = 1000.0 + second
        progress.tick(f"batch {second}", 2)
    progress.advance("epoch 1")
    assert capsys.readouterr().err.splitlines() == [
        "train: 500 to do",
        "train 122/500  batch 60",
        "train 242/500  batch 120",
        "train 301/500  epoch 1",
    ]
