from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.conformance.head_conformance import FEATURES, fit, given, largest_tensor, ring_bag
from wsikit.errors import ConfigError, SlideError, UsageError
from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.registry import HEADS, build_head, head_options
from wsikit.heads.torchmil_head import LARGEST, MODELS, normalised_adjacency, torchmil_head

models = pytest.importorskip("torchmil.models")

SMALLER = {"att_dim": 16, "transf_att_dim": 16, "nystrom_att_dim": 16, "n_clusters": 4}
FEWER = {"n_samples_train": 4, "n_samples_test": 4}
DRAWS = {"DTFDMIL", "VAEABMIL", *(name for name in MODELS if "Prob" in name)}
"""Models that draw at random in training without any dropout."""
ORDER_MATTERS = {"DTFDMIL", "DeepGraphSurv", "TransMIL"}
UNTAUGHT = {
    "CAMIL": "norm2",
    "GTP": "in_proj",
    "IIBMIL": "norm2|feat_proj",
    "SETMIL": "lookup_table",
    "TransMIL": "norm2",
}
"""Parameters that no gradient reaches in torchmil 1.0.2."""


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def head(name: str) -> Head:
    torch.manual_seed(0)
    known = head_options(f"torchmil:{name}")
    options = {key: value for key, value in {**SMALLER, **FEWER}.items() if key in known}
    return build_head(f"torchmil:{name}", FEATURES, 2, **options).eval()


def test_every_model_is_known() -> None:
    classes = {
        name
        for name, value in vars(models).items()
        if inspect.isclass(value) and issubclass(value, torch.nn.Module)
    }
    assert classes - {"MILModel", "MILModelWrapper"} == set(MODELS)


@pytest.mark.parametrize("count", [2, 7])
def test_scores_have_the_shape_and_the_meaning_stated(head: Head, count: int) -> None:
    scores = head(ring_bag(count))
    assert isinstance(scores, BagScores)
    assert scores.logits.shape == (2,)
    meaning = type(head).score_kind
    assert (scores.patch_logits is not None) == (meaning == "probability")
    assert (scores.attention is not None) == (meaning == "attention")
    if scores.patch_logits is not None:
        assert scores.patch_logits.shape == (count, 2)
    if scores.attention is not None:
        assert scores.attention.sum().item() == pytest.approx(1, abs=1e-5)
    assert all(part.isfinite().all() for part in given(scores))


def test_training_teaches_what_torchmil_can_teach(head: Head, name: str) -> None:
    for label in (0, 1):
        head.training_loss(ring_bag(30), torch.tensor(label)).backward()
    silent = {
        key
        for key, parameter in head.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-9
    }
    known = UNTAUGHT.get(name, "nothing").split("|")
    assert all(any(part in key for part in known) for key in silent)


def test_evaluation_is_deterministic_and_leaves_the_generators_alone(head: Head) -> None:
    bag = ring_bag(40)
    torch.manual_seed(5)
    np.random.seed(5)
    with torch.no_grad():
        for first, second in zip(given(head(bag)), given(head(bag)), strict=True):
            assert torch.equal(first, second)
    after = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    assert after == (torch.rand(1).item(), np.random.rand())


def test_training_follows_from_torchs_seed(head: Head, name: str) -> None:
    head.train()
    bag = ring_bag(40)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(head.training_loss(bag, torch.tensor(1)).item())
    assert losses[0] == losses[1]
    assert (losses[1] != losses[2]) == (name in DRAWS)


def test_order_of_patches_does_not_matter(head: Head, name: str) -> None:
    if name in ORDER_MATTERS | DRAWS:
        pytest.skip("torchmil's own layout or draws follow the order")
    bag = ring_bag(11)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    assert bag.edge_index is not None
    moved = Bag(bag.features[order], bag.rowcol[order], order.argsort()[bag.edge_index])
    with torch.no_grad():
        here, there = head(bag), head(moved)
    torch.testing.assert_close(there.logits, here.logits, rtol=1e-4, atol=1e-5)
    for patches, same in zip(given(here)[1:], given(there)[1:], strict=True):
        torch.testing.assert_close(same, patches[order], rtol=1e-4, atol=1e-5)


def test_the_graph_is_asked_for_where_it_is_used(head: Head) -> None:
    bag = ring_bag(8)
    bare = Bag(bag.features, bag.rowcol)
    if type(head).needs_graph:
        with pytest.raises(UsageError, match="needs a graph"):
            head(bare)
    else:
        assert torch.equal(head(bare).logits, head(bag).logits)


def test_n_by_n_is_refused_and_nowhere_else_made(head: Head, name: str) -> None:
    label = torch.tensor(1)
    if MODELS[name].square:
        bag = ring_bag(LARGEST + 1)
        with pytest.raises(SlideError, match=f"torchmil:{name} forms a matrix of"):
            head.training_loss(bag, label)
        if MODELS[name].square == "always":
            with pytest.raises(SlideError):
                head(bag)
    else:
        small, large = (largest_tensor(head, ring_bag(count)) for count in (1500, 3000))
        assert large < 3 * small


def test_standardised_first(head: Head) -> None:
    bags = [ring_bag(20, seed) for seed in range(4)]
    fit(head, [bag.features for bag in bags])
    with torch.no_grad():
        before = head(bags[0]).logits
    other = [Bag(bag.features * 50 + 7, bag.rowcol, bag.edge_index) for bag in bags]
    fit(head, [bag.features for bag in other])
    with torch.no_grad():
        torch.testing.assert_close(head(other[0]).logits, before, rtol=1e-3, atol=1e-4)


def test_abmil_is_torchmils_with_its_own_loss() -> None:
    head = build_head("torchmil:ABMIL", FEATURES, 2, gated=True, att_dim=32).eval()
    bag = ring_bag(9)
    logit, attention = head.model(bag.features[None], return_att=True)
    scores = head(bag)
    assert torch.equal(scores.logits, torch.stack([0 * logit[0], logit[0]]))
    torch.testing.assert_close(scores.attention, attention[0].softmax(dim=0))
    expected = F.binary_cross_entropy_with_logits(logit[0], torch.tensor(1.0))
    torch.testing.assert_close(head.training_loss(bag, torch.tensor(1)), expected)


def test_attention_drops_in_training_only() -> None:
    head = build_head(
        "torchmil:TransformerABMIL", FEATURES, 2, transf_att_dim=16, transf_dropout=0.5
    )
    bag = ring_bag(30)
    assert not torch.equal(head(bag).logits, head(bag).logits)
    head.eval()
    plain = build_head("torchmil:TransformerABMIL", FEATURES, 2, transf_att_dim=16).eval()
    plain.load_state_dict(head.state_dict())
    torch.testing.assert_close(head(bag).logits, plain(bag).logits)


def test_adjacency_against_the_dense_formula() -> None:
    edges = torch.tensor([[0, 1, 1, 2, 3, 0], [1, 0, 2, 1, 0, 3]])
    dense = torch.zeros(5, 5)
    dense[edges[1], edges[0]] = 1
    half = dense.sum(1).clamp(min=1).rsqrt().diag()
    torch.testing.assert_close(normalised_adjacency(edges, 5).to_dense()[0], half @ dense @ half)


def test_options_are_those_of_the_model() -> None:
    options = head_options("torchmil:ABMIL")
    assert options == {"att_dim": 128, "att_act": "tanh", "gated": False}
    assert head_options("torchmil:CAMIL")["n_landmarks"] == 256  # torchmil's own None fails
    with pytest.raises(ConfigError, match=r"no option 'atdim'.*did you mean 'att_dim'"):
        build_head("torchmil:ABMIL", 4, 2, atdim=3)
    with pytest.raises(ConfigError, match="torchmil's ABMIL refuses its options"):
        build_head("torchmil:ABMIL", 4, 2, att_act="sine")


def test_three_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"torchmil:ABMIL tells 2 classes apart.* 3 classes"):
        build_head("torchmil:ABMIL", 4, 3)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="torchmil has no model 'ABML': did you mean 'ABMIL'"):
        HEADS["torchmil:ABML"]


def test_without_torchmil_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torchmil_head.cache_clear()
    monkeypatch.setitem(sys.modules, "torchmil.models", None)
    with pytest.raises(UsageError, match=r"pip install 'wsikit\[torchmil\]'"):
        build_head("torchmil:ABMIL", 4, 2)


def test_torchmil_is_imported_when_asked_for() -> None:
    code = "import sys, wsikit.heads.registry; sys.exit('torchmil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
