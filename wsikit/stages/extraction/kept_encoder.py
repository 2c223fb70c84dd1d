"""Keep in a store the encoders whose weights came from a file, so that a run can take them along.

Published weights can be fetched again by their name, and random ones drawn again. A file can be
moved or lost, and a store does not know where it lay.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wsikit.atomic import whole_file
from wsikit.encoders.network import Encoder, encoder_id
from wsikit.encoders.saved import save_encoder
from wsikit.store.store import Store

FROM_FILE = "file"
"""What an encoder says of weights that came from a file."""


def kept_encoder(store: Store, identity: str) -> Path:
    """Return where a store keeps an encoder, if it does."""
    return store.path / "encoders" / f"{identity}.safetensors"


def keep_encoders(store: Store, encoders: Mapping[str, Encoder]) -> None:
    """Copy encoders whose weights came from a file into the store, unless they are there.

    Args:
        store: an open store, locked by the caller.
        encoders: encoder id -> encoder.

    Raises:
        UsageError: the file cannot be written.
    """
    for identity, encoder in encoders.items():
        path = kept_encoder(store, identity)
        if encoder.weights == FROM_FILE and not path.exists():
            save_encoder(path, encoder)


def share_file(source: Path, target: Path) -> None:
    """Put a file in a second place, without a second copy where the disk can do so.

    Both are only ever replaced as a whole, so neither changes with the other.

    Raises:
        UsageError: it cannot be written.
    """
    with whole_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)


def weights_digest(identity: str) -> str:
    """Return the part of an encoder id that says what the encoder computes."""
    return identity.rpartition("-")[2]


def named_as(encoder: Encoder, identity: str) -> Encoder:
    """Return the same encoder under another id of the same digest.

    An encoder is called after the file or run it lies in, which says nothing of what it computes.
    """
    name, weights, _ = identity.rsplit("-", 2)
    if encoder_id(encoder) == identity:
        return encoder
    spec = replace(encoder.spec, name=name, features=encoder.features)
    return Encoder(spec, encoder.backbone, weights)
