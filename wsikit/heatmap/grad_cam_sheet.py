"""A picture beside the same picture under its Grad-CAM, lesions boxed, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wsikit.atomic import write_bytes
from wsikit.types import FloatArray, UInt8Image

COLOURS = "inferno"
BOX = "#35d0ff"
PANEL_INCHES = 4.0


def draw_grad_cam(
    picture: UInt8Image,
    cam: FloatArray,
    boxes: Sequence[Sequence[float]],
    title: str,
    meaning: str,
    path: Path,
    *,
    alpha: float = 0.45,
    mpp: float | None = None,
) -> None:
    """Write the sheet.

    Args:
        picture: (H, W, 3) uint8.
        cam: (H, W) float32 from 0 to 1.
        boxes: (x, y, width, height) of each lesion, px of the picture; there may be none.
        title: first line.
        meaning: what the colours say, beside their scale.
        path: the PNG.
        alpha: opacity of the colours where they are strongest; where there is nothing, none.
        mpp: micrometres per px of the picture, for the bar; None: the bar counts px.

    Raises:
        UsageError: the file cannot be written.
    """
    height, width = picture.shape[:2]
    figure = Figure(figsize=(2 * PANEL_INCHES + 1.2, PANEL_INCHES * height / width + 0.8))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    figure.suptitle(title, fontsize=10, x=0.02, ha="left")
    blended = _blended(picture, cam, alpha)
    where = "" if cam.any() else ": nowhere"
    for panel, image, words in zip(
        axes, (picture, blended), ("picture", f"Grad-CAM, {meaning}{where}"), strict=True
    ):
        panel.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
        panel.set_title(words, fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
        for x, y, box_width, box_height in boxes:
            panel.add_patch(
                Rectangle((x, y), box_width, box_height, fill=False, edgecolor=BOX, linewidth=1.5)
            )
        panel.set_xlim(0, width)
        panel.set_ylim(height, 0)
    _scale_bar(axes[0], width, height, mpp)
    scale = figure.colorbar(ScalarMappable(cmap=COLOURS), ax=list(axes), fraction=0.03, pad=0.02)
    scale.set_label("share of the picture's largest", fontsize=8)
    scale.ax.tick_params(labelsize=8)
    count = len(boxes)
    words = f"box: {count} known lesion{'s' if count > 1 else ''}" if count else "no known lesion"
    figure.text(0.02, 0.02, words, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _blended(picture: UInt8Image, cam: FloatArray, alpha: float) -> UInt8Image:
    colours = colormaps[COLOURS](cam)[..., :3] * 255  # (H, W, 3)
    weight = (alpha * np.sqrt(np.clip(cam, 0, 1)))[..., None]
    mixed: UInt8Image = np.rint(picture * (1 - weight) + colours * weight).astype(np.uint8)
    return mixed


def _scale_bar(panel: Axes, width: int, height: int, mpp: float | None) -> None:
    """Draw a bar of a round length, about a quarter of the picture."""
    unit = 1.0 if mpp is None else mpp
    about = width / 4 * unit
    power = 10.0 ** np.floor(np.log10(about))
    length = power * max(step for step in (1, 2, 5) if step * power <= about)
    words = f"{length:g} px" if mpp is None else _length(length)
    end = 0.04 * width + length / unit
    panel.plot([0.04 * width, end], [0.95 * height] * 2, color="white", linewidth=3)
    panel.text(0.04 * width, 0.93 * height, words, color="white", fontsize=8, va="bottom")


def _length(um: float) -> str:
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} um"
