from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import wsikit
from wsikit.errors import (
    CohortError,
    ConfigError,
    StoreError,
    UsageError,
    WeightsError,
    WsikitError,
)
from wsikit.heads.bag import Bag
from wsikit.training.bags.bags import BagDataset, EpochSampler
from wsikit.training.bags.predict import predict_bags
from wsikit.training.fits import fit as fit_file
from wsikit.training.fits.fit import FitOptions, FitResult, fit_head
from wsikit.training.fits.folder import FitFolder, load_weights
from wsikit.training.metrics.metrics import auc

OPTIONS = FitOptions(epochs=5, lr=1e-2, patience=5, device="cpu")
FINISHED = {"head.safetensors", "fit.json", "history.csv"}
TRAIN, VAL = range(18), range(100, 110)


class Killed(BaseException):
    """Stands for a kill: nothing below the test catches it on purpose."""


@pytest.fixture
def fit(tiny_head, make_bags, tmp_path):
    def run(name, options=OPTIONS, progress=None, head=None, **bags):
        train = bags.get("train") or make_bags(TRAIN)
        val = bags.get("val") or make_bags(VAL)
        return fit_head(head or tiny_head(), train, val, options, tmp_path / name, progress)

    return run


def weights(folder: Path) -> bytes:
    return (folder / "head.safetensors").read_bytes()


def test_what_a_finished_fit_leaves(fit, tiny_head, tmp_path, capfd):
    told = []
    head = tiny_head()
    result = fit("a", head=head, progress=lambda *what: told.append(what))
    folder = tmp_path / "a"
    names = {path.name for path in folder.rglob("*")}
    assert names == FINISHED
    assert capfd.readouterr() == ("", "")
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    assert rows[0] == ["epoch", "train_loss", "val_loss", "val_auc"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "5"]
    assert [(epoch, of) for epoch, of, _ in told] == [(n, 5) for n in range(1, 6)]
    assert [float(row[2]) for row in rows[1:]] == [metrics["val_loss"] for _, _, metrics in told]
    losses = [metrics["val_loss"] for _, _, metrics in told]
    assert result.val_loss == min(losses)
    assert result.best_epoch == 1 + losses.index(min(losses))
    summary = json.loads((folder / "fit.json").read_text())
    assert summary["best_epoch"] == result.best_epoch
    assert summary["options"]["lr"] == 1e-2
    assert str(tmp_path) not in (folder / "fit.json").read_text()
    for name, tensor in load_file(folder / "head.safetensors").items():
        assert torch.equal(tensor, head.state_dict()[name])
    assert not head.training


def test_the_kept_epoch_reproduces_its_measured_loss(fit, tiny_head, make_bags, tmp_path):
    """Score validation by hand with the saved head: the same loss and AUC as were reported."""
    result = fit("a")
    head = tiny_head(seed=5)
    load_weights(head, tmp_path / "a" / "head.safetensors")
    val = make_bags(VAL)
    found = list(
        predict_bags(head, lambda n: val[val.slide_ids.index(n)].bag, val.slide_ids, "cpu")
    )
    p = np.stack([item.probabilities for item in found])
    loss = -np.log(p[np.arange(len(p)), val.labels]).mean()
    assert loss == pytest.approx(result.val_loss, rel=1e-5)
    assert auc(val.labels, p) == result.val_auc


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(fit, tmp_path):
    fit("a")
    torch.rand(7)
    fit("b")
    fit("c", FitOptions(epochs=5, lr=1e-2, patience=5, device="cpu", seed=1))
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_the_global_random_state_is_left_alone(fit):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    fit("a", FitOptions(epochs=1, device="cpu"))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_killed_after_an_epoch(fit, tmp_path, epoch):
    def kill(now, *_):
        if now == epoch:
            raise Killed

    whole = fit("whole")
    with pytest.raises(Killed):
        fit("cut", progress=kill)
    assert (tmp_path / "cut" / "last.ckpt").exists()
    (tmp_path / "cut" / ".last.ckpt.77.part").write_bytes(b"half")
    told = []
    result = fit("cut", progress=lambda now, *_: told.append(now))
    assert told == list(range(epoch + 1, 6))
    assert_same(tmp_path, result, whole)


def assert_same(tmp_path, result: FitResult, whole: FitResult) -> None:
    assert result[:4] == whole[:4]
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    one, other = ((tmp_path / name / "history.csv").read_bytes() for name in ("cut", "whole"))
    assert one == other
    assert {path.name for path in (tmp_path / "cut").iterdir()} == FINISHED


def test_killed_in_the_middle_of_epochs_and_again_and_moved(fit, tiny_head, tmp_path):
    """Die in the first epoch, then in the third, then in validation; move the folder; go on."""
    whole = fit("whole")

    class Fragile(type(tiny_head())):
        left = 0

        def forward(self, bag: Bag):
            Fragile.left -= 1
            if Fragile.left == 0:
                raise Killed
            return super().forward(bag)

    Fragile.__name__ = "TinyHead"
    epoch = len(TRAIN) + len(VAL)
    for life in (7, 2 * epoch + 7, len(TRAIN) + 3):
        Fragile.left = life
        with pytest.raises(Killed):
            fit("first", head=Fragile())
    (tmp_path / "first").rename(tmp_path / "cut")
    assert_same(tmp_path, fit("cut"), whole)


@pytest.mark.parametrize("step", ["write_weights", "write_summary", "drop_checkpoint"])
def test_killed_while_finishing(fit, tmp_path, monkeypatch, step):
    whole = fit("whole")

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FitFolder, step, kill)
        with pytest.raises(Killed):
            fit("cut")
    monkeypatch.setattr(fit_file, "_train", lambda *_: pytest.fail("trained again"))
    assert_same(tmp_path, fit("cut"), whole)


def test_killed_after_the_stopping_rule_was_met(fit, make_bags, tmp_path):
    """Labels that cannot be learnt: validation gets worse, and the resumed fit must not go on."""
    bags = {
        "train": make_bags(range(12), [0, 1] * 6),
        "val": make_bags(range(12), [1, 0] * 6),
    }
    options = FitOptions(epochs=30, lr=3e-2, patience=2, device="cpu")
    whole = fit("whole", options, **bags)
    assert whole.epochs_run == whole.best_epoch + 2 < 30

    def kill(now, *_):
        if now == whole.epochs_run:
            raise Killed

    with pytest.raises(Killed):
        fit("cut", options, progress=kill, **bags)
    assert_same(tmp_path, fit("cut", options, **bags), whole)


def test_a_process_that_is_killed_outright(fit, tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "import warnings; warnings.simplefilter('error');"
        "from wsikit.training.fits.fit import FitOptions, fit_head; from conftest import *;"
        "kill = lambda now, *_: now == 2 and os.kill(os.getpid(), signal.SIGKILL);"
        "options = FitOptions(epochs=5, lr=1e-2, patience=5, device='cpu');"
        f"fit_head(TinyHead(), bags_of({TRAIN}), bags_of({VAL}), options, Path(sys.argv[2]), kill)"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parents[1]), str(tmp_path / "cut")]
    child = subprocess.run(
        command, cwd=Path(wsikit.__file__).parents[1], capture_output=True, check=False
    )
    assert (child.returncode, child.stdout, child.stderr) == (-signal.SIGKILL, b"", b"")
    whole = fit("whole")
    assert_same(tmp_path, fit("cut"), whole)


def test_bags_are_met_in_the_order_of_seed_and_epoch(fit, load):
    met = []

    class Watched(BagDataset):
        def __getitem__(self, index: int):
            met.append(index)
            return super().__getitem__(index)

    def kill(now, *_):
        if now == 2:
            raise Killed

    train = Watched([str(n) for n in TRAIN], [n % 2 for n in TRAIN], load)
    with pytest.raises(Killed):
        fit("a", train=train, progress=kill)
    fit("a", train=train)
    sampler, expected = EpochSampler(len(TRAIN), OPTIONS.seed), []
    for epoch in range(OPTIONS.epochs):
        sampler.set_epoch(epoch)
        expected += list(sampler)
    assert met[len(TRAIN) :] == expected  # the first pass is that of `standardise`


def test_three_classes(fit, tiny_head, make_bags):
    bags = {
        name: make_bags(side, [n % 3 for n in side])
        for name, side in (("train", TRAIN), ("val", VAL))
    }
    options = FitOptions(epochs=1, device="cpu", class_weights="none")
    result = fit("a", options, head=tiny_head(classes=3), **bags)
    assert 0 <= result.val_auc <= 1


@pytest.mark.parametrize("accumulate", [1, 4, 18])
@pytest.mark.parametrize("class_weights", ["balanced", "none"])
def test_a_step_is_the_mean_of_so_many_weighted_slides(
    fit, tiny_head, make_bags, tmp_path, accumulate, class_weights
):
    """Take an epoch's steps by hand; slides left over at its end make a smaller step."""
    labels = [int(n % 3 == 0) for n in TRAIN]
    train, val = make_bags(TRAIN, labels), make_bags(VAL)
    options = FitOptions(
        epochs=1, lr=1e-2, accumulate=accumulate, class_weights=class_weights, device="cpu"
    )
    heads = [tiny_head(), tiny_head()]
    for head in heads:
        head.drop.p = 0.0
    fit("a", options, head=heads[0], train=train, val=val)
    head = heads[1].train()
    head.standardise.fit([train[n].bag.features for n in range(len(train))])
    count = [labels.count(0), labels.count(1)]
    weights = [len(labels) / (2 * n) if class_weights == "balanced" else 1.0 for n in count]
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2, weight_decay=options.weight_decay)
    sampler = EpochSampler(len(train), options.seed)
    sampler.set_epoch(0)
    order = list(sampler)
    for start in range(0, len(order), accumulate):
        optimiser.zero_grad()
        for n in order[start : start + accumulate]:
            loss = head.training_loss(train[n].bag, torch.tensor(labels[n])) * weights[labels[n]]
            (loss / accumulate).backward()
        optimiser.step()
    found = load_file(tmp_path / "a" / "head.safetensors")
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_finished_fit_is_returned_without_training(fit, tiny_head, tmp_path, monkeypatch):
    first = fit("a")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    monkeypatch.setattr(fit_file, "_train", lambda *_: pytest.fail("trained again"))
    head = tiny_head(seed=4)
    assert fit("a", head=head) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == times
    for name, tensor in load_file(tmp_path / "a" / "head.safetensors").items():
        assert torch.equal(tensor, head.state_dict()[name])


def test_another_recipe_is_refused_and_another_device_is_not(fit, make_bags, tiny_head):
    fit("a")
    with pytest.raises(StoreError, match=r"other settings \(train.lr, train.seed\)"):
        fit("a", FitOptions(epochs=5, lr=1e-3, patience=5, seed=2))
    with pytest.raises(StoreError, match="the head or the slides"):
        fit("a", val=make_bags(range(200, 204)))
    with pytest.raises(StoreError, match="the head or the slides"):
        fit("a", head=tiny_head(classes=3))
    fit("a", FitOptions(epochs=5, lr=1e-2, patience=5, device="auto"))

    def kill(*_):
        raise Killed

    with pytest.raises(Killed):
        fit("b", progress=kill)
    with pytest.raises(StoreError, match=r"train.accumulate"):
        fit("b", FitOptions(epochs=5, lr=1e-2, patience=5, accumulate=2, device="cpu"))


class Evil:
    def __reduce__(self):
        return (Path("pwned").touch, ())


@pytest.mark.parametrize("content", ["pickle", "garbage", "cut", "foreign"])
def test_a_checkpoint_that_cannot_be_trusted(fit, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a" / "last.ckpt"
    file.parent.mkdir()
    torch.save({"pickle": {"callbacks": Evil()}}.get(content, {"callbacks": {}}), file)
    if content == "garbage":
        file.write_bytes(b"\x80\x04 not a checkpoint")
    if content == "cut":
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(StoreError, match=r"last.ckpt.*delete it"):
        fit("a")
    assert not Path("pwned").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": 1, "options": 2}'])
def test_a_summary_that_is_not_one(fit, tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "fit.json").write_text(text)
    with pytest.raises(StoreError, match=r"fit.json"):
        fit("a")


def test_weights_that_are_missing_damaged_or_of_another_head(fit, tiny_head, tmp_path):
    fit("a", FitOptions(epochs=1, device="cpu"))
    file = tmp_path / "a" / "head.safetensors"
    with pytest.raises(WeightsError, match="another head"):
        load_weights(tiny_head(classes=3), file)
    file.write_bytes(b"12345678 nothing")
    with pytest.raises(WeightsError, match="not a readable"):
        load_weights(tiny_head(), file)
    with pytest.raises(WeightsError, match="missing"):
        load_weights(tiny_head(), tmp_path / "none")


def test_standardise_sees_the_training_bags_only_and_once(fit, tiny_head, make_bags, tmp_path):
    def kill(*_):
        raise Killed

    expected = torch.cat([make_bags(TRAIN)[n].bag.features for n in range(len(TRAIN))]).mean(0)
    head = tiny_head()
    with pytest.raises(Killed):
        fit("a", head=head, progress=kill)
    assert head.standardise.fitted_on == len(TRAIN)
    resumed = tiny_head()
    fit("a", head=resumed)
    assert resumed.standardise.fitted_on == 0
    assert torch.equal(resumed.standardise.mean, expected)


def test_validation_of_a_single_class(fit, make_bags, tmp_path):
    result = fit("a", FitOptions(epochs=2, device="cpu"), val=make_bags([100, 102, 104]))
    assert result.val_auc is None
    assert (tmp_path / "a" / "history.csv").read_text().splitlines()[1].endswith(",")


def test_a_loss_that_is_not_finite_names_slide_and_epoch(fit, load):
    def broken(slide_id: str) -> Bag:
        bag = load(slide_id)
        return Bag(bag.features * (float("inf") if slide_id == "3" else 1), bag.rowcol)

    train = BagDataset([str(n) for n in TRAIN], [n % 2 for n in TRAIN], broken)
    with pytest.raises(WsikitError, match=r"slide '\d+' is not finite in epoch 1.*lower train.lr"):
        fit("a", train=train)


def test_an_error_in_a_bag_comes_through(fit, tmp_path):
    def missing(slide_id: str) -> Bag:
        raise UsageError(f"slide '{slide_id}' has no features")

    with pytest.raises(UsageError, match="has no features"):
        fit("a", val=BagDataset(["x"], [0], missing))
    assert not (tmp_path / "a" / "fit.json").exists()


def test_ctrl_c_is_a_keyboard_interrupt_and_stays_possible(fit):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit("a", progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before


def test_slurm_variables_do_not_make_it_a_cluster_job(fit, monkeypatch):
    for name, value in {"NTASKS": "4", "PROCID": "0", "LOCALID": "0", "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert fit("a", FitOptions(epochs=1, device="cpu")).epochs_run == 1


def test_sides_and_classes_are_checked(fit, make_bags, tmp_path):
    with pytest.raises(CohortError, match="the val side"):
        fit_head(None, make_bags(TRAIN), make_bags([]), OPTIONS, tmp_path)
    with pytest.raises(WsikitError, match="class number 1 has no training slide"):
        fit("a", train=make_bags([0, 2, 4]))
    with pytest.raises(ConfigError, match="needs a GPU"):
        fit("b", FitOptions(precision="16-mixed", device="cpu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "train.epochs is 0"),
        ({"accumulate": 0}, "train.accumulate"),
        ({"patience": -1}, "train.patience"),
        ({"lr": 0.0}, "train.lr"),
        ({"lr": float("nan")}, "train.lr"),
        ({"weight_decay": -1.0}, "train.weight_decay"),
        ({"seed": -1}, "train.seed"),
        ({"class_weights": "balance"}, "did you mean 'balanced'"),
        ({"precision": "16"}, "train.precision"),
        ({"device": "gpu"}, "unknown word 'gpu'"),
    ],
)
def test_options_are_checked_when_made(change, message):
    with pytest.raises(ConfigError, match=message):
        FitOptions(**change)


def test_bf16_runs_on_a_cpu(fit):
    result = fit("a", FitOptions(epochs=1, precision="bf16-mixed", device="cpu"))
    assert result.epochs_run == 1


def held_out_auc(tiny_head, make_bags, folder: Path, seed: int, shuffled: bool) -> float:
    rng = np.random.default_rng(seed)
    start = 1000 * (seed + 1)
    sides = [
        range(start, start + 40),
        range(start + 40, start + 60),
        range(start + 60, start + 300),
    ]
    labels = [[n % 2 for n in side] for side in sides]
    if shuffled:
        labels = [list(rng.permutation(part)) for part in labels]
    train, val, test = (make_bags(n, y) for n, y in zip(sides, labels, strict=True))
    head = tiny_head(seed)
    fit_head(
        head,
        train,
        val,
        FitOptions(epochs=10, lr=3e-2, accumulate=2, device="cpu", seed=seed),
        folder,
    )
    load = dict(zip(test.slide_ids, (test[n].bag for n in range(len(test))), strict=True))
    found = predict_bags(head, load.__getitem__, test.slide_ids, "cpu")
    return auc(test.labels, np.stack([item.probabilities for item in found]))


def test_it_learns_what_is_there_and_not_what_is_not(tiny_head, make_bags, tmp_path):
    real, chance = (
        [held_out_auc(tiny_head, make_bags, tmp_path / f"{s}{n}", n, s) for n in range(3)]
        for s in (False, True)
    )
    assert min(real) > 0.9
    # Three test sides of 120 + 120 unrelated ranks: the standard error of the mean is 0.022.
    assert np.mean(chance) == pytest.approx(0.5, abs=0.12)
