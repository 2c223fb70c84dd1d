"""`wsikit extract` as a user calls it: encoders and weights, kills, interrupts, damage."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Wsikit, run_process, start
from tests.stages.extracting import add_empty_slide, cut_shards, feature_files, make_store
from wsikit.cli.extract import _encoder_flags
from wsikit.errors import UsageError
from wsikit.store.store import Store
from wsikit.types import Size

CALL = ("--weights", "random", "--batch-size", 4)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiled")
    store = make_store(folder, {"a": Size(450, 390), "b": Size(390, 330), "c": Size(700, 560)})
    add_empty_slide(store, folder)
    return store


@pytest.fixture
def store(tiled: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiled, tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("encoders", "weights", "first", "also"),
    [
        ([], [], (None, None), None),
        ([], ["random"], (None, "random"), None),
        (["x"], [], ("x", None), None),
        (["x"], ["f.pt"], ("x", "f.pt"), None),
        (["x", "y"], [], ("x", None), [{"encoder": "y"}]),
        (["x", "y"], ["random"], ("x", "random"), [{"encoder": "y", "weights": "random"}]),
        (["x", "y"], ["f", "g"], ("x", "f"), [{"encoder": "y", "weights": "g"}]),
    ],
)
def test_weights_go_with_their_encoders(
    encoders: list[str], weights: list[str], first: tuple[str | None, ...], also: object
) -> None:
    flags = _encoder_flags(encoders, weights)
    assert (flags["extract.encoder"], flags["extract.weights"]) == first
    assert flags.get("extract.also") == also


@pytest.mark.parametrize(("encoders", "weights"), [(["x", "y", "z"], ["f", "g"]), ([], ["f", "g"])])
def test_weights_for_some_encoders_only(encoders: list[str], weights: list[str]) -> None:
    with pytest.raises(UsageError, match="once for all encoders, or once for each"):
        _encoder_flags(encoders, weights)


def test_every_flag_reaches_the_stage(wsikit: Wsikit, store: Path) -> None:
    answer = wsikit(
        "extract", store, "--encoder", "resnet18", "--encoder", "timm:vit_tiny_patch16_224",
        "--weights", "random", "--device", "cpu,cpu", "--batch-size", 8, "--precision", "bf16",
        "--no-compile", "--readers", 1, "--set", "extract.dtype=float32",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    names = answer.out.split()
    assert [name.partition("-random-")[0] for name in names] == [
        "resnet18",
        "timm-vit_tiny_patch16_224",
    ]
    assert Store(store).slide("a").features(names[1]).dtype == "float32"
    patches = sum(len(Store(store).slide(i).patches) for i in "abc")
    assert f"extract: {patches} to do" in answer.err
    assert "extract: 3 done, 1 without tissue" in answer.err


def test_damage_is_named_and_the_rest_done(wsikit: Wsikit, store: Path) -> None:
    cut_shards(store, "b")
    answer = wsikit("extract", store, *CALL)
    assert answer.code == 1
    assert "extract: 2 done, 1 without tissue, 1 failed" in answer.err
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: b: b.zarr: patch at row ")
    assert "tile the slide again with --overwrite" in line
    assert "1 failed" in wsikit("status", store).out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "cpu,gpu"), "unknown device 'gpu'"),
        (("--precision", "int8"), "Invalid value"),
        (("--batch-size", 0), "Invalid value"),
        (("--set", "extract.readers=-1"), "extract.readers is -1"),
        (("--set", "extract.also=[{encode: x}]"), "give [{encoder: NAME}] or"),
        (("--encoder", "resnet18", "--encoder", "resnet18"), "named twice"),
        (("--slide", "d"), "holds no slide 'd'"),
    ],
)
def test_a_wrong_call(wsikit: Wsikit, store: Path, options: tuple[object, ...], said: str) -> None:
    answer = wsikit("extract", store, "--weights", "random", *options)
    assert answer.code == 2
    assert said in answer.err


def wait_for(store: Path, pattern: str) -> None:
    deadline = time.monotonic() + 240
    while not list(store.glob(pattern)) and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_and_interrupted_it_ends_in_the_same_bytes(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "whole")
    answer = run_process("extract", tmp_path / "whole", *CALL)
    assert answer.code == 0, answer.err
    done = "slides/{}.zarr/features/resnet18*/zarr.json"

    process = start("extract", store, *CALL)
    wait_for(store, done.format("a"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    killed = feature_files(store)
    assert killed.items() < feature_files(tmp_path / "whole").items()

    process = start("extract", store, *CALL)
    wait_for(store, done.format("b"))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command continues" in err
    assert "Traceback" not in err

    answer = run_process("extract", store, *CALL)
    assert answer.code == 0, answer.err
    assert "already done" in answer.err
    assert feature_files(store) == feature_files(tmp_path / "whole")
    assert not list((store / ".staging").iterdir())
