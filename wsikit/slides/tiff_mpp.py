"""The physical size of a pixel as OME-XML states it, which resolution tags often do not."""

from __future__ import annotations

from typing import Any

import tifffile

from wsikit.slides.properties import finite_number

_MICROMETRES = {"m": 1e6, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3}
"""Micrometres in each length unit of OME-XML; micro sign and Greek mu both occur."""


def ome_mpp(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return mpp (x, y) of the first image of an OME-TIFF; None where it states none.

    Args:
        tiff: an open file.
    """
    if not tiff.is_ome or tiff.ome_metadata is None:
        return None
    try:
        image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    except Exception:  # the XML is untrusted and optional: without it, nothing is stated
        return None
    first = image[0] if isinstance(image, list) else image
    pixels = first.get("Pixels", {}) if isinstance(first, dict) else {}
    x, y = _length_um(pixels, "PhysicalSizeX"), _length_um(pixels, "PhysicalSizeY")
    return None if x is None or y is None else (x, y)


def _length_um(pixels: dict[str, Any], key: str) -> float | None:
    length = finite_number(pixels.get(key))
    unit = _MICROMETRES.get(str(pixels.get(f"{key}Unit", "µm")))
    return None if length is None or unit is None else length * unit
