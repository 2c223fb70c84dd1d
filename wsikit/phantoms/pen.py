"""Marks of a felt-tip pen on the glass, as pathologists leave them about what matters."""

from __future__ import annotations

import math

import numpy as np

from wsikit.phantoms.fields import Nodes
from wsikit.phantoms.noise import as_float32, gradient_noise, smoothstep, stream
from wsikit.phantoms.regions import regions_of
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import FloatArray

INKS = ((1.9, 1.1, 0.22), (1.7, 0.5, 1.2), (1.5, 1.45, 1.3))
"""Optical density (R, G, B), base e, of blue, green and black ink."""


def ink_at(spec: PhantomSpec, nodes: Nodes) -> FloatArray | None:
    """Return how thick ink lies at each node, 0 to about 1; None where there is none.

    The mark is a part of a wobbly ellipse about the slide's first piece of tissue.
    """
    if not spec.pen:
        return None
    x, y = nodes.places_um(spec.mpp)
    rng = np.random.default_rng([stream(spec.seed, 40)])
    piece = regions_of(spec).pieces[0]
    half_width = float(np.clip(0.016 * min(spec.size_um), 14, 220))
    u = (x - piece.x) / (1.07 * piece.a)
    v = (y - piece.y) / (1.07 * piece.b)
    wobble = gradient_noise(x, y, 12 * half_width, stream(spec.seed, 41))
    offset = (np.hypot(u, v) - 1) * min(piece.a, piece.b) + 1.5 * half_width * wobble
    middle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.1)
    turn = np.abs((np.arctan2(v, u) - middle + math.pi) % (2 * math.pi) - math.pi)
    ends = (reach - turn) * min(piece.a, piece.b)
    depth = np.minimum(half_width - np.abs(offset), ends)
    ink = smoothstep(-2.0, 5.0, depth) * (0.85 + 0.3 * smoothstep(9.0, 1.0, depth))
    ink *= 1 + 0.25 * gradient_noise(x, y, 35.0, stream(spec.seed, 42))
    return as_float32(ink) if (ink > 0).any() else None
