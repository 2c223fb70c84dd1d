"""Which heads there are, by the name a user writes."""

from __future__ import annotations

from typing import Any

from wsikit.heads.abmil import GatedABMIL
from wsikit.heads.bag import Head
from wsikit.heads.clam_sb import ClamSB
from wsikit.heads.dsmil import DSMIL
from wsikit.heads.graph_transformer import GraphTransformer
from wsikit.heads.instance import InstanceHead
from wsikit.heads.max_pooling import MaxPooling
from wsikit.heads.mean_pooling import MeanPooling
from wsikit.heads.options import options_of, refuse_unknown
from wsikit.heads.torchmil_head import PREFIX, torchmil_head
from wsikit.heads.trans_mil import TransMIL
from wsikit.registry import Registry

HEADS: Registry[type[Head]] = Registry("head")

HEADS.register("abmil")(GatedABMIL)
HEADS.register("clam_sb")(ClamSB)
HEADS.register("dsmil")(DSMIL)
HEADS.register("graph_transformer")(GraphTransformer)
HEADS.register("instance")(InstanceHead)
HEADS.register("max_pooling")(MaxPooling)
HEADS.register("mean_pooling")(MeanPooling)
HEADS.register("trans_mil")(TransMIL)
HEADS.register_family(PREFIX, torchmil_head)


def head_options(name: str) -> dict[str, Any]:
    """Return a head's options and their defaults.

    Raises:
        ConfigError: there is no such head.
    """
    return options_of(HEADS[name])


def build_head(name: str, in_features: int, classes: int, **options: Any) -> Head:
    """Build a head by name.

    Args:
        name: a name in `HEADS`.
        in_features: width D of a feature vector.
        classes: number of classes.
        **options: what to set otherwise than the head's default; see `head_options`.

    Raises:
        ConfigError: there is no such head or option, or a value is out of range.
    """
    refuse_unknown(f"head '{name}'", options, head_options(name))
    build: Any = HEADS[name]  # each head has options of its own
    head: Head = build(in_features, classes, **options)
    return head
