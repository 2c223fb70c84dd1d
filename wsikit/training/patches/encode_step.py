"""Run encoders over batches of patches on one device, and go on where its memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsikit.encoders.encoder import Encoder
from wsikit.errors import SlideError, UsageError

Precision = Literal["fp32", "bf16", "fp16"]

PRECISION: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

_OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
"""What else is said where memory runs out: by cuDNN and cuBLAS, and by torch on a processor."""

_COMPILER = ("torch._dynamo", "torch._inductor", "torch._functorch")


def place_encoder(encoder: Encoder, device: torch.device, compiled: bool) -> Encoder:
    """Move an encoder to a device, its weights channels last as the patches are.

    Convolutions then turn neither. The features' bytes stay the same on a processor.

    Args:
        encoder: moved as it is, not copied.
        device: where to.
        compiled: compile it, when it is first called.

    Raises:
        UsageError: the device's memory does not hold it.
    """
    try:
        encoder.to(device).to(memory_format=torch.channels_last)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise UsageError(
            f"{device}: not enough memory for encoder '{encoder.spec.name}'",
            "free the device from other work, or use --device cpu",
        ) from error
    if compiled:
        encoder.compile(dynamic=False)
    return encoder


def _is_out_of_memory(error: RuntimeError) -> bool:
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(w in said for w in _OUT_OF_MEMORY)


@dataclass
class Launched:
    """A batch that a device was told to compute.

    Attributes:
        outputs: encoder id -> pieces of (b, D) float32, on the device, in patch order.
        done: the moment they are there; None where they are already.
    """

    outputs: dict[str, list[Tensor]]
    done: torch.cuda.Event | None = None


class EncodeStep:
    """Compute features of batches by several encoders, each batch moved to the device once.

    Args:
        encoders: encoder id -> encoder, from `place_encoder`.
        device: where they are.
        precision: `fp32`, or what autocast computes in.
        size: patches a step at most; halved for good each time the memory does not suffice.
        compiled: whether they are compiled. Every step then has the same number of patches: one
            that lacks some is filled up, as a new number would be compiled anew.
        say: told what the user should see.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        device: torch.device,
        precision: Precision,
        size: int,
        *,
        compiled: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.device = device
        self.size = size
        self._dtype = PRECISION[precision]
        self._compiled = compiled
        self._say = say
        self._streams = _Streams(device) if device.type == "cuda" else None
        self._encoders = dict(encoders)

    @property
    def depth(self) -> int:
        """How many launched batches may wait to be collected: one computes, one is on its way."""
        return 0 if self._streams is None else 1

    def launch(self, pixels: Tensor, which: Sequence[str]) -> Launched:
        """Start computing a batch; returns before a GPU is done.

        Args:
            pixels: (B, 3, H, W) on the CPU, uint8 or float32 from 0 to 255; unchanged until the
                batch is collected.
            which: ids of the encoders to run.

        Raises:
            SlideError: the memory does not suffice for a single patch.
            UsageError: the encoders cannot be compiled.
        """
        outputs: dict[str, list[Tensor]] = {name: [] for name in which}
        start = 0
        while start < len(pixels):
            piece = pixels[start : start + self.size]
            try:
                computed = self._compute(piece, which)
            except RuntimeError as error:
                self._raise_unless_memory(error)
            else:
                for name, features in computed.items():
                    outputs[name].append(features)
                start += len(piece)
                continue
            self._halve()
        return Launched(outputs, None if self._streams is None else self._streams.mark())

    def collect(self, launched: Launched) -> dict[str, NDArray[np.float32]]:
        """Wait for a launched batch.

        Returns:
            Encoder id -> (B, D) float32.
        """
        with self._reading(launched):
            return {
                name: torch.cat([piece.cpu() for piece in pieces]).numpy()
                for name, pieces in launched.outputs.items()
            }

    def _reading(self, launched: Launched) -> AbstractContextManager[Any]:
        if self._streams is None or launched.done is None:
            return nullcontext()
        return self._streams.reading(launched)

    @torch.inference_mode()
    def _compute(self, pixels: Tensor, which: Sequence[str]) -> dict[str, Tensor]:
        count = len(pixels)
        on_device = self._moved(pixels)
        if self._compiled and count < self.size:
            on_device = torch.cat([on_device, on_device[-1:].expand(self.size - count, -1, -1, -1)])
        enabled = self._dtype != torch.float32
        with torch.autocast(self.device.type, self._dtype, enabled=enabled):
            return {name: self._encoders[name](on_device)[:count].float() for name in which}

    def _moved(self, pixels: Tensor) -> Tensor:
        if self._streams is None:
            return pixels.to(self.device)
        return self._streams.to_device(pixels)

    def _raise_unless_memory(self, error: RuntimeError) -> None:
        """Return only where a smaller step may help."""
        if _is_out_of_memory(error):
            if self.size == 1:
                raise SlideError(
                    f"{self.device}: not enough memory for one patch at a time",
                    "free the device from other work, or use --device cpu",
                ) from error
            return
        if self._compiled and type(error).__module__.startswith(_COMPILER):
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UsageError(
                f"the encoder cannot be compiled here ({said})", "leave --compile out"
            ) from error
        raise error

    def _halve(self) -> None:
        """Take smaller steps from now on; the error must be gone, as it holds what it filled."""
        self.size = (self.size + 1) // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._say(f"{self.device}: out of memory; going on with {self.size} patches a step")


class _Streams:
    """Copy to a GPU and back beside its computing, so that it need not wait for either."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._computing = torch.cuda.current_stream(device)
        self._to = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._back = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def to_device(self, pixels: Tensor) -> Tensor:
        """Copy while what was launched before is computed; what follows waits for the copy."""
        with torch.cuda.stream(self._to):
            moved = pixels.to(self._device, non_blocking=True)
        self._computing.wait_stream(self._to)
        moved.record_stream(self._computing)
        return moved

    def mark(self) -> torch.cuda.Event:
        """Return the moment at which all that is launched is done."""
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(self._computing)
        return done

    def reading(self, launched: Launched) -> AbstractContextManager[Any]:
        """Return a context in which outputs are copied back once they are there."""
        if launched.done is not None:
            self._back.wait_event(launched.done)
        for pieces in launched.outputs.values():
            for piece in pieces:
                piece.record_stream(self._back)
        return torch.cuda.stream(self._back)
