from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from wsikit.encoders.encoder import build_encoder, encoder_id
from wsikit.errors import WeightsError

SMALL = "timm:test_resnet"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return dict(timm.create_model("test_resnet", num_classes=1000).state_dict())


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        build_encoder(SMALL, str(path))
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_a_file_with_its_classifier_is_loaded(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    encoder = build_encoder(SMALL, str(path))
    loaded = encoder.backbone.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    assert encoder_id(encoder).startswith("timm-test_resnet-file-")


def test_step_counters_may_be_missing(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    save_file({k: v for k, v in state.items() if "num_batches" not in k}, path)
    assert build_encoder(SMALL, str(path)).weights == "file"


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_a_pickle_of_tensors_alone_is_loaded(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    torch.save(state, path)
    assert build_encoder(SMALL, str(path)).weights == "file"


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"conv1.weight": Trap(tmp_path / "sprung")}, path)
    assert "safetensors" in refused(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("word", ["state_dict", "model"])
def test_a_checkpoint_is_read_by_its_state_dict(
    tmp_path: Path, state: dict[str, torch.Tensor], word: str
) -> None:
    path = tmp_path / "model.ckpt.pth"
    torch.save({word: state, "epoch": 3}, path)
    plain = tmp_path / "plain.pth"
    torch.save(state, plain)
    ids = {encoder_id(build_encoder(SMALL, str(file))) for file in (path, plain)}
    assert len(ids) == 1


def test_another_nested_pickle_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pth"
    torch.save({"student": state, "teacher": state}, path)
    assert "flat" in refused(path)


def test_a_pickle_of_before_torch_1_6_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    # It names the size of each tensor, and torch takes that much memory before it reads on.
    path = tmp_path / "model.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert "torch 1.6" in refused(path)


def test_a_packed_archive_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pth"
    torch.save({"conv1.weight": torch.zeros(2**22)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert path.stat().st_size < 2**20
    assert "packed" in refused(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1).expand(10**12), torch.empty(10**12, device="meta"), torch.eye(3).to_sparse()],
    ids=["expanded", "meta", "sparse"],
)
def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "model.pth"
    torch.save({"conv1.weight": tensor}, path)
    refused(path)


def safetensors(header: bytes, content: bytes = b"", length: int | None = None) -> bytes:
    announced = len(header) if length is None else length
    return announced.to_bytes(8, "little") + header + content


@pytest.mark.parametrize(
    "content",
    [
        safetensors(b"{}", length=2**63),
        safetensors(b"{}", length=3),
        safetensors(b" " * (2**24 + 1)),
        safetensors(b"[" * 100_000),
        safetensors(b"[]"),
        safetensors(b'{"__metadata__": 3}'),
        safetensors(b'{"a": 3}'),
        safetensors(
            b'{"a": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4]}}', b"0000"
        ),
        safetensors(
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4000000000000]}}', b"0000"
        ),
        safetensors(b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}', b"0000"),
        safetensors(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', b"0000"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path)


def test_a_file_of_holes_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    size = 2**40
    header = json.dumps(
        {"conv1.0.weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    with path.open("wb") as file:
        file.write(safetensors(header))
        file.truncate(8 + len(header) + size)
    refused(path)  # whether or not the machine would let the file be mapped


def test_another_type_is_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    name = next(iter(state))
    save_file(state | {name: state[name].to(torch.int32)}, path)
    assert f"1 of another type: {name} int32 for float32" in refused(path)


def test_what_overflows_float32_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    name = next(iter(state))
    save_file(state | {name: state[name].double() + 1e300}, path)
    assert "is not finite" in refused(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\xff" * 64])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_cut_short_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path)


def test_another_networks_weights_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(dict(timm.create_model("test_vit").state_dict()), path)
    message = refused(path)
    assert "missing: conv1" in message
    assert "not known: " in message
    assert len(message) < 500
    assert not caplog.records  # timm would log every name that it does not know


def test_another_shape_is_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    name = next(name for name, tensor in state.items() if tensor.ndim == 4)
    save_file(state | {name: state[name][:, :1].contiguous()}, path)
    assert f"1 of another shape: {name}" in refused(path)


def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "model.safetensors"
    name = next(iter(state))
    state[name].view(-1)[3] = float("nan")
    save_file(state, path)
    assert f"'{name}' is not finite" in refused(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "model.safetensors")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path)


def test_another_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    assert "'.onnx'" in refused(path)


def test_a_mistyped_word_names_the_nearest() -> None:
    with pytest.raises(WeightsError, match="did you mean 'imagenet'"):
        build_encoder(SMALL, "imagnet")
