"""What every graph asks of features."""

from __future__ import annotations

import numpy as np

from wsikit.errors import WsikitError
from wsikit.types import FloatArray


def check_finite(features: FloatArray) -> FloatArray:
    """Return features as contiguous float32.

    Args:
        features: (N, D), any float type.

    Raises:
        WsikitError: a feature is not finite, or there is no vector a patch.
    """
    if features.ndim != 2:
        raise WsikitError(
            f"features have shape {features.shape}, not (patches, width)",
            "extract the slide's features again",
        )
    features = np.ascontiguousarray(features, np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise WsikitError(
            f"{len(bad)} of {len(features)} patches have features that are not finite "
            f"(the first is patch {bad[0]})",
            "extract the slide's features again",
        )
    return features
