from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from wsikit.encoders.encoder import build_encoder
from wsikit.encoders.listing import list_encoders
from wsikit.encoders.registry import ENCODERS
from wsikit.encoders.saved import save_encoder
from wsikit.errors import ConfigError, WeightsError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_every_registered_encoder_is_described() -> None:
    entries = list_encoders([])
    assert [entry["name"] for entry in entries] == sorted(ENCODERS)
    json.dumps(entries)
    for entry in entries:
        assert entry["features"] > 0
        assert len(entry["mean"]) == len(entry["std"]) == 3
        if entry["source"]:  # else there are no weights to fetch
            assert entry["licence"]
            assert entry["source"].count("/") == 1
        assert not entry["at_hand"]


def test_weights_in_the_cache_are_at_hand(cache_folder: Path) -> None:
    home = cache_folder / "models--MahmoodLab--UNI"
    snapshot = home / "snapshots" / ("2" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("2" * 40)
    (snapshot / "pytorch_model.bin").touch()
    at_hand = [entry for entry in list_encoders([]) if entry["at_hand"]]
    assert [entry["name"] for entry in at_hand] == ["uni"]
    assert at_hand[0]["weights"] == str(snapshot / "pytorch_model.bin")


def test_other_names_are_described_too(tmp_path: Path) -> None:
    save_encoder(tmp_path / "run" / "encoder.safetensors", build_encoder("timm:test_vit", "random"))
    names = ["virchow2", "timm:test_vit", f"file:{tmp_path}/run", "hf-hub:paige-ai/Virchow"]
    entries = list_encoders(names)
    assert [entry["name"] for entry in entries] == names
    assert [entry["at_hand"] for entry in entries] == [False, False, True, False]
    assert [entry["features"] for entry in entries] == [2560, None, 64, 2560]


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ctranspath'"):
        list_encoders(["ctranspat"])
    with pytest.raises(WeightsError, match=r"config\.json"):
        list_encoders(["hf-hub:some/one"])
