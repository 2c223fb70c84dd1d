"""Turn a place on a phantom into pixels.

Stain is mixed as optical density and becomes colour by Beer and Lambert's law: the light that
passes glass, haematoxylin, eosin and ink is what each of them lets through, multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wsikit.phantoms.cells import Layers, draw_cells
from wsikit.phantoms.fields import Fields, Nodes, PixelBox, fields_at, tissue_at
from wsikit.phantoms.noise import smoothstep, stream
from wsikit.phantoms.nuclei import HAEMATOXYLIN_STEPS, stamps_for
from wsikit.phantoms.pen import INKS, ink_at
from wsikit.phantoms.spec import PhantomSpec
from wsikit.phantoms.textures import Textures, textures_for
from wsikit.types import FloatArray, UInt8Image

GLASS_UM = -4.0
"""Depth in tissue below which a place is bare glass."""

STROMA = (0.165, 0.16, 0.55)
"""Haematoxylin everywhere, eosin of a cleft, and eosin that the densest fibres add, in units."""

TUMOUR_CYTOPLASM = (0.05, 0.435)
GLAND_CYTOPLASM = (0.16, 0.42)
"""Haematoxylin and eosin of cytoplasm, in units.

The tumour's is paler than the gland's and its nuclei are paler one by one, so that, with many more
of them, the mean colour of tumour stays near that of normal tissue: colour alone does not tell them
apart.
"""


def render_block(spec: PhantomSpec, x: int, y: int, width: int, height: int) -> UInt8Image:
    """Draw any rectangle of a slide, the same pixels whatever rectangle they are part of.

    Args:
        spec: the slide.
        x: left edge in level-0 px.
        y: top edge in level-0 px.
        width: pixels across; the work grows with the rectangle.
        height: pixels down.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    box = PixelBox(x, y, width, height)
    textures, stamps = textures_for(spec.mpp), stamps_for(spec.mpp)
    nodes = Nodes.around(box.grown(*stamps.gland_margin_px), spec.mpp)
    tissue = tissue_at(spec, nodes)
    stains: tuple[FloatArray, FloatArray] | None = None
    if (tissue > GLASS_UM).any():
        fields = fields_at(spec, nodes, tissue)
        layers = draw_cells(spec, box, fields, stamps, textures)
        stains = _stains(spec, box, fields, layers, textures)
    ink = ink_at(spec, nodes)
    thick_ink = None if ink is None else nodes.upsample(ink, box)
    return _colour(spec, box, stains, thick_ink, textures)


def _stains(
    spec: PhantomSpec, box: PixelBox, fields: Fields, layers: Layers, textures: Textures
) -> tuple[FloatArray, FloatArray]:
    """Return haematoxylin and eosin at each pixel, (height, width) float32 in units."""
    nodes = fields.nodes

    def smooth(values: FloatArray) -> FloatArray:
        return nodes.upsample(values, box)

    def tile(texture: FloatArray) -> FloatArray:
        return _tile(texture, box, 0, 0)

    sharp = max(0.55, 0.75 * max(spec.mpp))
    lying, upright = tile(textures.fibres[0]), tile(textures.fibres[1])
    cloud = tile(textures.cloud)
    fibres = lying + (upright - lying) * smooth(fields.cross)
    haze, cleft, dense = STROMA
    eosin = (cleft + dense * fibres) * smooth(fields.warmth)
    haematoxylin = haze * (0.6 + 0.8 * fibres) * (1 + 0.1 * cloud)
    for cover, (own_h, own_e) in (
        (smoothstep(-2.0, 3.0, smooth(fields.nest)), TUMOUR_CYTOPLASM),
        (layers.cytoplasm * np.float32(1 / 255), GLAND_CYTOPLASM),
    ):
        haematoxylin += cover * (own_h * (1 + 0.30 * cloud) - haematoxylin)
        eosin += cover * (own_e * (1 + 0.22 * cloud) - eosin)
    nuclei = layers.nuclei * np.float32(1 / HAEMATOXYLIN_STEPS)
    # A nucleus pushes the cytoplasm aside: what is blue is not pink as well.
    eosin *= 1 - 0.45 * np.minimum(nuclei, 1)
    haematoxylin += nuclei
    empty = smoothstep(0, 2 * sharp, tile(textures.wall_um) - smooth(fields.fat))
    empty = np.maximum(empty, layers.lumen * np.float32(1 / 255))
    empty = np.maximum(empty, smoothstep(34.0, 37.0, smooth(fields.nest) + 1.2 * cloud))
    amount = smoothstep(-1.5, 1.5, smooth(fields.tissue)) * smooth(fields.thickness)
    amount *= 1 - empty
    return haematoxylin * amount, eosin * amount


def _colour(
    spec: PhantomSpec,
    box: PixelBox,
    stains: tuple[FloatArray, FloatArray] | None,
    ink: FloatArray | None,
    textures: Textures,
) -> UInt8Image:
    """Let light through and let the camera look at it."""
    optics = spec.optics
    strength = _staining(spec)
    ink_colour = INKS[stream(spec.seed, 43) % len(INKS)]
    image = np.empty((box.height, box.width, 3), np.uint8)
    for channel in range(3):
        light = np.zeros((box.height, box.width), np.float32)
        if stains is not None:
            light -= stains[0] * np.float32(optics.haematoxylin[channel] * strength[0])
            light -= stains[1] * np.float32(optics.eosin[channel] * strength[1])
        if ink is not None:
            light -= ink * np.float32(ink_colour[channel])
        light = np.exp(light) * np.float32(optics.white[channel])
        shift = (channel + 1) * textures.side // 3
        light += _tile(textures.camera, box, shift, shift // 2) * np.float32(optics.noise)
        image[..., channel] = np.clip(light + np.float32(0.5), 0, 255)
    return image


def _staining(spec: PhantomSpec) -> tuple[float, float]:
    """Return how strongly the two stains took, the same for all slides of a patient."""
    key = [*(spec.patient_id or spec.slide_id).encode()]
    gain = np.random.default_rng(key).uniform(0.9, 1.1, 2)
    return (float(gain[0]), float(gain[1]))


def _tile(texture: FloatArray, box: PixelBox, shift_x: int, shift_y: int) -> FloatArray:
    """Cut a box out of the plane that a texture tiles."""
    side = texture.shape[0]
    top, left = (box.y + shift_y) % side, (box.x + shift_x) % side
    if top + box.height <= side and left + box.width <= side:
        return texture[top : top + box.height, left : left + box.width]
    piece = np.empty((box.height, box.width), np.float32)
    for y, from_y, height in _runs(top, box.height, side):
        for x, from_x, width in _runs(left, box.width, side):
            piece[y : y + height, x : x + width] = texture[
                from_y : from_y + height, from_x : from_x + width
            ]
    return piece


def _runs(start: int, length: int, side: int) -> Iterator[tuple[int, int, int]]:
    """Cut a stretch that repeats every `side` into runs: (at, from, length)."""
    at = 0
    while at < length:
        run = min(length - at, side - start)
        yield at, start, run
        at, start = at + run, 0
