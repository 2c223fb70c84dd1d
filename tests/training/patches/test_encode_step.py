"""A step on a device: precision, several encoders, filling up, running out of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.stages.extracting import plain_features, tiny_encoder
from wsikit.encoders.encoder import build_encoder
from wsikit.errors import SlideError, UsageError
from wsikit.training.patches.encode_step import EncodeStep, place_encoder

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (13, 64, 64, 3), dtype=np.uint8)


def patches() -> torch.Tensor:
    return torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


def test_it_gives_the_encoders_own_features() -> None:
    encoders = {"a": tiny_encoder(), "b": tiny_encoder(seed=1)}
    step = EncodeStep(encoders, CPU, "fp32", 64)
    found = step.collect(step.launch(patches(), ["b", "a"]))
    assert list(found) == ["b", "a"]
    for name, encoder in encoders.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], plain_features(encoder, PIXELS, 64, "float32"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_computes_in_it(precision: str) -> None:
    encoder = tiny_encoder()
    seen = []

    def note(features: torch.Tensor) -> torch.Tensor:
        seen.append(features.dtype)
        return features

    encoder.backbone.after = note
    step = EncodeStep({"a": encoder}, CPU, precision, 64)  # type: ignore[arg-type]
    found = step.collect(step.launch(patches(), ["a"]))["a"]
    assert seen == [{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain_features(encoder, PIXELS, 64, "float32"), atol=0.02)


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "timm:vit_tiny_patch16_224"])
def test_channels_last_changes_no_byte(name: str) -> None:
    encoder = build_encoder(name, "random")
    wanted = plain_features(encoder, PIXELS[:3], 2, "float32")
    place_encoder(encoder, CPU, compiled=False)
    np.testing.assert_array_equal(plain_features(encoder, PIXELS[:3], 2, "float32"), wanted)


def test_compiled_steps_all_have_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_encoder()
    wanted = plain_features(encoder, PIXELS, 64, "float32")
    asked = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, **how: asked.append((module, how))
    )
    place_encoder(encoder, CPU, compiled=True)
    assert asked == [(encoder, {"dynamic": False})]
    sizes = []
    encoder.backbone.before = lambda pictures: sizes.append(len(pictures))
    step = EncodeStep({"a": encoder}, CPU, "fp32", 8, compiled=True)
    found = step.collect(step.launch(patches(), ["a"]))["a"]
    assert sizes == [8, 8]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_is_known_by_its_names(error: RuntimeError) -> None:
    encoder, said = tiny_encoder(), []
    wanted = plain_features(encoder, PIXELS, 64, "float32")

    def before(pictures: torch.Tensor) -> None:
        if len(pictures) > 3:
            raise error

    encoder.backbone.before = before
    step = EncodeStep({"a": encoder}, CPU, "fp32", 13, say=said.append)
    found = step.collect(step.launch(patches(), ["a"]))["a"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert step.size == 2
    assert len(said) == 3  # 13, 7, 4: 2


def test_no_room_for_one_patch() -> None:
    encoder = tiny_encoder()

    def before(pictures: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    encoder.backbone.before = before
    with pytest.raises(SlideError, match="one patch at a time"):
        EncodeStep({"a": encoder}, CPU, "fp32", 2).launch(patches(), ["a"])


def test_no_room_for_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny_encoder()

    def full(*ignored: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(encoder, "to", full)
    with pytest.raises(UsageError, match="not enough memory for encoder 'tiny'"):
        place_encoder(encoder, CPU, compiled=False)


def test_what_cannot_be_compiled_is_a_wrong_call() -> None:
    from torch._inductor.exc import CppCompileError

    encoder = tiny_encoder()

    def before(pictures: torch.Tensor) -> None:
        raise CppCompileError(["g++"], "no compiler")

    encoder.backbone.before = before
    step = EncodeStep({"a": encoder}, CPU, "fp32", 16, compiled=True)
    with pytest.raises(UsageError, match="cannot be compiled here"):
        step.launch(patches(), ["a"])
