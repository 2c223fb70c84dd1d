"""Self-distillation as a whole: what it learns, what it takes for that, and that it resumes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.distil_pictures import (
    SHARE,
    WIDTH,
    kinds,
    mixed_bag,
    mixed_bags,
    mixed_side,
    patches_of,
    read_mixed,
)
from tests.training.patch_pictures import tiny_network
from wsikit.errors import CohortError, ConfigError, StoreError, WsikitError
from wsikit.heads.bag import Bag
from wsikit.heads.instance import InstanceHead
from wsikit.heads.instance_pool import InstancePool
from wsikit.training.bags.bags import BagDataset
from wsikit.training.distillation.data import DistilBatch
from wsikit.training.distillation.fit import Distillation, distil_features, distil_patches
from wsikit.training.distillation.module import DistilModule, Student
from wsikit.training.distillation.options import DistilOptions, FeatureSampling
from wsikit.training.distillation.views import FeatureViews, PixelViews
from wsikit.training.fits.fit import FitResult
from wsikit.training.metrics.metrics import auc
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitOptions

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN, VAL, HELD_OUT = range(16), range(100, 108), range(201, 231, 2)
OPTIONS = PatchFitOptions(
    epochs=3, lr=1e-2, weight_decay=0, patience=99, batch_size=16, device="cpu"
)
SETTINGS = Distillation(
    OPTIONS, DistilOptions(share=SHARE, epsilon=0.5, momentum=0.9, warm_up=0), InstancePool()
)


class Killed(BaseException):
    """Stands for a kill."""


def settings(epochs: int, seed: int = 0, **distil: object) -> Distillation:
    return replace(
        SETTINGS,
        options=replace(OPTIONS, epochs=epochs, seed=seed),
        distil=replace(SETTINGS.distil, **distil),
    )


def from_pixels(folder: Path, given=SETTINGS, network=None, train=None, val=None, progress=None):
    """Fit the tiny network; return it and how the fit went."""
    student = network or tiny_network("softmax", given.options.seed)
    result = distil_patches(
        student, train or mixed_side(TRAIN), val or mixed_side(VAL), given, PixelViews(),
        folder, folder / "encoder.safetensors", progress,
    )  # fmt: skip
    return student, result


def on_features(folder: Path, given=SETTINGS, train=None, val=None, progress=None):
    """Fit a linear layer on features; return it and how the fit went."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.options.seed)
        head = InstanceHead(WIDTH, 2)
    result = distil_features(
        head,
        mixed_bags(TRAIN) if train is None else train,
        mixed_bags(VAL) if val is None else val,
        given, FeatureViews(),
        folder, progress,
    )  # fmt: skip
    return head, result


FITS = {"pixels": from_pixels, "features": on_features}


def probabilities(model, slide_id: str) -> np.ndarray:
    """Score every patch of a slide."""
    if isinstance(model, InstanceHead):
        with torch.no_grad():
            return model.patch_logits(mixed_bag(slide_id).features).softmax(1)[:, 1].numpy()
    pictures = [read_mixed(slide_id, n).transpose(2, 0, 1) for n in range(patches_of(slide_id))]
    return model.probabilities(torch.from_numpy(np.stack(pictures)))[:, 1].numpy()


def found(model) -> tuple[float, float]:
    """Return patch AUC on unseen positive slides, and the share of positive patches called so."""
    truth = np.concatenate([kinds(str(n), patches_of(str(n))) for n in HELD_OUT])
    scores = np.concatenate([probabilities(model, str(n)) for n in HELD_OUT])
    return auc(truth.astype(int), np.stack([1 - scores, scores], axis=1)), (
        scores[truth] > 0.5
    ).mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_without_the_bank_training_collapses_and_with_it_it_does_not(
    tmp_path: Path, seed: int
) -> None:
    """Collapsed: the loss is all but zero, since all labels are, and no patch is positive."""
    learnt, result = from_pixels(tmp_path / "bank", settings(20, seed, share=0.35))
    patch_auc, called = found(learnt)
    assert patch_auc > 0.95
    assert called > 0.1
    assert result.best_epoch > 10
    assert last_losses(tmp_path / "bank")[0] > 0.4
    collapsed, result = from_pixels(tmp_path / "none", settings(20, seed, bank=False))
    assert found(collapsed)[1] == 0
    assert result.best_epoch < 10
    train_loss, cross_entropy = last_losses(tmp_path / "none")
    assert train_loss < 0.05
    assert cross_entropy > 2  # 0.7 is chance


def last_losses(folder: Path) -> tuple[float, float]:
    """Return the last epoch's training loss and cross-entropy of validation slides."""
    last = (folder / "history.csv").read_text().splitlines()[-1]
    _, train_loss, val_loss, val_auc = map(float, last.split(","))
    return train_loss, 100 * (val_loss - (1 - val_auc))


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_the_patches_from_labels_of_slides(tmp_path: Path, seed: int) -> None:
    head, result = on_features(tmp_path, settings(12, seed))
    patch_auc, called = found(head)
    assert patch_auc > 0.98
    assert called > 0.8
    assert result.val_auc == 1


def test_shuffled_labels_give_chance(tmp_path: Path) -> None:
    """As many slides of each kind in each class; what one draw teaches, the other unteaches."""
    aucs = []
    for seed in range(4):
        labels = [(n // 2 + seed) % 2 for n in TRAIN]
        val = mixed_bags(VAL, [0, 0, 1, 1] * 2)
        head, _ = on_features(
            tmp_path / f"{seed}", settings(4, seed), train=mixed_bags(TRAIN, labels), val=val
        )
        aucs.append(found(head)[0])
    assert 0.2 < np.mean(aucs) < 0.8


class Linear(torch.nn.Module):
    """Logits (0, w x + b), so that w x + b are the log odds."""

    def __init__(self, weight: float, bias: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))
        self.bias = torch.nn.Parameter(torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        odds = self.weight * x[:, 0] + self.bias
        return torch.stack([torch.zeros_like(odds), odds], dim=1)


def module_of(network: torch.nn.Module, epochs: int = 4, **distil: object) -> DistilModule:
    student = Student(network, lambda n, x: n(x), lambda x, _: x)
    given = settings(epochs, **distil)
    module = DistilModule(
        student, mixed_side(TRAIN).slides, mixed_side(VAL).slides, given.options, given.distil,
        given.pool,
    )  # fmt: skip
    module.log = lambda *_, **__: None
    return module


BATCH = DistilBatch(
    torch.tensor([[1.0], [-2.0], [0.5], [3.0], [0.0]]),
    torch.tensor([1, 0, 1, 3, 2]),
    torch.tensor([4, -1, 7, 30, -1]),
)


def test_the_loss_is_the_sum_of_both_cross_entropies() -> None:
    module = module_of(Linear(2.0, -1.0), share=0.3)
    loss = module.training_step(BATCH, 0)
    odds = torch.tensor([1.0, 0.0, 5.0], dtype=torch.float64)
    labels = torch.sigmoid((odds - odds.mean()) / module.bank.epsilon + module.bank.offset)
    assert labels.mean().item() == pytest.approx(0.3, abs=1e-6)
    learnt = -(labels * functional.logsigmoid(odds) + (1 - labels) * functional.logsigmoid(-odds))
    guided = -functional.logsigmoid(-torch.tensor([-5.0, -1.0], dtype=torch.float64))
    assert loss.item() == pytest.approx((learnt.mean() + guided.mean()).item(), rel=1e-5)
    np.testing.assert_allclose(module.bank.logits[[4, 7, 30]], [-1.0, -2.0, 3.0], rtol=1e-6)
    assert int((~module.bank.logits.isnan()).sum()) == 3


@pytest.mark.parametrize("warm_up", [1, 9])
def test_while_it_warms_up_every_label_is_the_share_and_the_bank_fills(warm_up: int) -> None:
    module = module_of(Linear(2.0, -1.0), share=0.3, warm_up=warm_up)
    loss = module.training_step(BATCH, 0)
    odds, labels = torch.tensor([1.0, 0.0, 5.0]), torch.full((3,), 0.3)
    learnt = functional.binary_cross_entropy_with_logits(odds, labels)
    guided = functional.softplus(torch.tensor([-5.0, -1.0])).mean()
    assert loss.item() == pytest.approx((learnt + guided).item(), rel=1e-5)
    np.testing.assert_allclose(module.bank.logits[[4, 7, 30]], [-1.0, -2.0, 3.0], rtol=1e-6)


def test_the_share_that_labels_the_warm_up_is_what_the_bank_gives_as_epsilon_grows() -> None:
    module = module_of(Linear(2.0, -1.0), share=0.3, epsilon=1000.0)
    positive = BATCH.positions >= 0
    labels = module._labels(BATCH.patches[positive], BATCH.positions[positive], torch.Generator())
    np.testing.assert_allclose(labels, 0.3, atol=2e-3)


def test_a_short_fit_is_warm_for_a_quarter_of_its_epochs_at_most() -> None:
    short = module_of(Linear(2.0, -1.0), epochs=3, share=0.3, warm_up=2)
    none = module_of(Linear(2.0, -1.0), epochs=3, share=0.3, warm_up=0)
    assert short.training_step(BATCH, 0) == none.training_step(BATCH, 0)


RARE, WIDE = 4, 256


@cache
def rare_bag(slide_id: str) -> Bag:
    """A hundred patches, of which `RARE` of an odd slide are shifted in 8 of many features."""
    number = int(slide_id)
    features = np.random.default_rng(number).normal(size=(100, WIDE)).astype(np.float32)
    features[: RARE * (number % 2), :8] += 2
    return Bag(torch.from_numpy(features), torch.zeros(100, 2, dtype=torch.int64))


def rare_bags(numbers: Sequence[int]) -> BagDataset:
    return BagDataset([str(n) for n in numbers], [n % 2 for n in numbers], rare_bag)


def rare_auc(folder: Path, seed: int, warm_up: int) -> float:
    """Return the patch AUC on unseen positive slides, after twenty epochs at most."""
    given = settings(20, seed, share=RARE / 100, momentum=0.99, warm_up=warm_up)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = InstanceHead(WIDE, 2)
    distil_features(head, rare_bags(range(24)), rare_bags(VAL), given, FeatureViews(), folder)
    with torch.no_grad():
        scores = [
            head.patch_logits(rare_bag(str(n)).features).softmax(1).numpy()
            for n in range(301, 321, 2)
        ]
    truth = np.tile(np.arange(100) < RARE, len(scores)).astype(int)
    found = auc(truth, np.concatenate(scores))
    assert found is not None
    return found


def test_rare_patches_are_found_sooner_after_a_warm_up(tmp_path: Path) -> None:
    """The first labels of a bank are a guess, which training keeps to."""
    cold, warm = (
        np.mean([rare_auc(tmp_path / f"{warm_up}-{seed}", seed, warm_up) for seed in range(3)])
        for warm_up in (0, 2)
    )
    assert warm > cold + 0.03
    assert warm > 0.8


def test_without_the_bank_labels_are_the_teachers_own() -> None:
    module = module_of(Linear(2.0, -1.0), bank=False)
    loss = module.training_step(BATCH, 0)
    odds = torch.tensor([1.0, 0.0, 5.0])
    learnt = functional.binary_cross_entropy_with_logits(odds, torch.sigmoid(odds))
    guided = functional.softplus(torch.tensor([-5.0, -1.0])).mean()
    assert loss.item() == pytest.approx((learnt + guided).item(), rel=1e-5)
    assert module.bank.logits.isnan().all()


@pytest.mark.parametrize("weight", [1e4, -1e4])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_confident_scores_are_no_trouble(weight: float, share: float) -> None:
    network = Linear(weight, 0.0)
    module = module_of(network, share=share, epsilon=0.01)
    module.training_step(BATCH, 0).backward()
    assert network.weight.grad.isfinite()
    assert network.bias.grad.isfinite()


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(WsikitError, match=r"not finite in epoch 1: lower train\.lr"):
        module_of(Linear(float("nan"), 0.0)).training_step(BATCH, 0)


def test_the_teacher_follows_every_step_and_the_bank_fills(tmp_path: Path) -> None:
    """Of one epoch in one step: the teacher is a tenth of the way to the student."""
    one = settings(1)
    one = replace(one, options=replace(one.options, batch_size=1000))
    kept = []

    def keep(*_: object) -> None:
        kept.append(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])

    start = tiny_network("softmax").state_dict()
    from_pixels(tmp_path, one, progress=keep)
    (state,) = kept
    for name, tensor in start.items():
        mean = 0.9 * tensor + 0.1 * state[f"student.{name}"]
        torch.testing.assert_close(state[f"teacher.network.{name}"], mean)
    assert state["bank.logits"].isfinite().all()
    assert len(state["bank.logits"]) == sum(patches_of(str(n)) for n in TRAIN if n % 2)


def checkpoints(folder: Path, kind: str, stop: int = 99) -> list[dict[str, torch.Tensor]]:
    """Fit, kill after epoch `stop`, and return what each epoch's checkpoint held."""
    held = []

    def keep(epoch: int, *_: object) -> None:
        held.append(torch.load(folder / "last.ckpt", weights_only=True)["state_dict"])
        if epoch == stop:
            raise Killed

    with suppress(Killed):
        FITS[kind](folder, progress=keep)
    return held


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_killed_after_an_epoch_it_ends_in_the_same_bytes(
    tmp_path: Path, kind: str, epoch: int
) -> None:
    """And bank, teacher and student are the same bit for bit after each epoch."""
    whole = checkpoints(tmp_path / "whole", kind)
    cut = checkpoints(tmp_path / "cut", kind, epoch) + checkpoints(tmp_path / "cut", kind)
    assert len(whole) == len(cut) == 3
    for one, other in zip(whole, cut, strict=True):
        assert {name.partition(".")[0] for name in one} == {"student", "teacher", "bank"}
        for name, tensor in one.items():
            assert torch.equal(tensor.nan_to_num(9e9), other[name].nan_to_num(9e9)), name
    assert_same_files(tmp_path / "cut", tmp_path / "whole")


def test_killed_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    left = [500]

    def fragile(slide_id: str, index: int):
        left[0] -= 1
        if not left[0]:
            raise Killed
        return read_mixed(slide_id, index)

    from_pixels(tmp_path / "whole")
    with pytest.raises(Killed):
        from_pixels(tmp_path / "cut", train=PatchSide(mixed_side(TRAIN).slides, fragile))
    assert (tmp_path / "cut" / "last.ckpt").exists()
    torch.rand(3)
    from_pixels(tmp_path / "cut")
    assert_same_files(tmp_path / "cut", tmp_path / "whole")


def assert_same_files(one: Path, other: Path) -> None:
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    for name in names - {"fit.json"}:  # which holds seconds
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("kind", FITS)
def test_the_best_epoch_is_chosen_by_slides(tmp_path: Path, kind: str) -> None:
    model, result = FITS[kind](tmp_path)
    slides = [probabilities(model, str(n)) for n in VAL]
    pooled = np.array([np.sort(p)[-max(1, round(0.1 * len(p))) :].mean() for p in slides])
    labels = np.array([n % 2 for n in VAL])
    loss = -np.log(np.where(labels == 1, pooled, 1 - pooled)).mean()
    in_order = (pooled[labels == 1][:, None] > pooled[labels == 0]).mean()
    assert result.val_auc == pytest.approx(in_order)
    assert result.val_loss == pytest.approx(1 - in_order + 0.01 * loss, rel=1e-4)


@pytest.mark.parametrize("kind", FITS)
def test_a_finished_fit_is_returned_and_another_is_refused(tmp_path: Path, kind: str) -> None:
    fit = FITS[kind]
    first: FitResult
    _, first = fit(tmp_path)
    model, again = fit(tmp_path)
    assert again == first
    assert not model.training
    with pytest.raises(StoreError, match="the head or the slides"):
        fit(tmp_path, settings(3, share=0.4))
    with pytest.raises(StoreError, match=r"other settings \(train.epochs\)"):
        fit(tmp_path, settings(4))


@pytest.mark.parametrize("kind", FITS)
def test_what_cannot_be_fitted(tmp_path: Path, kind: str) -> None:
    fit, make = FITS[kind], {"pixels": mixed_side, "features": mixed_bags}[kind]
    for train, words in (
        (make([1, 3]), "no negative slide"),
        (make([0, 2]), "no positive slide"),
        (make([]), "the train side of the split has no slide"),
    ):
        with pytest.raises(CohortError, match=words):
            fit(tmp_path, train=train)
    with pytest.raises(CohortError, match="the val side of the split has no slide"):
        fit(tmp_path, val=make([]))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("share", -0.1), ("share", 1.1), ("share", "half"), ("share", float("nan")),
        ("epsilon", 0), ("iterations", 0), ("iterations", 2.5), ("momentum", 1.5), ("bank", "no"),
        ("centred", 1),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{option} is "):
        DistilOptions(**{option: value})


@pytest.mark.parametrize(("option", "value"), [("batch_size", 0), ("per_slide", 0)])
def test_a_sample_of_nothing_is_refused(option: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 0"):
        FeatureSampling(**{option: value})
