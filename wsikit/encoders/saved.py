"""An encoder in one file: its tensors, and in the header all it takes to build it again."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from wsikit import __version__
from wsikit.atomic import whole_file
from wsikit.encoders.backbone import build_backbone, outline
from wsikit.encoders.network import Encoder
from wsikit.encoders.random_weights import SEED
from wsikit.encoders.saved_header import MARKER, SAVED_FILE, VERSION, saved_spec
from wsikit.encoders.spec import to_table
from wsikit.encoders.weights import check_state, load_state, read_state
from wsikit.errors import WeightsError


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write an encoder as one .safetensors file, whole or not at all.

    The same encoder gives the same bytes. Call it `encoder.safetensors` in a run's folder, and
    `file:RUN` names the encoder.

    Args:
        path: the file; its folder is made where absent.
        encoder: on any device.

    Raises:
        UsageError: the file cannot be written.
    """
    spec = to_table(encoder.spec) | {"features": encoder.features}
    about = {"version": VERSION, "wsikit": __version__, "spec": spec}
    state = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in encoder.backbone.state_dict().items()
    }
    with whole_file(path) as temporary:
        save_file(state, temporary, {MARKER: json.dumps(about, sort_keys=True)})


def read_encoder(path: Path) -> Encoder:
    """Read an encoder that `save_encoder` wrote.

    The header is not believed: a network without memory is built from it first, and the tensors in
    the file must be that network's.

    Args:
        path: the file, or the folder that holds it as `encoder.safetensors`.

    Returns:
        The encoder on the CPU, called after the file, or after its folder where the file is called
        `encoder.safetensors`.

    Raises:
        WeightsError: there is no such file, or it is damaged, foreign or of a later version.
    """
    file = path / SAVED_FILE if path.is_dir() else path
    spec = saved_spec(file)
    if spec is None:
        raise WeightsError(
            f"{file.name}: is no encoder that wsikit saved",
            "name its network with --encoder and give the file to --weights",
        )
    network, features = outline(spec, file.name)
    if features != spec.features:
        raise WeightsError(
            f"{file.name}: says {spec.features} features a patch, but its network gives {features}",
            "the file is damaged; save the encoder again",
        )
    state = read_state(file)
    check_state(network, state, (), file.name)
    backbone = build_backbone(spec, SEED)
    load_state(backbone, state, (), file.name)
    return Encoder(spec, backbone, "file")
