"""Keep what a fit has reached so far inside its one checkpoint file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from wsikit.atomic import whole_file
from wsikit.training.fits.curves import Curves
from wsikit.training.fits.folder import EpochRow, FitFolder
from wsikit.training.fits.module import FitModule

Chooses = Literal["loss", "accuracy"]
"""What of validation chooses the best epoch, and says whether an epoch was any better."""

Progress = Callable[[int, int, dict[str, float | None]], None]
"""Called with (epoch, epochs, metrics) after each epoch; epochs count from 1."""


class FitRecord(Checkpoint):
    """Choose the best epoch by validation, stop when it stays behind, save after each epoch.

    Stands in for ModelCheckpoint, EarlyStopping and CSVLogger, because together they do not resume
    exactly: the best weights and the last state are two files that a kill can part, paths
    are absolute and a moved folder loses the best score, a met stopping rule is forgotten, and the
    log starts over. Here the epochs' rows and the best weights travel in the checkpoint itself,
    which is replaced in one step, and every decision is read off the rows.

    Args:
        folder: where the checkpoint and `history.csv` go.
        recipe: plain values that say which fit this is.
        epochs: at most this many epochs.
        patience: stop after this many epochs without a better one.
        progress: told of each epoch after it was saved.
        curves: given the same measurements, for TensorBoard.
        choose: `loss`, the lowest, or `accuracy`, the highest of an epoch.
    """

    def __init__(
        self,
        folder: FitFolder,
        recipe: dict[str, Any],
        epochs: int,
        patience: int,
        progress: Progress | None,
        curves: Curves | None = None,
        choose: Chooses = "loss",
    ) -> None:
        self.choose = choose
        self.folder = folder
        self.recipe = recipe
        self.epochs = epochs
        self.patience = patience
        self.progress = progress
        self.curves = curves
        self.rows: list[EpochRow] = []
        self.best: dict[str, Tensor] = {}
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time spent training, over all attempts."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def best_row(self) -> EpochRow:
        """The first epoch with the lowest validation loss, or the highest accuracy."""
        return min(self.rows, key=self.shortfall)

    def shortfall(self, row: EpochRow) -> float:
        """Return what an epoch is judged by: the lower, the better."""
        if self.choose == "loss":
            return row.val_loss
        if row.val_accuracy is None:
            raise TypeError("the fit does not measure its accuracy")
        return 1 - row.val_accuracy

    @property
    def done(self) -> bool:
        """Whether no further epoch is due."""
        if not self.rows:
            return False
        last = self.rows[-1].epoch
        return last >= self.epochs or last - self.best_row.epoch >= self.patience

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take down the epoch, save, and stop where nothing is to be gained."""
        if not isinstance(pl_module, FitModule):
            raise TypeError(f"expected a FitModule, not {type(pl_module).__name__}")
        row = EpochRow(
            epoch=len(self.rows) + 1,
            train_loss=float(trainer.callback_metrics["train_loss"]),
            val_loss=float(trainer.callback_metrics["val_loss"]),
            val_auc=pl_module.val_auc,
            val_accuracy=pl_module.val_accuracy,
        )
        self.rows.append(row)
        if self.best_row is row:
            self.best = pl_module.kept_state()
        self._save(trainer)
        if self.done:
            trainer.should_stop = True
        if self.progress is not None and trainer.is_global_zero:
            metrics = row._asdict()
            del metrics["epoch"]
            self.progress(row.epoch, self.epochs, metrics)

    def _save(self, trainer: L.Trainer) -> None:
        """Write checkpoint, history and curves; of several processes, the first does."""
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.folder.checkpoint)  # waits for the first, writes nothing
            return
        with whole_file(self.folder.checkpoint) as part:
            trainer.save_checkpoint(part)
        self.write_tables()

    def write_tables(self) -> None:
        """Write what has been measured so far for people to look at."""
        self.folder.write_history(self.rows)
        if self.curves is not None:
            self.curves.catch_up([_curve_names(row) for row in self.rows])

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into the checkpoint: tensors and plain values."""
        return {
            "recipe": self.recipe,
            "rows": [tuple(row) for row in self.rows],
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rows = [EpochRow(*row) for row in state_dict["rows"]]
        self.best = state_dict["best"]
        self._seconds_before = state_dict["seconds"]
        self._started = time.monotonic()


def _curve_names(row: EpochRow) -> dict[str, float | None]:
    """Name measurements so that TensorBoard draws like with like."""
    return {
        "loss/train": row.train_loss,
        "loss/val": row.val_loss,
        "auc/val": row.val_auc,
        "accuracy/val": row.val_accuracy,
    }
