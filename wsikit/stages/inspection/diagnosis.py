"""Whether this machine can do the work, for `wsikit doctor`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

PACKAGES = (
    "openslide-python", "openslide-bin", "tifffile", "imagecodecs", "zarr", "dask", "torch",
    "torchvision", "timm", "torch-geometric", "faiss-cpu", "lightning", "scikit-learn",
)  # fmt: skip

MIN_FREE_GB = 5


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: what.
        ok: whether it is fit for work.
        detail: what was found, and what to do if it is not.
    """

    name: str
    ok: bool
    detail: str


def diagnose(folder: Path) -> list[Finding]:
    """Look at everything the stages need.

    Args:
        folder: where a store would be written.
    """
    findings = [Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    findings += [_package(name) for name in PACKAGES]
    findings += [
        _try("JPEG codec", _jpeg_round_trip),
        _try("OpenSlide library", _openslide),
        _try("FAISS", _faiss),
        _try("GPU", _gpu),
    ]
    findings.append(Finding("processor cores", True, str(len(os.sched_getaffinity(0)))))
    findings.append(_disk(folder))
    return findings


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed: pip install wsikit again")


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:  # whatever a broken library raises is the finding
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _jpeg_round_trip() -> str:
    from wsikit.store.codecs import JpegCodec

    picture = np.full((64, 64, 3), 200, np.uint8)
    back = np.empty_like(picture)
    codec = JpegCodec(quality=90)
    codec.decode_picture(codec.encode_picture(picture), back)
    if np.abs(back.astype(int) - 200).max() > 3:
        raise RuntimeError("a JPEG came back changed")
    return "encodes and decodes"


def _openslide() -> str:
    import openslide

    return str(openslide.__library_version__)


def _faiss() -> str:
    from wsikit.graphs.knn import knn_graph

    edges, _ = knn_graph(np.eye(4, dtype=np.float32), 1)
    return f"finds neighbours ({edges.shape[1]} edges among 4 points)"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none; everything runs on the CPU, only slower"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _disk(folder: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Finding("output folder", False, f"{folder}: cannot write here ({error.strerror})")
    enough = free >= MIN_FREE_GB
    return Finding("output folder", enough, f"{free:.0f} GB free" + ("" if enough else ": low"))
