"""Read weights from a file somebody gives us, and check that they belong to the network."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wsikit.encoders.safetensors_file import read_metadata
from wsikit.errors import WeightsError


class OtherNetworkError(WeightsError):
    """The names or shapes of tensors are not the network's; it may be that they are older."""


PICKLE_SUFFIXES = (".pt", ".pth", ".bin")
WRAPPERS = ("state_dict", "model")
"""Under these words many a checkpoint keeps its state dict."""

SHOWN_KEYS = 3
AS_SAFETENSORS = "save its state dict as a .safetensors file, which holds tensors and no code"


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code it may hold.

    The tensors are mapped, not copied: a file that lies about sizes takes no memory.

    Args:
        path: a `.safetensors` file, or a `.pt`, `.pth` or `.bin` pickle that holds nothing but
            tensors under their names, also under the word `state_dict` or `model`.

    Raises:
        WeightsError: the file is absent, of another kind, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file", "give 'imagenet', 'random' or a .safetensors file"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLE_SUFFIXES:
        return _read_pickle(path)
    raise WeightsError(
        f"{path.name}: '{path.suffix}' is no weights file", "give a .safetensors file"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    read_metadata(path)  # a header of absurd length is refused before the library reads it
    try:
        return load_file(path)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({error})", "copy or download it again"
        ) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    _check_archive(path)
    try:
        with warnings.catch_warnings():  # torch's doubts about a pickle are for the line below
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path.name}: not a pickle of tensors alone, and another may run code when opened",
            AS_SAFETENSORS,
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, TypeError, IndexError,
            AttributeError, AssertionError, RecursionError) as error:  # fmt: skip
        raise WeightsError(f"{path.name}: a damaged weights file", AS_SAFETENSORS) from error
    for word in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(word), dict):
            content = content[word]
            break
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and _is_plain(tensor) for name, tensor in content.items()
    ):
        raise WeightsError(f"{path.name}: not a flat table from names to tensors", AS_SAFETENSORS)
    return dict(content)


def _is_plain(tensor: object) -> bool:
    """Whether it is a tensor whose values lie in the file."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _check_archive(path: Path) -> None:
    """See that the file is torch's archive with nothing packed in it, so that sizes are true.

    Raises:
        WeightsError: it is not. Before torch 1.6 a pickle named the size of each tensor, and torch
            takes that much memory before it reads on.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(
            f"{path.name}: not a whole file of torch 1.6 or later", AS_SAFETENSORS
        ) from error
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > path.stat().st_size:
        raise WeightsError(
            f"{path.name}: a packed archive, which torch never writes", AS_SAFETENSORS
        )


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
        WeightsError: a name is missing or not known, a shape differs, or a value is not finite;
            the first ones are named.
    """
    given = check_state(network, state, classifier, source)
    # Only a step counter can be missing now, and evaluation never reads it.
    network.load_state_dict(given, strict=False)
    check_finite(network, source)


def check_finite(network: nn.Module, source: str) -> None:
    """See that a network can compute with the weights it was given.

    Args:
        network: with its weights.
        source: the name of the file they came from, for messages.

    Raises:
        WeightsError: one is not finite; the tensor is named.
    """
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{source}: '{name}' is not finite", "the file is of no use")


def check_state(
    network: nn.Module, state: Mapping[str, Tensor], classifier: Sequence[str], source: str
) -> dict[str, Tensor]:
    """Return the tensors that are the network's own.

    Only names, shapes and types are looked at, so the network may be one without memory.

    Args:
        network: without a classifier.
        state: tensors under timm's names; those of the classifier are left out.
        classifier: names of the classifier's layers in the network as timm trained it.
        source: the file's name, for messages.

    Raises:
        WeightsError: a name is missing or not known, or a shape or type differs; the first ones are
            named.
    """
    own = network.state_dict()
    given = {
        name: tensor for name, tensor in state.items() if name.rpartition(".")[0] not in classifier
    }
    # Files older than BatchNorm's step counter lack it; evaluation never reads it.
    needed = [name for name in own if not name.endswith(".num_batches_tracked")]
    shared = [name for name in given if name in own]
    wrong_type = [
        f"{name} {_short(given[name].dtype)} for {_short(own[name].dtype)}"
        for name in shared
        if own[name].is_floating_point() != given[name].is_floating_point()
    ]
    if wrong_type:
        raise WeightsError(
            f"{source}: {_listed('of another type', wrong_type)}", "the file is of no use"
        )
    wrong_shape = [
        f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
        for name in shared
        if own[name].shape != given[name].shape
    ]
    problems = [
        _listed("missing", [name for name in needed if name not in given]),
        _listed("not known", [name for name in given if name not in own]),
        _listed("of another shape", wrong_shape),
    ]
    if any(problems):
        raise OtherNetworkError(
            f"{source}: the weights are not this encoder's ({'; '.join(filter(None, problems))})",
            "name the encoder they were trained for, with timm's names of its tensors",
        )
    return given


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _listed(problem: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > SHOWN_KEYS else ""
    return f"{len(names)} {problem}: {', '.join(names[:SHOWN_KEYS])}{more}"
