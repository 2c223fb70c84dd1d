"""The page itself: markup, style, script and data in one HTML text that asks nobody for anything.

Names are untrusted text. The template escapes them, the data are JSON without a `<`, and a content
security policy lets only the two scripts of this page run and no connection be made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from wsikit.heatmap.colours import HEAT_MAPS, heat_lut
from wsikit.heatmap.viewer.layers import pack


def render(title: str, notes: Sequence[str], data: Mapping[str, Any]) -> str:
    """Return the page as text.

    Args:
        title: the slide's name.
        notes: what the reader must know, in whole sentences.
        data: what the script shows; see `wsikit.heatmap.viewer.write`.
    """
    library = _without_map(_resource("assets/openseadragon.min.js"))
    script = _resource("viewer.js")
    environment = Environment(
        loader=DictLoader({"page": _resource("page.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    return environment.get_template("page").render(
        title=title,
        notes=notes,
        maps=HEAT_MAPS,
        library=Markup(library),
        script=Markup(script),
        style=Markup(_resource("viewer.css")),
        hashes=[_hash(library), _hash(script)],
        data=Markup(_as_json({**data, "maps": {name: _colours(name) for name in HEAT_MAPS}})),
    )


def _resource(name: str) -> str:
    return files("wsikit.heatmap.viewer").joinpath(name).read_text("utf-8")


def _without_map(script: str) -> str:
    """Take away the last line of a packaged script, which names a file that is not packaged."""
    return script.partition("//# sourceMappingURL")[0]


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _colours(name: str) -> str:
    return pack(heat_lut(name), "u1")


def _as_json(data: Mapping[str, Any]) -> str:
    """Write JSON that can stand inside a script element, whatever its strings hold."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _clean(value: object) -> object:
    """Replace control characters of untrusted text, which no page may hold."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return "" if value is None else value
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") else c for c in value
    )
