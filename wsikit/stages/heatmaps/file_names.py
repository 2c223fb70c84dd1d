"""What the files of a slide are called, and which slide a name belongs to.

A slide's id may hold dots, so two slides can ask for one name: the sheet of `a` and the picture of
`a.patches` are both `a.patches.png`. The slide that wrote it keeps it; the other is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wsikit.stages.heatmaps.grad_cam_pictures import FOLDER
from wsikit.stages.heatmaps.made import Made

PAGE = "cohort.html"

FILES: Mapping[str, tuple[str, ...]] = {
    "png": ("{slide_id}.png",),
    "sheet": ("{slide_id}.patches.png",),
    "geojson": ("{slide_id}.geojson",),
    "ome-tiff": ("{slide_id}.scores.ome.tiff", "{slide_id}.overlay.ome.tiff"),
    "html": ("{slide_id}/index.html",),
    "html-file": ("{slide_id}.viewer.html",),
    "grad-cam": (FOLDER + "/{slide_id}-{number}.png",),
}
"""What a format writes for a slide; a name with `{number}` stands for one file a picture.

A slide whose scores are unchanged is not drawn again if they are all there, and the cohort page
links those that are there. A format that is not named here is written again each time.
"""


def files_of(name: str, slide_id: str, pictures: int) -> list[str]:
    """List what a format writes for a slide, relative to the folder.

    Args:
        name: the format.
        slide_id: the slide.
        pictures: how many patches it has.
    """
    return [
        pattern.format(slide_id=slide_id, number=number)
        for pattern in FILES.get(name, ())
        for number in range(pictures if "{number}" in pattern else 1)
    ]


def files_there(folder: Path, slide_id: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a slide that are there, each with the pattern of its name."""
    for patterns in FILES.values():
        for pattern in patterns:
            number = 0
            while (path := folder / pattern.format(slide_id=slide_id, number=number)).exists():
                yield pattern, path
                number += 1
                if "{number}" not in pattern:
                    break


def holder(folder: Path, name: str, slide_id: str) -> str | None:
    """Say who else a name that a format would write belongs to; None where nobody.

    Args:
        folder: where heatmaps lie.
        name: the format.
        slide_id: the slide that is to be drawn.
    """
    for tail in _tails(name):
        file = f"{slide_id}{tail}"
        if file in (PAGE, FOLDER):
            return f"{file} is no slide's"
        for other in FILES:
            for end in _tails(other):
                rival = file.removesuffix(end)
                there = rival != slide_id and file.endswith(end) and (folder / file).exists()
                if there and Made(folder, rival).has(other):
                    return f"{file} is the {other} of slide '{rival}'"
    return None


def _tails(name: str) -> list[str]:
    """Return what follows the slide's id in the names that a format makes in the folder itself."""
    own = [p for p in FILES.get(name, ()) if p.startswith("{slide_id}")]
    return [pattern.removeprefix("{slide_id}").partition("/")[0] for pattern in own]
