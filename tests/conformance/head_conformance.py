"""What every head must do, whatever it computes: inherit, and give a fixture `build`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wsikit.errors import ConfigError, WsikitError
from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.standardise import Standardise

FEATURES = 12
CLASSES = 3


def ring_bag(count: int, seed: int = 0) -> Bag:
    """A bag whose patches lie in a grid 3 wide and whose graph is a ring."""
    generator = torch.Generator().manual_seed(seed)
    number = torch.arange(count)
    pairs = {(i, (i + step) % count) for i in range(count) for step in (1, -1) if count > 1}
    edges = torch.tensor(sorted(pairs), dtype=torch.int64).reshape(-1, 2).T
    features = torch.randn(count, FEATURES, generator=generator)
    return Bag(features, torch.stack([number // 3, number % 3], dim=1), edges)


class HeadConformance:
    """The suite; `build(in_features, classes)` makes the head under test with its defaults."""

    @pytest.fixture
    def build(self) -> Callable[[int, int], Head]:
        raise NotImplementedError

    @pytest.fixture
    def head(self, build: Callable[[int, int], Head]) -> Head:
        torch.manual_seed(0)
        return build(FEATURES, CLASSES).eval()

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_shapes(self, head: Head, count: int) -> None:
        scores = head(ring_bag(count))
        assert isinstance(scores, BagScores)
        assert scores.logits.shape == (CLASSES,)
        if scores.patch_logits is not None:
            assert scores.patch_logits.shape == (count, CLASSES)
        if scores.attention is not None:
            assert scores.attention.shape == (count,)
        for part in given(scores):
            assert part.dtype == torch.float32
            assert part.isfinite().all()

    @pytest.mark.parametrize("count", [1, 2, 50])
    def test_attention_is_a_share(self, head: Head, count: int) -> None:
        attention = head(ring_bag(count)).attention
        if attention is None:
            pytest.skip("this head pools without shares")
        assert (attention >= 0).all()
        assert attention.sum().item() == pytest.approx(1, abs=1e-5)

    def test_says_what_a_patch_score_means(self, head: Head) -> None:
        scores = head(ring_bag(5))
        if scores.patch_logits is not None:
            meaning = "probability"
        else:
            meaning = None if scores.attention is None else "attention"
        assert type(head).score_kind == meaning

    def test_order_of_patches_does_not_matter(self, head: Head) -> None:
        bag = ring_bag(11)
        order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
        assert bag.edge_index is not None
        moved = Bag(bag.features[order], bag.rowcol[order], order.argsort()[bag.edge_index])
        with torch.no_grad():
            here, there = head(bag), head(moved)
        torch.testing.assert_close(there.logits, here.logits, rtol=1e-4, atol=1e-5)
        for patches, same in zip(given(here)[1:], given(there)[1:], strict=True):
            torch.testing.assert_close(same, patches[order], rtol=1e-4, atol=1e-5)

    def test_training_loss_is_one_finite_number(self, head: Head) -> None:
        for count in (1, 2, 30):
            loss = head.training_loss(ring_bag(count), torch.tensor(1))
            assert loss.shape == ()
            assert loss.isfinite()

    def test_every_parameter_learns(self, head: Head) -> None:
        # In evaluation mode, so that dropout cannot silence one; over all classes, as a head may
        # have parts for each.
        for label in range(CLASSES):
            head.training_loss(ring_bag(30), torch.tensor(label)).backward()
        silent = [
            name
            for name, parameter in head.named_parameters()
            if parameter.grad is None or parameter.grad.abs().max() < 1e-9
        ]
        assert silent == []

    def test_nothing_grows_with_the_square_of_the_bag(self, head: Head) -> None:
        # Of twice the patches, the largest tensor would be four times as large.
        small, large = (largest_tensor(head, ring_bag(count)) for count in (1500, 3000))
        assert large < 3 * small

    def test_evaluation_is_deterministic(self, head: Head) -> None:
        bag = ring_bag(40)
        with torch.no_grad():
            for first, second in zip(given(head(bag)), given(head(bag)), strict=True):
                assert torch.equal(first, second)

    def test_training_draws_where_there_is_dropout(self, head: Head) -> None:
        head.train()
        bag = ring_bag(40)
        drops = any(isinstance(part, nn.Dropout) and part.p > 0 for part in head.modules())
        assert torch.equal(head(bag).logits, head(bag).logits) != drops

    def test_saved_and_loaded_it_scores_the_same(
        self, head: Head, build: Callable[[int, int], Head]
    ) -> None:
        bag = ring_bag(9)
        fit(head, [ring_bag(20, seed).features * 5 + 3 for seed in range(3)])
        copy = build(FEATURES, CLASSES).eval()
        copy.load_state_dict(head.state_dict())
        with torch.no_grad():
            assert torch.equal(copy(bag).logits, head(bag).logits)

    def test_the_scale_of_features_does_not_matter(self, head: Head) -> None:
        bags = [ring_bag(20, seed) for seed in range(4)]
        fit(head, [bag.features for bag in bags])
        with torch.no_grad():
            before = head(bags[0]).logits
        scale = torch.logspace(-3, 3, FEATURES)
        other = [Bag(bag.features * scale + 10 * scale, bag.rowcol, bag.edge_index) for bag in bags]
        fit(head, [bag.features for bag in other])
        with torch.no_grad():
            torch.testing.assert_close(head(other[0]).logits, before, rtol=1e-3, atol=1e-4)

    def test_the_graph_is_asked_for_where_it_is_used(self, head: Head) -> None:
        bag = ring_bag(8)
        bare = Bag(bag.features, bag.rowcol)
        if type(head).needs_graph:
            with pytest.raises(WsikitError, match="graph"):
                head(bare)
        else:
            assert torch.equal(head(bare).logits, head(bag).logits)

    def test_features_as_a_store_has_them_score_the_same(self, head: Head) -> None:
        bag = ring_bag(9)
        half = replace(bag, features=bag.features.half())
        fit(head, [half.features])
        torch.manual_seed(0)  # a head may draw, as Nystrom attention's padding
        scores = given(head.eval()(half))
        torch.manual_seed(0)
        wide = given(head(replace(half, features=half.features.float())))
        for one, other in zip(scores, wide, strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)

    def test_the_bag_is_left_alone(self, head: Head) -> None:
        bag, same = ring_bag(8), ring_bag(8)
        head(bag)
        assert torch.equal(bag.features, same.features)
        assert torch.equal(bag.rowcol, same.rowcol)

    @pytest.mark.parametrize("classes", [0, 1])
    def test_one_class_is_no_choice(self, build: Callable[[int, int], Head], classes: int) -> None:
        with pytest.raises(ConfigError, match="classes"):
            build(FEATURES, classes)

    def test_gpu_agrees(self, head: Head) -> None:
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        bag = ring_bag(30)
        with torch.no_grad():
            here, there = head(bag), head.to("cuda")(bag.to("cuda"))
        np.testing.assert_allclose(there.logits.cpu(), here.logits, rtol=1e-3, atol=1e-4)


def given(scores: BagScores) -> list[torch.Tensor]:
    """The scores there are; the slide's come first."""
    return [part for part in scores if part is not None]


class Largest(TorchDispatchMode):
    """Remember the size of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        sizes = [numbers(part) for part in tree_leaves(made) if isinstance(part, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return made


def numbers(tensor: torch.Tensor) -> int:
    """Count what a tensor holds; a sparse one says the size of a dense one."""
    return int(tensor._nnz()) if tensor.is_sparse else tensor.numel()


def largest_tensor(head: Head, bag: Bag) -> int:
    """Count the numbers in the largest tensor that training on a bag makes."""
    with Largest() as seen:
        head.training_loss(bag, torch.tensor(1)).backward()
    return seen.numbers


def fit(head: Head, features: list[torch.Tensor]) -> None:
    """Fit the head's standardisation as training does."""
    standardise = head.standardise
    assert isinstance(standardise, Standardise)
    standardise.fit(features)
