"""The curves of a fit for TensorBoard: one event file, continued where it ends.

TensorFlow's and torch's writers name the file after the host and the process and begin a new one on
every start, so that a fit that was resumed shows some steps twice. Here the file has one name, and
what a kill left half written is cut off before more is added.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from wsikit.errors import UsageError

FILE_NAME = "events.out.tfevents.wsikit"
"""TensorBoard asks for `tfevents` in the name and nothing more."""

_LENGTH = struct.Struct("<Q")
_AROUND = 16
"""Bytes of a record that are not its content: its length, and two check sums."""

Scalars = Mapping[str, float | None]


class Curves:
    """Append the measurements of epochs to an event file.

    Args:
        folder: where the file goes; made where it is missing. TensorBoard names curves after it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME

    def catch_up(self, rows: Sequence[Scalars]) -> None:
        """Make the file hold the epochs that were measured, and those only.

        Args:
            rows: what was measured in epochs 1, 2, ...; None is left out.

        Raises:
            UsageError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            written, size = _whole_records(self.path, len(rows))
            with self.path.open("r+b") as file:
                file.truncate(size)
                file.seek(size)
                out = RecordWriter(file)
                if not size:
                    _write(out, Event(wall_time=time.time(), file_version="brain.Event:2"))
                for epoch, row in enumerate(rows[written:], start=written + 1):
                    _write(out, _measured(epoch, row))
        except OSError as error:
            raise UsageError(
                f"cannot write {self.path}: {error.strerror or error}",
                "make room, or choose an output that can be written",
            ) from error


def _measured(epoch: int, row: Scalars) -> Event:
    values = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in row.items()
        if value is not None
    ]
    return Event(wall_time=time.time(), step=epoch, summary=Summary(value=values))


def _write(out: RecordWriter, event: Event) -> None:
    out.write(event.SerializeToString())


def _whole_records(path: Path, epochs: int) -> tuple[int, int]:
    """Return the last of the first `epochs` epochs that a file holds, and where its record ends."""
    content = path.read_bytes()
    epoch, end = 0, 0
    while end + _AROUND <= len(content):
        (length,) = _LENGTH.unpack_from(content, end)
        following = end + length + _AROUND
        if following > len(content):
            break
        try:
            event = Event.FromString(content[end + 12 : following - 4])
        except DecodeError:
            break
        is_next = event.step == epoch + 1 if end else bool(event.file_version)
        if not is_next or event.step > epochs:
            break
        epoch, end = event.step, following
    return epoch, end
