"""Name the encoder of features that were made elsewhere."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from wsikit.encoders.mammography import CBAM_PREFIX
from wsikit.encoders.registry import FILE_PREFIX, HUB_PREFIX, TIMM_PREFIX, id_prefix
from wsikit.encoders.saved_header import SAVED_FILE
from wsikit.errors import SlideError, UsageError
from wsikit.store.h5_layout import H5Head

LONGEST_NAME = 80
"""Characters of an encoder's name that enter its id."""

WEIGHTS = (".bin", ".ckpt", ".h5", ".onnx", ".pkl", ".pt", ".pth", ".safetensors")
"""How files of weights end; with such an ending `OWNER/NAME` is a path and no hub's repository."""

_PLACE = re.compile(r"~|\.{0,2}/|[A-Za-z]:/")
"""How a path begins that does not begin in the present folder."""


def encoder_name(said: str) -> str:
    """Return an encoder's name, without the folders where somebody's weights lie.

    Paths of a machine, and the names of people in them, enter no store and no file. What is no path
    stays: `uni_v1`, `hf-hub:OWNER/NAME`.

    Args:
        said: by the user or a file; a name, a path, or `file:` and a path.
    """
    if said.startswith((TIMM_PREFIX, HUB_PREFIX, CBAM_PREFIX)):
        return said
    path = said.removeprefix(FILE_PREFIX).replace("\\", "/")
    weights = path.lower().endswith(WEIGHTS)
    if path == said and not (_PLACE.match(path) or path.count("/") > 1 or weights):
        return said
    place = PurePosixPath(path)
    if place.name == SAVED_FILE and place.parent.name:
        return place.parent.name
    return place.stem if weights else place.name


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
        fits = asked in (None, own.encoder_id)
        if asked is not None and not fits and not own.encoder_id.startswith(f"{id_prefix(asked)}-"):
            raise _other_encoder(path, own.encoder_id, encoder_name(asked))
        return own.encoder_id
    stated = None if head.facts.encoder is None else encoder_name(head.facts.encoder)
    asked = None if asked is None else encoder_name(asked)
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
