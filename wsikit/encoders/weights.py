"""Read weights from a file somebody gives us, and check that they belong to the network."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wsikit.errors import WeightsError

PICKLE_SUFFIXES = (".pt", ".pth", ".bin")
SHOWN_KEYS = 3


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code it may hold.

    Args:
        path: a `.safetensors` file, or a `.pt`, `.pth` or `.bin` pickle that holds nothing but
            tensors under their names.

    Raises:
        WeightsError: the file is absent, of another kind, damaged, holds more than tensors, or a
            tensor in it is not finite.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file", "give 'imagenet', 'random' or a .safetensors file"
        )
    if path.suffix == ".safetensors":
        state = _read_safetensors(path)
    elif path.suffix in PICKLE_SUFFIXES:
        state = _read_pickle(path)
    else:
        raise WeightsError(
            f"{path.name}: '{path.suffix}' is no weights file", "give a .safetensors file"
        )
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path.name}: '{name}' is not finite", "the file is of no use")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name}: not a readable safetensors file ({error})") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    fix = "save its state dict as a .safetensors file, which holds tensors and no code"
    try:
        with warnings.catch_warnings():  # torch's doubts about a pickle are for the line below
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise WeightsError(
            f"{path.name}: not a pickle of tensors alone, and another may run code when opened",
            fix,
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise WeightsError(f"{path.name}: not a flat table from names to tensors", fix)
    return dict(state)


def load_state(
    network: nn.Module, state: Mapping[str, Tensor], classifier: Sequence[str], source: str
) -> None:
    """Copy weights into a network that has no classifier.

    Args:
        network: changed in place.
        state: tensors under timm's names; those of the classifier are ignored.
        classifier: names of the classifier's layers in the network as timm trained it.
        source: the file's name, for messages.

    Raises:
        WeightsError: a name is missing or not known, or a shape differs; the first ones are named.
    """
    own = network.state_dict()
    given = {
        name: tensor for name, tensor in state.items() if name.rpartition(".")[0] not in classifier
    }
    # Files older than BatchNorm's step counter lack it; evaluation never reads it.
    needed = [name for name in own if not name.endswith(".num_batches_tracked")]
    problems = [
        _listed("missing", [name for name in needed if name not in given]),
        _listed("not known", [name for name in given if name not in own]),
        _listed(
            "of another shape",
            [
                f"{name} {tuple(tensor.shape)} for {tuple(own[name].shape)}"
                for name, tensor in given.items()
                if name in own and own[name].shape != tensor.shape
            ],
        ),
    ]
    if any(problems):
        raise WeightsError(
            f"{source}: the weights are not this encoder's ({'; '.join(filter(None, problems))})",
            "name the encoder they were trained for, with timm's names of its tensors",
        )
    network.load_state_dict(given)


def _listed(problem: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > SHOWN_KEYS else ""
    return f"{len(names)} {problem}: {', '.join(names[:SHOWN_KEYS])}{more}"
