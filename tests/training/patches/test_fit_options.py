"""What methods D and E ask of the fit: optimiser, plateau, choice by accuracy, exact resume."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from tests.training.patch_pictures import side_of, tiny_encoder, tiny_network
from wsikit.errors import ConfigError
from wsikit.heads.dense_classifier import DenseClassifier
from wsikit.training.patches.fit import PatchFitOptions, fit_patches
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.optimiser import Optimiser
from wsikit.training.patches.warp import WarpRange

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = PatchFitOptions(
    epochs=5, lr=2e-2, weight_decay=0.0, patience=5, batch_size=16, device="cpu",
    class_weights="none", optimiser="sgd", momentum=0.9, lr_factor=0.2, lr_patience=1,
    choose="accuracy", quarters=False, warp=WarpRange(20, 0.1, 0.1),
)  # fmt: skip


class Killed(BaseException):
    """Stands for a kill."""


def network(hidden: tuple[int, ...] = (6,)) -> PatchNetwork:
    encoder = tiny_encoder(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PatchNetwork(encoder, DenseClassifier(12, 2, hidden=hidden))


def fit(folder, options=OPTIONS, progress=None, hidden=(6,)):
    return fit_patches(
        network(hidden), side_of(range(6)), side_of(range(20, 24)), options, folder,
        folder / "encoder.safetensors", progress,
    )  # fmt: skip


@pytest.mark.parametrize("epoch", [1, 3])
def test_killed_and_called_again_it_ends_in_the_same_bytes(tmp_path, epoch: int) -> None:
    """With dropout, momentum, a rate that falls and pictures that move."""

    def kill(number: int, epochs: int, metrics: dict) -> None:
        if number == epoch:
            raise Killed

    fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "cut", progress=kill)
    fit(tmp_path / "cut")
    for name in ("head.safetensors", "encoder.safetensors", "history.csv"):
        one, other = ((tmp_path / run / name).read_bytes() for run in ("whole", "cut"))
        assert one == other, name


def test_the_first_epoch_with_the_highest_accuracy_is_kept(tmp_path) -> None:
    result = fit(tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    best = history["val_accuracy"].max()
    assert result.best_epoch == history.loc[history["val_accuracy"] == best, "epoch"].iloc[0]
    chosen_by_loss = fit(tmp_path / "loss", replace(OPTIONS, choose="loss"))
    history = pd.read_csv(tmp_path / "loss" / "history.csv")
    assert chosen_by_loss.best_epoch == 1 + history["val_loss"].argmin()


def test_it_stops_after_so_many_epochs_without_better_accuracy(tmp_path) -> None:
    options = replace(OPTIONS, lr=1e-9, momentum=0.0, epochs=9, patience=3, lr_patience=9)
    result = fit(tmp_path, options, hidden=())  # norms would follow the batches, and move it
    assert (result.best_epoch, result.epochs_run) == (1, 4)


def test_the_rate_falls_on_the_plateau(tmp_path, monkeypatch) -> None:
    rates = []
    step = torch.optim.SGD.step

    def noted(self, *given, **named):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    fit(tmp_path, replace(OPTIONS, lr=1e-9, momentum=0.0, epochs=4, patience=9), hidden=())
    batches = len(rates) // 4
    assert rates[::batches] == pytest.approx([1e-9, 1e-9, 2e-10, 4e-11])


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW),
                       ("sgd", torch.optim.SGD)],
)  # fmt: skip
def test_optimisers_are_torchs(name: str, kind: type) -> None:
    made = Optimiser(name, 0.1, 0.01, 0.9).over(list(tiny_network().parameters()))
    assert type(made) is kind
    group = made.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.01)
    assert group.get("momentum", 0.9) == 0.9


@pytest.mark.parametrize(
    "wrong", [{"optimiser": "adma"}, {"momentum": 1.0}, {"lr_factor": 0.0}, {"choose": "auc"}]
)
def test_wrong_options_are_one_line(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"train.patch.{next(iter(wrong))}"):
        replace(OPTIONS, **wrong)
