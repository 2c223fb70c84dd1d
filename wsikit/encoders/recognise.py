"""Say which network a file of tensors belongs to, where the file does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from wsikit.encoders.backbone import classifier_layers, without_memory
from wsikit.encoders.spec import EncoderSpec
from wsikit.encoders.tensor_names import own_names
from wsikit.encoders.weights import check_state, read_state
from wsikit.errors import WeightsError


def recognised(file: Path, known: Sequence[EncoderSpec]) -> EncoderSpec:
    """Return the one known encoder whose tensors a file holds, under the file's name.

    Args:
        file: a state dict, not trusted.
        known: the encoders that are tried.

    Raises:
        WeightsError: the file cannot be read, or fits none of them, or several.
    """
    state = read_state(file)
    fitting = [spec for spec in known if _fits(state, spec, file.name)]
    if len(fitting) == 1:
        return replace(fitting[0], name=file.stem)
    which = f"fits {' and '.join(spec.name for spec in fitting)}" if fitting else "fits no encoder"
    raise WeightsError(
        f"{file.name}: {which} that wsikit lists, and does not say what network it is of",
        "name the network with --encoder and give the file to --weights",
    )


def _fits(state: dict[str, Tensor], spec: EncoderSpec, source: str) -> bool:
    network = without_memory(spec)  # a second for all that are listed; computing would take five
    try:
        check_state(network, own_names(state, spec), classifier_layers(network), source)
    except WeightsError:
        return False
    return True
