"""What each stain method costs a patch, next to the JPEG encoding that every patch pays for.

    python benchmarks/stain.py [--small] [--json FILE]

One 512 x 512 patch of a phantom, one thread, best of many. Beside wsikit's methods: the same in
numpy and scikit-image, without compiled loops. Only the ratios mean anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from shared.report import at_least, at_most, line, options, report
from skimage.color import lab2rgb, rgb2lab
from skimage.exposure import match_histograms

from wsikit.phantoms.render import render_block
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stain.lookup import apply_table, count_values
from wsikit.stain.macenko import MacenkoNormaliser
from wsikit.stain.methods import STAIN_METHODS, fit_normaliser
from wsikit.stain.reference import load_reference
from wsikit.stain.sample import gather_sample
from wsikit.types import Mpp, Size

PATCH_PX = 512


def best(repeats: int, call: Callable[[], object]) -> float:
    """Return the least of several wall times in milliseconds, the first call apart."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def dense_macenko(image: np.ndarray, normaliser: MacenkoNormaliser) -> np.ndarray:
    """Normalise as the paper writes it, in float64."""
    density = np.log(np.array(normaliser.source.white) / np.maximum(image, 1))
    light = np.array(normaliser.reference.white) * np.exp(-density @ normaliser.matrix().T)
    return np.clip(light, 0, 255).astype(np.uint8)


def dense_reinhard(image: np.ndarray) -> np.ndarray:
    """Normalise as the paper writes it, in scikit-image's Lab."""
    return (lab2rgb(rgb2lab(image) * 0.9 + [5.0, 1.0, -1.0]) * 255).astype(np.uint8)


def measure(small: bool) -> dict[str, Any]:
    """Time everything and return rows and bars."""
    spec = PhantomSpec("p", Size(1500, 1100), Mpp(0.5, 0.5), 5, False, "boreal")
    patch = render_block(spec, 400, 300, PATCH_PX, PATCH_PX)
    reference = load_reference()
    sample = gather_sample([(patch, ~(patch > 200).all(axis=2))])
    fitted = {m: fit_normaliser(m, sample, reference) for m in STAIN_METHODS if m != "none"}
    table = np.array(fitted["histogram"].to_json()["table"], np.uint8)
    macenko = fitted["macenko"]
    assert isinstance(macenko, MacenkoNormaliser)
    picture = np.stack([np.repeat(np.arange(256, dtype=np.uint8), c) for c in reference.histogram])
    picture = picture.T[np.linspace(0, picture.shape[1] - 1, PATCH_PX**2).astype(int)][None]
    calls: dict[str, Callable[[], object]] = {
        "JPEG q90 encode": lambda: imagecodecs.jpeg8_encode(patch, level=90, subsampling="420"),
        "count the values": lambda: count_values(patch),
        "histogram: table": lambda: apply_table(patch, table),
        "histogram: table and counts": lambda: fitted["histogram"].apply_counting(patch),
        "histogram-patch": lambda: fitted["histogram-patch"].apply(patch),
        "reinhard": lambda: fitted["reinhard"].apply(patch),
        "macenko": lambda: fitted["macenko"].apply(patch),
    }
    beside: dict[str, Callable[[], object]] = {
        "table in numpy": lambda: [table[c][patch[..., c]] for c in range(3)],
        "match_histograms, scikit-image": lambda: match_histograms(patch, picture, channel_axis=-1),
        "reinhard in scikit-image's Lab": lambda: dense_reinhard(patch),
        "macenko in numpy": lambda: dense_macenko(patch, macenko),
        "fit histogram": lambda: fit_normaliser("histogram", sample, reference),
        "fit reinhard": lambda: fit_normaliser("reinhard", sample, reference),
        "fit macenko": lambda: fit_normaliser("macenko", sample, reference),
    }
    took = {name: best(5 if small else 200, call) for name, call in calls.items()}
    took |= {name: best(2 if small else 20, call) for name, call in beside.items()}
    jpeg, table_ms = took["JPEG q90 encode"], took["histogram: table"]
    bars = [
        at_most("table over JPEG", table_ms / jpeg, 0.75),
        at_most("reinhard over JPEG", took["reinhard"] / jpeg, 3.5),
        at_most("macenko over JPEG", took["macenko"] / jpeg, 2.0),
        at_most("histogram-patch over table", took["histogram-patch"] / table_ms, 4.0),
        at_least(
            "scikit-image over histogram-patch",
            took["match_histograms, scikit-image"] / took["histogram-patch"],
            5.0,
        ),
    ]
    rows = [line(n, ms, "ms", 3) for n, ms in took.items()]
    return {"rows": rows, "bars": bars}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    asked = parser.parse_args()
    found = measure(asked.small)
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
