"""Read the split of an earlier run, to be used again exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wsikit.config import Config
from wsikit.errors import CohortError, UsageError


@dataclass(frozen=True)
class GivenSplit:
    """A split that is not made but taken over.

    Attributes:
        table: the file's columns, all text.
        where: the file, for messages.
    """

    table: pd.DataFrame
    where: str

    @property
    def folds(self) -> int:
        """How many folds it has."""
        return self.table["fold"].nunique() if "fold" in self.table else 1

    def rows(self) -> list[list[str]]:
        """Return what decides a training, in a set order."""
        columns = [c for c in ("fold", "slide_id", "split") if c in self.table]
        return sorted(self.table[columns].to_numpy().tolist())

    def written_into(self, config: Config) -> Config:
        """Return the recipe with the split's number of folds.

        Raises:
            UsageError: the recipe asks for another number.
        """
        if config.train.folds not in (1, self.folds):
            raise UsageError(
                f"{self.where} has {self.folds} folds, and folds is {config.train.folds}",
                "leave --folds out, and train.folds",
            )
        update = {"folds": self.folds}
        return config.model_copy(update={"train": config.train.model_copy(update=update)})


def read_split(path: Path) -> GivenSplit:
    """Read a split: a run's folder, or a CSV with `fold`, `slide_id` and `split`.

    Raises:
        UsageError: there is none.
        CohortError: it is no such table.
    """
    file = path / "split.csv" if path.is_dir() else path
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UsageError(f"{file}: no split there", "name a run, or its split.csv") from None
    except (OSError, ValueError) as error:
        raise CohortError(f"{file}: cannot be read as a split", "give a run's split.csv") from error
    return GivenSplit(table, str(file))
