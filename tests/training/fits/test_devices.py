"""Several processes train as one does: on a processor here, one a GPU where there are some."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from wsikit.errors import ConfigError, UsageError, WsikitError
from wsikit.heads.bag import Bag
from wsikit.heads.registry import build_head
from wsikit.training.bags.bags import BagDataset, EpochSampler
from wsikit.training.bags.share import Share, ShareSampler
from wsikit.training.fits import fit as fit_file
from wsikit.training.fits.fit import FitOptions, fit_device, fit_head
from wsikit.training.fits.processes import run_together

WIDTH = 6
TRAIN, VAL = 13, 7  # neither can be dealt out evenly


def load_bag(slide_id: str) -> Bag:
    generator = torch.Generator().manual_seed(int(slide_id))
    features = torch.randn(9 + int(slide_id) % 5, WIDTH, generator=generator)
    features[:4] += 1.5 * (int(slide_id) % 2)
    return Bag(features, torch.zeros(len(features), 2, dtype=torch.int64))


def broken_bag(slide_id: str) -> Bag:
    if slide_id == "3":
        raise UsageError("slide '3' has no features", "extract them")
    return load_bag(slide_id)


def side(numbers, load=load_bag) -> BagDataset:
    return BagDataset([str(n) for n in numbers], [n % 2 for n in numbers], load)


def fit(folder: Path, devices: int, progress=None, load=load_bag, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = build_head("abmil", WIDTH, 2, dropout=0.25)
    settings = {"epochs": 3, "lr": 1e-2, "accumulate": 4, **options}
    return fit_head(
        head, side(range(TRAIN), load), side(range(100, 100 + VAL)),
        FitOptions(devices=devices, device="cpu", **settings), folder, progress,
    )  # fmt: skip


def rows(folder: Path) -> np.ndarray:
    return np.genfromtxt(folder / "history.csv", delimiter=",", skip_header=1)


@pytest.mark.slow
def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    """The same bags in each step, dropout too; 13 and 7 bags, so that one process has one more."""
    one = fit(tmp_path / "one", 1)
    told = []
    two = fit(tmp_path / "two", 2, lambda *what: told.append(what))
    np.testing.assert_allclose(rows(tmp_path / "two"), rows(tmp_path / "one"), rtol=2e-4)
    assert [(epoch, of) for epoch, of, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert (two.best_epoch, two.epochs_run, two.val_auc) == (
        one.best_epoch, one.epochs_run, one.val_auc,
    )  # fmt: skip
    found, expected = (load_file(tmp_path / n / "head.safetensors") for n in ("two", "one"))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        "head.safetensors", "fit.json", "history.csv",
    }  # fmt: skip
    assert fit(tmp_path / "two", 1) == two  # finished is finished, wherever it ran


@pytest.mark.slow
def test_begun_by_two_it_is_ended_by_one(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(epoch, *_):
        if epoch == 1:
            raise Killed

    with pytest.raises(Killed):
        fit(tmp_path / "cut", 2, kill, epochs=40, patience=40)
    assert (tmp_path / "cut" / "last.ckpt").exists()
    begun = len(np.atleast_2d(rows(tmp_path / "cut")))
    assert begun < 40
    result = fit(tmp_path / "cut", 1, epochs=40, patience=40)
    whole = fit(tmp_path / "whole", 1, epochs=40, patience=40)
    assert result.val_loss == pytest.approx(whole.val_loss, rel=1e-2)


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="slide '3' has no features: extract them"):
        run_together(2, partial(_fail, 1), None)
    with pytest.raises(WsikitError, match=r"training process 2 of 2 ended .*SIGKILL.*continues"):
        run_together(2, partial(_die, 1), None)


def _fail(rank: int, share: Share, tell) -> None:
    if share.rank == rank:
        broken_bag("3")
    signal.pause()


def _die(rank: int, share: Share, tell) -> None:
    if share.rank == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@pytest.mark.parametrize("bags", [1, 6, 7])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_are_the_order_dealt_out(bags: int, count: int) -> None:
    order = EpochSampler(bags, seed=4)
    order.set_epoch(2)
    whole = list(order)
    samplers = [ShareSampler(EpochSampler(bags, 4), bags, Share(r, count)) for r in range(count)]
    for sampler in samplers:
        sampler.set_epoch(2)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])} == {-(-bags // count)}
    dealt = [index for step in zip(*shares, strict=True) for index in step]
    assert dealt[:bags] == whole
    assert set(dealt[bags:]) <= {whole[-1]}


def test_bags_that_cannot_be_shared_and_gpus_that_are_not_there(monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"accumulate is 4, which 3 devices.*a multiple of 3"):
        FitOptions(devices=3)
    with pytest.raises(ConfigError, match=r"train.devices is 0"):
        FitOptions(devices=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="2 devices were asked for, and torch sees 1"):
        fit_device(FitOptions(devices=2, device="cuda"))


def test_one_device_starts_no_process(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fit_file, "run_together", lambda *_: pytest.fail("a process was started"))
    fit(tmp_path, 1, epochs=1)
