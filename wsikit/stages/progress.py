"""How a stage tells the outside what it is doing, and what became of each slide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Progress(Protocol):
    """Receive a stage's progress; the command line shows it, tests ignore it."""

    def start(self, stage: str, total: int) -> None:
        """Announce a stage and how many units of work it has."""

    def advance(self, label: str, units: int = 1) -> None:
        """Report finished units, with a few words on the last one."""

    def tick(self, label: str, units: int = 1) -> None:
        """Report finished units of which there are many; a log shows one such line a minute."""

    def say(self, line: str) -> None:
        """Report a line the user should see."""

    def finish(self) -> None:
        """End the current stage."""


class Silent:
    """Show nothing."""

    def start(self, stage: str, total: int) -> None:
        """Ignore."""

    def advance(self, label: str, units: int = 1) -> None:
        """Ignore."""

    def tick(self, label: str, units: int = 1) -> None:
        """Ignore."""

    def say(self, line: str) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""


@dataclass
class Outcome:
    """What became of the slides of one stage.

    Attributes:
        done: worked on and finished.
        skipped: finished by an earlier run.
        empty: without a foreground patch.
        failed: slide id -> reason.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Say the counts in a few words."""
        parts = [f"{len(self.done)} done"]
        parts += [f"{len(self.skipped)} already done"] if self.skipped else []
        parts += [f"{len(self.empty)} without tissue"] if self.empty else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        return ", ".join(parts)
