"""What the header of a saved encoder says, read without torch."""

from __future__ import annotations

import json
from pathlib import Path

from wsikit.encoders.safetensors_file import read_metadata
from wsikit.encoders.spec import EncoderSpec, from_table
from wsikit.errors import WeightsError

SAVED_FILE = "encoder.safetensors"
"""What a run calls its encoder."""

MARKER = "wsikit_encoder"
"""The header's one key. With several their order in the file would be drawn anew each time."""

VERSION = 1


def file_name(file: Path) -> str:
    """Return an encoder's name: its run's where it is called as a run's encoder, or its own."""
    return file.absolute().parent.name if file.name == SAVED_FILE else file.stem


def saved_spec(file: Path) -> EncoderSpec | None:
    """Return what a saved encoder says of itself; None where the file is no saved encoder.

    Raises:
        WeightsError: the file is absent or damaged, or its header makes no sense.
    """
    if not file.is_file():
        raise WeightsError(
            f"{file}: no such file",
            f"give a weights file, or the folder of a run that holds {SAVED_FILE}",
        )
    if file.suffix != ".safetensors":
        return None
    text = read_metadata(file).get(MARKER)
    if text is None:
        return None
    try:
        about = json.loads(text)
        if not isinstance(about, dict):
            raise ValueError("no table")
        if about.get("version") != VERSION:
            raise WeightsError(
                f"{file.name}: an encoder of form {about.get('version')!r}, and this wsikit reads "
                f"form {VERSION}",
                "use the wsikit that saved it",
            )
        return from_table(about.get("spec"), file_name(file))
    except (ValueError, RecursionError) as error:
        raise WeightsError(
            f"{file.name}: its header describes no encoder ({error})", "save the encoder again"
        ) from error
