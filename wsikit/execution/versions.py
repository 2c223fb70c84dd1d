"""Compare what the workers have installed with what this process has."""

from __future__ import annotations

from collections.abc import Mapping

from wsikit.errors import UsageError

PACKAGES = (
    "wsikit", "dask", "distributed", "numpy", "scipy", "scikit-image", "imagecodecs", "numba",
    "tifffile", "openslide-bin", "openslide-python", "zarr",
)  # fmt: skip
"""What decides the bytes of a result, and what must agree for tasks to travel."""

Versions = Mapping[str, str | None]


def check_versions(here: Versions, there: Mapping[str, Versions]) -> str:
    """Compare versions.

    Args:
        here: package -> version of this process; `python` may be among them.
        there: the same for each other process, by its address.

    Returns:
        One line on what differs; empty where nothing does.

    Raises:
        UsageError: another process has another wsikit, so its results would be others.
    """
    different: dict[str, list[str]] = {}
    for address, versions in there.items():
        own, other = here.get("wsikit"), versions.get("wsikit")
        if own and other and own != other:
            raise UsageError(
                f"{address} has wsikit {other}, and this is wsikit {own}",
                "install the same version for workers, scheduler and this command",
            )
        names = [n for n in ("python", *PACKAGES) if versions.get(n) != here.get(n)]
        said = ", ".join(f"{n} {versions.get(n) or 'none'} (here {here.get(n)})" for n in names)
        if said:
            different.setdefault(said, []).append(address)
    if not different:
        return ""
    parts = [f"{said} on {_some(places)}" for said, places in different.items()]
    return f"warning: versions differ, so results may: {'; '.join(parts)}"


def _some(places: list[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
