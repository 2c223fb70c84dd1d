"""Look at the numbers in OME-XML before a library makes lists as long as they say."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from wsikit.slides.properties import finite_number

MAX_PLANES = 1 << 16
"""Planes, or steps along an axis, that the XML of a slide may speak of."""

_SIZES = ("SizeZ", "SizeC", "SizeT")
_PLACES = ("IFD", "PlaneCount", "NumPlanes", "FirstZ", "FirstC", "FirstT")


def untrue_planes(xml: bytes) -> str:
    """Say which number of planes in OME-XML no slide has; empty where all can be true.

    Args:
        xml: an image description; other text than OME-XML passes.
    """
    if b"<OME" not in xml and b":OME" not in xml:
        return ""
    for text in (xml, xml.decode(errors="ignore").encode()):  # as tifffile tries
        try:
            root = ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError, LookupError):
            continue  # no library believes it either
        found = (_untrue(element) for element in root.iter())
        return next(filter(None, found), "")
    return ""


def _untrue(element: ElementTree.Element) -> str:
    kind = str(element.tag).rpartition("}")[2]
    numbers = {key: finite_number(value) or 0.0 for key, value in element.attrib.items()}
    if kind == "Pixels":
        planes = math.prod(max(1.0, numbers.get(key, 1.0)) for key in _SIZES)
    elif kind == "TiffData":
        planes = max(numbers.get(key, 0.0) for key in _PLACES)
    elif kind[:-1].endswith("Along"):  # ModuloAlongT and its like
        step = abs(numbers.get("Step", 1.0)) or 1.0
        planes = abs(numbers.get("End", 0.0) - numbers.get("Start", 0.0)) / step
    else:
        return ""
    return f"its OME-XML speaks of {planes:.0f} planes" if planes > MAX_PLANES else ""
