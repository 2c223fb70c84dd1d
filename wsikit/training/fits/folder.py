"""What a fit leaves on disk, each file put in place in one step.

While training: `last.ckpt` (all that is needed to go on) and `history.csv`. When done:
`head.safetensors`, `history.csv` and, written last, `fit.json`, whose presence means finished.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wsikit.atomic import whole_file
from wsikit.errors import StoreError, UsageError, WeightsError


class EpochRow(NamedTuple):
    """What was measured in one epoch; `epoch` counts from 1."""

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float | None
    val_accuracy: float | None = None


class FitFolder:
    """Read and write the files of one fit.

    Args:
        path: the folder; made where it is missing.

    Raises:
        UsageError: it cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be made: {error.strerror}", "choose another output folder"
            ) from error
        if not os.access(path, os.W_OK):
            raise UsageError(f"{path} cannot be written to", "choose another output folder")

    @property
    def checkpoint(self) -> Path:
        """Where an unfinished fit stands."""
        return self.path / "last.ckpt"

    @property
    def weights(self) -> Path:
        """The best epoch's head."""
        return self.path / "head.safetensors"

    @property
    def summary(self) -> Path:
        """The mark of a finished fit."""
        return self.path / "fit.json"

    @property
    def history(self) -> Path:
        """One line an epoch."""
        return self.path / "history.csv"

    def write_history(self, rows: list[EpochRow]) -> None:
        """Write `history.csv` anew; accuracy has a column where it is measured."""
        measured = any(row.val_accuracy is not None for row in rows)
        columns = len(EpochRow._fields) if measured else EpochRow._fields.index("val_accuracy")
        lines = [",".join(EpochRow._fields[:columns])]
        lines += [
            ",".join("" if cell is None else repr(cell) for cell in row[:columns]) for row in rows
        ]
        with whole_file(self.history) as part:
            part.write_text("\n".join(lines) + "\n")

    def write_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write `head.safetensors`: the same tensors give the same bytes."""
        with whole_file(self.weights) as part:
            save_file(dict(state), part)

    def read_weights(self, network: nn.Module) -> None:
        """Load what `write_weights` wrote into a network of the same shape.

        Raises:
            WeightsError: the file is absent, damaged, or another network's.
        """
        load_weights(network, self.weights)

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Write `fit.json`."""
        text = json.dumps(summary, indent=2, sort_keys=True) + "\n"
        with whole_file(self.summary) as part:
            part.write_text(text)

    def read_summary(self) -> dict[str, Any] | None:
        """Read `fit.json`; None where the fit is not finished.

        Raises:
            StoreError: the file is not a fit's.
        """
        if not self.summary.exists():
            return None
        try:
            summary = json.loads(self.summary.read_text())
        except (OSError, ValueError) as error:
            raise _unreadable(self.summary) from error
        if not isinstance(summary, dict):
            raise _unreadable(self.summary)
        return summary

    def read_checkpoint(self) -> dict[str, Any] | None:
        """Read `last.ckpt`, tensors and plain values only; None where there is none.

        Raises:
            StoreError: it is damaged or holds anything else.
        """
        if not self.checkpoint.exists():
            return None
        if not zipfile.is_zipfile(self.checkpoint):
            # torch's older formats start with a bare pickle; wsikit never writes them.
            raise _unreadable(self.checkpoint)
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # hostile bytes make torch's unpickler raise nearly any type
            raise _unreadable(self.checkpoint) from error
        if not isinstance(state, dict):
            raise _unreadable(self.checkpoint)
        return state

    def drop_checkpoint(self) -> None:
        """Remove what only an unfinished fit needs, and what a kill left half written."""
        for file in (self.checkpoint, *self.path.glob(".*.part")):
            file.unlink(missing_ok=True)


def load_weights(head: nn.Module, file: Path) -> None:
    """Load `head.safetensors` into a head of the same shape.

    Args:
        head: changed in place; on any device.
        file: written by a fit.

    Raises:
        WeightsError: the file is absent, damaged, or another head's.
    """
    try:
        head.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise WeightsError(f"{file} is missing", "train again") from None
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} is not a readable safetensors file", "train again") from error
    except RuntimeError as error:
        raise WeightsError(
            f"{file} holds the weights of another head", "use the method and encoder of its run"
        ) from error


def _unreadable(path: Path) -> StoreError:
    return StoreError(f"{path} is damaged or not wsikit's", "delete it and train again")
