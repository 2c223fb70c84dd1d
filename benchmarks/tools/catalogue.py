"""What a user would run instead of `wsikit tile`, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["wsikit", "loop", "whole", "no filter"]


@dataclass(frozen=True)
class Tool:
    """One way to cut a slide into patches.

    Attributes:
        name: what its rows are called.
        script: the file beside this one that runs it.
        kind: `loop` is told which patches to keep, `whole` finds tissue itself, `no filter` keeps
            every patch.
        requires: what to install, in an environment of its own; empty: nothing.
        modules: what must be importable for it to run in an environment it happens to find.
        variant: which of the tool's ways of working.
        workers: whether it can use two workers on one slide.
        environment: folder of its environment; tools that name the same one share it. Empty: the
            Python this benchmark runs in.
        python: the Python to make the environment with, where not every one will do.
        without_pins: installed last, without what it asks for, because that cannot be had together.
        command: what must be on the path.
    """

    name: str
    script: str
    kind: Kind
    requires: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    variant: str = ""
    workers: bool = True
    environment: str = ""
    python: str = ""
    without_pins: tuple[str, ...] = ()
    command: str = ""


_HS2P = ("hs2p[openslide,cucim]", "PyTurboJPEG<2", "numpy>=2")
_SLIDEFLOW = (
    "torch", "torchvision", "cucim-cu12", "pyvips>=3", "pyvips-binary", "numpy<2", "zarr<3",
    "protobuf<3.21", "seaborn<0.14", "setuptools<80", "click", "crc32c", "fpdf2", "gdown",
    "imageio", "matplotlib", "opencv-python-headless", "pandas", "parameterized", "pyarrow",
    "rasterio", "requests", "rich", "scikit-image", "scikit-learn", "scipy", "shapely",
    "tabulate", "tqdm", "umap-learn",
)  # fmt: skip
"""What slideflow asks for, less what only its studio and its hyperparameter search need: that does
not build on current Pythons."""

_TRIDENT = "git+https://github.com/mahmoodlab/TRIDENT"

TOOLS = (
    Tool("wsikit tile", "wsikit_tile.py", "wsikit", modules=("wsikit",)),
    Tool(
        "pyvips loop", "loop_pyvips.py", "loop",
        ("pyvips>=3", "pyvips-binary", "numpy>=2", "imagecodecs"), ("pyvips",),
        environment="pyvips",
    ),
    Tool(
        "cuCIM loop", "loop_cucim.py", "loop",
        ("cucim-cu12", "numpy>=2", "imagecodecs"), ("cucim",), environment="cucim",
    ),
    Tool(
        "fastslide loop", "loop_fastslide.py", "loop",
        ("fastslide", "numpy>=2", "imagecodecs"), ("fastslide",), environment="fastslide",
    ),
    Tool(
        "tiffslide loop", "loop_tiffslide.py", "loop",
        ("tiffslide>=2.5", "numpy>=2", "imagecodecs"), ("tiffslide",), environment="tiffslide",
    ),
    Tool(
        "OpenSlide + PIL loop", "loop_openslide.py", "loop",
        ("openslide-python>=1.4", "openslide-bin", "pillow>=11", "numpy>=2", "imagecodecs"),
        ("openslide", "PIL"), environment="openslide",
    ),
    Tool("vips dzsave", "vips_dzsave.py", "no filter", command="vips"),
    Tool("hs2p (OpenSlide, Pillow)", "hs2p_tile.py", "whole", _HS2P, ("hs2p",), "openslide",
         environment="hs2p"),
    Tool("hs2p (cuCIM, TurboJPEG)", "hs2p_tile.py", "whole", _HS2P, ("hs2p",), "cucim",
         environment="hs2p"),
    Tool("slideflow (cuCIM)", "slideflow_tile.py", "whole", _SLIDEFLOW, ("slideflow",), "cucim",
         environment="slideflow", without_pins=("slideflow",)),
    Tool("slideflow (libvips)", "slideflow_tile.py", "whole", _SLIDEFLOW, ("slideflow",),
         "libvips", environment="slideflow", without_pins=("slideflow",)),
    Tool("TIAToolbox", "tiatoolbox_tile.py", "whole", ("tiatoolbox",), ("tiatoolbox",),
         workers=False, environment="tiatoolbox"),
    Tool("TRIDENT", "trident_tile.py", "whole", (_TRIDENT,), ("trident",), workers=False,
         environment="trident"),
    Tool("lazyslide", "lazyslide_tile.py", "whole", ("lazyslide",), ("lazyslide",),
         workers=False, environment="lazyslide"),
    Tool("PathML", "pathml_tile.py", "whole", ("pathml",), ("pathml",), environment="pathml"),
    Tool("histolab", "histolab_tile.py", "whole", ("histolab",), ("histolab",), workers=False,
         environment="histolab", python="python3.10"),
)  # fmt: skip
