"""Hand slides out to whoever is free next."""

from __future__ import annotations

from dataclasses import dataclass
from queue import SimpleQueue


@dataclass(eq=False)
class SlideReading:
    """A slide whose patches are to be read.

    Attributes:
        slide_id: its id.
        abandoned: set by whoever finds that the rest of it need not be read.
    """

    slide_id: str
    abandoned: bool = False


class SlideQueue:
    """Keep slides in order; one side may still add while others take."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[SlideReading | None] = SimpleQueue()

    def put(self, reading: SlideReading) -> None:
        """Add a slide."""
        self._queue.put(reading)

    def close(self) -> None:
        """Say that no slide follows."""
        self._queue.put(None)

    def take(self) -> SlideReading | None:
        """Wait for the next slide; each goes to one taker. None where none is left."""
        reading = self._queue.get()
        if reading is None:
            self._queue.put(None)  # for the other takers
        return reading
