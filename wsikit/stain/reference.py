"""The histogram that slides are matched to."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from wsikit.errors import ConfigError
from wsikit.stain.histogram import Histogram

PACKAGED = "packaged"


def load_reference(name: str = PACKAGED) -> Histogram:
    """Load a reference histogram.

    Args:
        name: `packaged`, or the path of a JSON file
            `{"histogram": [[256 counts of R], [of G], [of B]]}`.

    Returns:
        (3, 256) int64.

    Raises:
        ConfigError: the file cannot be read or holds something else.
    """
    path = files("wsikit.stain") / "reference.json" if name == PACKAGED else Path(name)
    try:
        histogram = np.asarray(json.loads(path.read_text())["histogram"], dtype=np.int64)
    except OSError as error:
        raise ConfigError(
            f"tile.stain.reference: {name} cannot be read ({error.strerror})", "check the path"
        ) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ConfigError(
            f"tile.stain.reference: {name} holds no histogram",
            'it must be JSON {"histogram": [[256 counts], [256 counts], [256 counts]]}',
        ) from error
    if histogram.shape != (3, 256) or histogram.min() < 0 or not histogram.any(axis=1).all():
        raise ConfigError(f"tile.stain.reference: {name} is not three histograms of 256 counts")
    return histogram


def reference_digest(histogram: Histogram) -> str:
    """Return 16 hex digits of the SHA-256 of a reference, for the recipe."""
    return hashlib.sha256(histogram.astype("<i8").tobytes()).hexdigest()[:16]
