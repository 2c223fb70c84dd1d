"""What became of each slide at each stage: `status/<slide_id>.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wsikit.atomic import write_json
from wsikit.errors import StoreError

State = Literal["done", "empty", "failed"]


@dataclass(frozen=True)
class StageStatus:
    """The outcome of one stage for one slide.

    Attributes:
        state: `done`; `empty` where no patch was foreground; `failed`.
        recipe_id: identity of the recipe that was run; empty where it failed before that was known.
        reason: why it failed, one line; empty otherwise.
        seconds: wall time spent.
        source: fingerprint of the slide's files, where the stage read them.
        stamp: size and modification time of those files, to skip a slide without reading it.
        damaged: patches left out because their pixels cannot be decoded.
    """

    state: State
    recipe_id: str = ""
    reason: str = ""
    seconds: float = 0.0
    source: str = ""
    stamp: tuple[tuple[int, int], ...] = ()
    damaged: int = 0


def read_status(path: Path) -> dict[str, StageStatus]:
    """Read a slide's status file: stage -> outcome; empty where there is none.

    Raises:
        StoreError: the file is not a status file.
    """
    try:
        content: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        return {
            stage: StageStatus(
                state=entry["state"],
                recipe_id=entry["recipe_id"],
                reason=entry["reason"],
                seconds=entry["seconds"],
                source=entry["source"],
                stamp=tuple((int(size), int(time)) for size, time in entry["stamp"]),
                damaged=int(entry["damaged"]),
            )
            for stage, entry in content.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: not a status file", "delete it and run again") from error


def write_status(path: Path, stage: str, status: StageStatus) -> None:
    """Record one stage's outcome, keeping the other stages'; a damaged file is begun anew."""
    try:
        stages = read_status(path)
    except StoreError:
        stages = {}
    stages[stage] = status
    write_json(path, {name: asdict(entry) for name, entry in sorted(stages.items())})
