from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.training.patch_pictures import read_patch, side_of, tiny_encoder, tiny_network
from wsikit.encoders.network import encoder_id
from wsikit.errors import CohortError, ConfigError, StoreError, WeightsError, WsikitError
from wsikit.heads.am_softmax_classifier import build_patch_classifier
from wsikit.training.fits.folder import load_weights
from wsikit.training.metrics.metrics import auc
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitOptions, fit_patches
from wsikit.training.patches.module import PatchModule
from wsikit.training.patches.plan import PatchSlide

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = PatchFitOptions(epochs=4, lr=1e-2, patience=4, batch_size=16, device="cpu")
TRAIN, VAL = range(6), range(20, 24)
FINISHED = {"head.safetensors", "fit.json", "history.csv", "encoder.safetensors"}


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def fit(tmp_path):
    def run(name, options=OPTIONS, progress=None, network=None, train=None, val=None):
        folder = tmp_path / name
        return fit_patches(
            network or tiny_network(), train or side_of(TRAIN), val or side_of(VAL), options,
            folder, folder / "encoder.safetensors", progress,
        )  # fmt: skip

    return run


def held_out_auc(network, numbers=range(40, 52)) -> float:
    pixels = [read_patch(str(n), i).transpose(2, 0, 1) for n in numbers for i in range(6)]
    scores = network.probabilities(torch.from_numpy(np.stack(pixels)))
    return auc([n % 2 for n in numbers for _ in range(6)], scores.numpy())


@pytest.mark.parametrize("method", ["am-softmax", "softmax"])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_what_tells_slides_apart(fit, method: str, seed: int) -> None:
    network = tiny_network(method, seed)
    before = held_out_auc(network)
    options = PatchFitOptions(
        epochs=12, lr=1e-2, patience=12, batch_size=16, seed=seed, device="cpu"
    )
    result = fit("a", options, network=network, train=side_of(range(12)))
    assert held_out_auc(network) > max(0.95, before)
    assert result.val_auc > 0.9


def test_shuffled_labels_give_chance(fit) -> None:
    """Labels dealt out against what tells the slides apart: as many of each kind in each class."""
    found = []
    for seed in range(3):
        network = tiny_network(seed=seed)
        numbers = range(12)
        labels = [(n // 2 + seed) % 2 for n in numbers]
        options = PatchFitOptions(
            epochs=4, lr=1e-2, patience=4, batch_size=16, seed=seed, device="cpu"
        )
        val = side_of(range(20, 28), labels=[0, 0, 1, 1] * 2)
        fit(f"{seed}", options, network=network, train=side_of(numbers, labels=labels), val=val)
        found.append(held_out_auc(network, range(40, 64)))
    assert 0.25 < np.mean(found) < 0.75


def test_what_a_finished_fit_leaves(fit, tmp_path, capfd) -> None:
    told = []
    network = tiny_network()
    result = fit("a", network=network, progress=lambda *what: told.append(what))
    assert {path.name for path in (tmp_path / "a").iterdir()} == FINISHED
    assert capfd.readouterr() == ("", "")
    assert [epoch for epoch, _, _ in told] == [1, 2, 3, 4]
    losses = [metrics["val_loss"] for _, _, metrics in told]
    assert result.best_epoch == 1 + losses.index(min(losses))
    assert not network.training
    summary = json.loads((tmp_path / "a" / "fit.json").read_text())
    assert summary["options"]["batch_size"] == 16
    assert str(tmp_path) not in (tmp_path / "a" / "fit.json").read_text()


def test_the_files_are_the_best_epochs_network(fit, tmp_path) -> None:
    """Score validation by hand with what lies on disk: the loss that chose the epoch."""
    result = fit("a")
    encoder, classifier = tiny_encoder(5), build_patch_classifier("am-softmax", 12, 2)
    load_weights(encoder.backbone, tmp_path / "a" / "encoder.safetensors")
    load_weights(classifier, tmp_path / "a" / "head.safetensors")
    losses, labels = [], []
    for slide in side_of(VAL).slides:
        patches = np.stack([read_patch(slide.slide_id, i) for i in range(slide.patches)])
        with torch.no_grad():
            features = encoder(torch.from_numpy(patches.transpose(0, 3, 1, 2).copy())).double()
            rows = classifier.cosines.weight.double()
            lengths = features.norm(dim=1, keepdim=True) * rows.norm(dim=1)
            cosines = (features @ rows.T / lengths).numpy()
        true, other = 30 * (cosines[:, slide.label] - 0.35), 30 * cosines[:, 1 - slide.label]
        losses.append(np.logaddexp(0, other - true))
        labels.append(np.full(slide.patches, slide.label))
    shown = [sum(s.patches for s in side_of(TRAIN).slides if s.label == c) for c in (0, 1)]
    weights = (sum(shown) / 2 / np.array(shown))[np.concatenate(labels)]
    assert (weights * np.concatenate(losses)).mean() == pytest.approx(result.val_loss, rel=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(fit, tmp_path) -> None:
    fit("a")
    torch.rand(7)
    fit("b")
    fit("c", PatchFitOptions(epochs=4, lr=1e-2, patience=4, batch_size=16, seed=1, device="cpu"))
    one, same, other = ((tmp_path / n / "encoder.safetensors").read_bytes() for n in "abc")
    assert one == same != other


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_killed_after_an_epoch_it_ends_as_undisturbed(fit, tmp_path, epoch: int) -> None:
    def kill(now, *_):
        if now == epoch:
            raise Killed

    whole = fit("whole")
    with pytest.raises(Killed):
        fit("cut", progress=kill)
    told = []
    result = fit("cut", progress=lambda now, *_: told.append(now))
    assert told == list(range(epoch + 1, 5))
    assert_same(tmp_path, result, whole)


def test_killed_in_the_middle_of_an_epoch(fit, tmp_path) -> None:
    whole = fit("whole")
    left = [2 * (70 + 50) + 30]

    def fragile(slide_id: str, index: int):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return read_patch(slide_id, index)

    with pytest.raises(Killed):
        fit("cut", train=PatchSide(side_of(TRAIN).slides, fragile))
    assert_same(tmp_path, fit("cut"), whole)


@pytest.mark.parametrize("step", ["write_weights", "write_summary", "drop_checkpoint"])
def test_killed_while_finishing(fit, tmp_path, monkeypatch, step: str) -> None:
    whole = fit("whole")

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"wsikit.training.patches.fit.PatchFitFolder.{step}", kill)
        with pytest.raises(Killed):
            fit("cut")
    assert_same(tmp_path, fit("cut"), whole)


def assert_same(tmp_path, result, whole) -> None:
    assert result[:4] == whole[:4]
    for name in ("head.safetensors", "encoder.safetensors", "history.csv"):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in ("cut", "whole"))
        assert one == other
    assert {path.name for path in (tmp_path / "cut").iterdir()} == FINISHED


def test_a_finished_fit_is_returned_without_training(fit, monkeypatch) -> None:
    first = fit("a")
    monkeypatch.setattr(
        "wsikit.training.patches.fit._train", lambda *_: pytest.fail("trained again")
    )
    network = tiny_network()
    assert fit("a", network=network) == first
    kept = tiny_network()
    fit("a", network=kept)
    assert encoder_id(kept.encoder) == encoder_id(network.encoder)
    assert encoder_id(network.encoder) != encoder_id(tiny_encoder())


def test_another_recipe_is_refused(fit, tmp_path) -> None:
    fit("a")
    with pytest.raises(StoreError, match=r"other settings \(train.per_slide\)"):
        fit("a", PatchFitOptions(epochs=4, lr=1e-2, patience=4, batch_size=16, per_slide=5))
    wider = tiny_network()
    wider.classifier.m = 0.5
    for other in (
        dict(network=wider),
        dict(network=tiny_network("softmax")),
        dict(network=tiny_network(seed=3)),
        dict(val=side_of(range(30, 34))),
    ):
        with pytest.raises(StoreError, match="the head or the slides"):
            fit("a", **other)
    (tmp_path / "a" / "encoder.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"encoder.safetensors is missing"):
        fit("a")


def test_classes_count_alike_however_many_patches_they_have(fit, monkeypatch) -> None:
    """Weights times patches shown is the same for both classes, and is what the module gets."""
    slides = tuple(PatchSlide(str(n), n % 2, 30 if n % 2 else 3) for n in range(8))
    given = []
    monkeypatch.setattr("wsikit.training.patches.module.PatchModule.__init__", _noted(given))
    for weights in ("balanced", "none"):
        options = PatchFitOptions(
            epochs=1, batch_size=200, class_weights=weights, per_slide=9, device="cpu"
        )
        fit(weights, options, train=PatchSide(slides, read_patch))
    balanced, none = given
    assert balanced[0] * 4 * 3 == pytest.approx(balanced[1] * 4 * 9)
    assert balanced[0] * 12 + balanced[1] * 36 == pytest.approx(48)
    assert none == [1.0, 1.0]


def _noted(given: list):
    real = PatchModule.__init__

    def init(self, network, optimiser, class_weights, *others):
        given.append(class_weights)
        real(self, network, optimiser, class_weights, *others)

    return init


def test_three_classes_and_a_limit(fit, tmp_path) -> None:
    sides = {
        "train": side_of(range(6), labels=[0, 1, 2] * 2),
        "val": side_of(range(20, 23), labels=[0, 1, 2]),
    }
    options = PatchFitOptions(epochs=2, batch_size=16, per_slide=4, device="cpu")

    def kill(*_) -> None:
        raise Killed

    whole = fit("whole", options, network=tiny_network(classes=3), **sides)
    assert 0 <= whole.val_auc <= 1
    with pytest.raises(Killed):
        fit("cut", options, kill, network=tiny_network(classes=3), **sides)
    assert_same(tmp_path, fit("cut", options, network=tiny_network(classes=3), **sides), whole)


def test_what_cannot_be_fitted(fit) -> None:
    with pytest.raises(CohortError, match="the val side of the split has no slide"):
        fit("a", val=PatchSide((), read_patch))
    with pytest.raises(CohortError, match="class number 0 has no training slide"):
        fit("b", train=side_of([1, 3]))
    with pytest.raises(ConfigError, match=r"train.patch.batch_size is 0"):
        PatchFitOptions(batch_size=0)
    with pytest.raises(ConfigError, match=r"train.patch.per_slide is 0"):
        PatchFitOptions(per_slide=0)
    network = tiny_network()
    with torch.no_grad():
        network.encoder.backbone[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(WsikitError, match=r"patch of slide '\d+' is not finite in epoch 1"):
        fit("c", network=network)
