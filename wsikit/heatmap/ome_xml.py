"""Say in OME-XML what a picture made from patch scores is: its size, its place, its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from wsikit.types import Mpp, Size

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"

UNKNOWN_SIZE = "The size of a pixel in micrometres is not known."

ANNOTATION = "wsikit/heatmap"
"""Namespace of the annotation that says what the pixels mean."""

_UNIT = "\N{MICRO SIGN}m"

_SCHEMA = f"{NAMESPACE} {NAMESPACE}/ome.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


@dataclass(frozen=True)
class OmeImage:
    """Describe one plane.

    Attributes:
        name: what a viewer calls the image.
        channel: what its values are.
        description: the same in a sentence or two.
        size: (width, height) in pixels.
        kind: `float` for float32, `uint8` for grey or, with three samples, RGB.
        samples: values a pixel.
        um_per_px: physical size of a pixel; None where nobody knows it: no size and no place in um
            is then written.
        origin_um: where the upper left corner of the upper left pixel lies in the slide, in um
            from the level-0 origin along x and y.
        notes: further facts, by name.
    """

    name: str
    channel: str
    description: str
    size: Size
    kind: str
    samples: int
    um_per_px: Mpp | None
    origin_um: tuple[float, float] = (0.0, 0.0)
    notes: Mapping[str, str] = field(default_factory=dict)


def ome_xml(image: OmeImage) -> bytes:
    """Write the description of a one-plane OME-TIFF, in ASCII, equal for equal input.

    The origin stands where OME keeps the place of a picture on the stage (`Plane` position, and
    `StageLabel`, which older readers look at). No UUID and no date: the same heatmap twice is the
    same file.

    Args:
        image: what to describe.

    Returns:
        An XML document valid against OME's schema of 2016-06.
    """
    root = Element(
        "OME", {"xmlns": NAMESPACE, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": _SCHEMA}
    )
    root.set("Creator", "wsikit")
    element = SubElement(root, "Image", ID="Image:0", Name=_text(image.name))
    SubElement(element, "Description").text = _text(image.description)
    corner = {}
    if image.um_per_px is not None:
        corner = {axis: repr(float(at)) for axis, at in zip("XY", image.origin_um, strict=True)}
        label = {"Name": "level-0 origin of the slide", **corner, "XUnit": _UNIT, "YUnit": _UNIT}
        SubElement(element, "StageLabel", label)
    _pixels(element, image, corner)
    if image.notes:
        SubElement(element, "AnnotationRef", ID="Annotation:0")
        _annotation(root, image.notes)
    return bytes(ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True))


def _pixels(parent: Element, image: OmeImage, corner: Mapping[str, str]) -> None:
    """Describe the plane: how large, of what kind, where."""
    pixels = SubElement(
        parent,
        "Pixels",
        ID="Pixels:0",
        DimensionOrder="XYCZT",
        Type=image.kind,
        SizeX=str(image.size.width),
        SizeY=str(image.size.height),
        SizeC=str(image.samples),
        SizeZ="1",
        SizeT="1",
        **_physical_size(image.um_per_px),
    )
    SubElement(
        pixels,
        "Channel",
        ID="Channel:0:0",
        Name=_text(image.channel),
        SamplesPerPixel=str(image.samples),
    )
    SubElement(pixels, "TiffData", IFD="0", PlaneCount="1")
    place = {"TheZ": "0", "TheC": "0", "TheT": "0"}
    for axis, at in corner.items():
        place |= {f"Position{axis}": at, f"Position{axis}Unit": _UNIT}
    SubElement(pixels, "Plane", place)


def _physical_size(um_per_px: Mpp | None) -> dict[str, Any]:
    if um_per_px is None:
        return {}
    return {
        "PhysicalSizeX": repr(float(um_per_px.x)),
        "PhysicalSizeXUnit": _UNIT,
        "PhysicalSizeY": repr(float(um_per_px.y)),
        "PhysicalSizeYUnit": _UNIT,
    }


def resolution_tags(um_per_px: Mpp | None) -> dict[str, Any]:
    """Return tifffile's arguments for the resolution tags; none where nobody knows the size.

    Args:
        um_per_px: physical size of a pixel.
    """
    if um_per_px is None:
        return {}
    size = (1e4 / um_per_px.x, 1e4 / um_per_px.y)
    return {"resolution": size, "resolutionunit": "CENTIMETER"}


def _annotation(root: Element, notes: Mapping[str, str]) -> None:
    """Add the facts as names and values."""
    annotations = SubElement(root, "StructuredAnnotations")
    annotation = SubElement(annotations, "MapAnnotation", ID="Annotation:0", Namespace=ANNOTATION)
    value = SubElement(annotation, "Value")
    for key, words in notes.items():
        SubElement(value, "M", K=key).text = _text(words)


def _text(words: str) -> str:
    """Leave out what XML 1.0 cannot hold: control characters, halves of surrogate pairs."""
    return "".join(
        c
        for c in words
        if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
    )
