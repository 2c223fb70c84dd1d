"""Name the encoder of features that were made elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from wsikit.encoders.registry import id_prefix
from wsikit.errors import SlideError, UsageError
from wsikit.store.h5_layout import H5Head

LONGEST_NAME = 80
"""Characters of an encoder's name that enter its id."""


def foreign_encoder_id(head: H5Head, path: Path, asked: str | None) -> str:
    """Return the id under which a file's features are kept.

    Weights are not at hand, so no digest of them can be part of it, except where wsikit itself
    wrote the file. The features' width is: so features of two widths never mix.

    Args:
        head: what the file says of itself.
        path: the file, for messages.
        asked: the encoder's name or id that the user gives; None: the file must tell.

    Raises:
        SlideError: the file says that its features are another encoder's than asked for.
        UsageError: neither file nor user names the encoder.
    """
    own = head.facts.own
    if own is not None:
        fits = asked is None or asked == own.encoder_id
        if not fits and not own.encoder_id.startswith(f"{id_prefix(asked or '')}-"):
            raise _other_encoder(path, own.encoder_id, asked)
        return own.encoder_id
    stated = head.facts.encoder
    if asked is None and stated is None:
        raise UsageError(
            f"{path.name}: does not say which encoder made its features", "name it with --encoder"
        )
    if asked is not None and stated is not None and not _alike(asked, stated):
        raise _other_encoder(path, stated, asked)
    name = id_prefix(asked or stated or "").strip(".-")[:LONGEST_NAME]
    if not name:
        raise UsageError(f"an encoder named '{asked}'", "use letters and digits")
    return f"{name}-h5-{head.features}"


def _alike(asked: str, stated: str) -> bool:
    """Tell whether two names can mean one encoder, as 'UNI' and 'uni_v1' do."""
    a, b = (re.sub(r"[^a-z0-9]", "", name.lower()) for name in (asked, stated))
    return bool(a and b) and (a in b or b in a)


def _other_encoder(path: Path, stated: str, asked: str | None) -> SlideError:
    return SlideError(
        f"{path.name}: says its features are by '{stated}', not '{asked}'",
        "ingest features of one encoder at a time",
    )
