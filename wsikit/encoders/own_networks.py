"""Networks that timm does not have, by the name that a spec has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from wsikit.encoders.xception import XCEPTIONS

OWN_NETWORKS: Mapping[str, Callable[[], nn.Module]] = {**XCEPTIONS}
"""Each builds a network without a classifier. Its `NEW` lists the tensors no published file has."""
