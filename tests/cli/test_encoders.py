"""`wsikit encoders` answers at once, with a table or with JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.cli.conftest import Wsikit
from wsikit.encoders.registry import ENCODERS


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_the_table_has_a_line_an_encoder(wsikit: Wsikit) -> None:
    answer = wsikit("encoders")
    assert (answer.code, answer.err) == (0, "")
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert set(ENCODERS) < set(lines)
    assert lines["virchow2"].split()[1:4] == ["2560", "224", "cc-by-nc-nd-4.0"]
    assert "behind login" in lines["virchow2"]
    assert "to fetch" in lines["resnet18"]
    for form in ("timm:NAME", "hf-hub:OWNER/NAME", "file:PATH"):
        assert form in lines


def test_json_is_one_document(wsikit: Wsikit) -> None:
    document = json.loads(wsikit("encoders", "--json").out)
    assert [entry["name"] for entry in document["encoders"]] == sorted(ENCODERS)
    forms = {"timm:NAME", "hf-hub:OWNER/NAME", "file:PATH", "cbam:NAME"}
    assert set(document["forms"]) == forms


def test_one_encoder_in_full(wsikit: Wsikit) -> None:
    answer = wsikit("encoders", "conch", "timm:test_vit")
    assert answer.code == 0
    assert "448 px" in answer.out
    assert "cc-by-nc-nd-4.0" in answer.out
    assert "pytorch_model.bin" in answer.out
    assert "known once it is built" in answer.out


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ctranspat", "did you mean 'ctranspath'"),
        ("timm:resnet81", "did you mean"),
        ("hf-hub:none", "OWNER/NAME"),
        ("hf-hub:some/one", "cannot be fetched"),
        ("file:nowhere", "no such file"),
    ],
)
def test_a_name_that_is_none_is_one_line(wsikit: Wsikit, name: str, word: str) -> None:
    answer = wsikit("encoders", name)
    assert answer.code == 2
    assert word in answer.err
    assert answer.err.count("\n") == 1


def test_the_list_needs_no_torch_and_no_second() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "wsikit.cli.app", "encoders"],
            capture_output=True,
            check=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        times.append(time.perf_counter() - start)
    assert min(times) < 1.5
