"""Words for devices."""

from __future__ import annotations

import pytest
import torch

from wsikit.errors import ConfigError, UsageError
from wsikit.stages.extraction.devices import resolve_devices


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:2", ["cuda:2"]),
        ("cuda:1, cuda:0", ["cuda:1", "cuda:0"]),
        ("cuda:1,cuda:1", ["cuda:1", "cuda:1"]),
        ("cpu", ["cpu"]),
        ("cpu,cuda:0", ["cpu", "cuda:0"]),
    ],
)
def test_with_gpus(gpus: None, words: str, wanted: list[str]) -> None:
    assert resolve_devices(words) == [torch.device(one) for one in wanted]


@pytest.mark.parametrize(("words", "wanted"), [("auto", ["cpu"]), ("cpu,cpu", ["cpu", "cpu"])])
def test_without(monkeypatch: pytest.MonkeyPatch, words: str, wanted: list[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_devices(words) == [torch.device(one) for one in wanted]


def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch, gpus: None) -> None:
    with pytest.raises(UsageError, match=r"sees 3 GPUs: the last one is cuda:2"):
        resolve_devices("cuda:3")
    for words in ("gpu", "cuda:x", "cpu,", "cuda:-1"):
        with pytest.raises(ConfigError, match="unknown device"):
            resolve_devices(words)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        resolve_devices("cuda:0")
