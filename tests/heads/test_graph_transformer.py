from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import wsikit
from tests.conformance.head_conformance import ring_bag
from wsikit.heads.bag import Bag
from wsikit.heads.graph_transformer import GraphTransformer, TransformerBlock


def test_block_against_dense_attention() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(16, 4, 0.1).eval()
    nodes = torch.randn(9, 16)
    query, key, value = block.qkv(block.attention_norm(nodes)).split(16, dim=1)
    mixed = torch.cat(
        [
            torch.softmax(q @ k.T / 4**0.5, dim=1) @ v
            for q, k, v in zip(query.split(4, 1), key.split(4, 1), value.split(4, 1), strict=True)
        ],
        dim=1,
    )
    after = nodes + block.out(mixed)
    torch.testing.assert_close(block(nodes), after + block.mlp(after))


def test_pooling_is_the_mean_by_attention() -> None:
    torch.manual_seed(0)
    head = GraphTransformer(12, 2).eval()
    seen = []
    head.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    scores = head(ring_bag(10))
    slide, nodes = seen
    torch.testing.assert_close((scores.attention[:, None] * nodes).sum(0), slide)


def sag(**options: float) -> GraphTransformer:
    torch.manual_seed(0)
    return GraphTransformer(12, 2, pooling="sag", **options).eval()  # type: ignore[arg-type]


def test_sag_pooling_against_torch_geometric() -> None:
    head = sag(ratio=0.3)
    from torch_geometric.nn import GCNConv, SAGPooling  # by now imported, past its own warning

    pooled, nodes = [], []
    head.classifier.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0]))
    head.score.register_forward_pre_hook(lambda module, inputs: nodes.append(inputs[0]))
    bag = ring_bag(11)
    scores = head(bag)
    theirs = SAGPooling(128, ratio=0.3, GNN=GCNConv)
    theirs.gnn.load_state_dict(head.score.state_dict())
    torch.nn.init.ones_(theirs.select.weight)  # a factor of either sign that the paper has not
    kept = theirs(nodes[0], bag.edge_index)[0]  # (4, embed), gated
    assert kept.shape[0] == 4
    torch.testing.assert_close(pooled[0], torch.cat([kept.mean(0), kept.max(0).values]))
    assert scores.attention is None
    assert scores.patch_logits.shape == (11, 2)


def test_sag_of_one_node_is_its_own_score() -> None:
    scores = sag()(ring_bag(1))
    torch.testing.assert_close(scores.patch_logits[0], scores.logits)


def test_every_parameter_of_sag_learns() -> None:
    head = sag(ratio=1)
    for label in (0, 1):
        head.training_loss(ring_bag(30), torch.tensor(label)).backward()
    assert all(parameter.grad.abs().max() > 1e-9 for parameter in head.parameters())


def test_an_unconnected_patch_is_no_padding_but_a_patch() -> None:
    """Bags are not stacked, so nothing is padded; every row of a bag is a patch and counts."""
    head = GraphTransformer(12, 2).eval()
    bag = ring_bag(10)
    more = Bag(
        torch.cat([bag.features, torch.zeros(1, 12)]),
        torch.cat([bag.rowcol, torch.tensor([[9, 9]])]),
        bag.edge_index,
    )
    assert head(more).attention[-1] > 0


def test_the_graph_matters() -> None:
    head = GraphTransformer(12, 2).eval()
    bag = ring_bag(10)
    alone = Bag(bag.features, bag.rowcol, torch.empty(2, 0, dtype=torch.int64))
    assert not torch.allclose(head(alone).logits, head(bag).logits)


@pytest.mark.parametrize("position", ["1d", "2d"])
def test_the_place_matters(position: str) -> None:
    head = GraphTransformer(12, 2, position=position).eval()  # type: ignore[arg-type]
    bag = ring_bag(10)
    moved = Bag(bag.features, bag.rowcol.flip(0), bag.edge_index)
    assert not torch.allclose(head(moved).logits, head(bag).logits)


def test_row_and_column_are_not_swapped() -> None:
    head = GraphTransformer(12, 2).eval()
    bag = ring_bag(10)
    swapped = Bag(bag.features, bag.rowcol.flip(1), bag.edge_index)
    assert not torch.allclose(head(swapped).logits, head(bag).logits)


@pytest.mark.parametrize("training", [False, True])
def test_attention_runs_in_the_kernel_without_n_by_n_memory(training: bool) -> None:
    head = GraphTransformer(12, 2).train(training)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):  # any other would be an error here
        scores = head(ring_bag(64))
        F.cross_entropy(scores.logits[None], torch.tensor([0])).backward()


GROWTH = """
from pathlib import Path
import torch
from wsikit.heads.bag import Bag
from wsikit.heads.graph_transformer import GraphTransformer
def run(head, count):
    number = torch.arange(count)
    target = (number + torch.arange(1, 9)[:, None]) % count
    edges = torch.stack([number.repeat(8), target.flatten()])
    with torch.inference_mode():
        head(Bag(torch.randn(count, 64), torch.stack([number // 50, number % 50], 1), edges))
    # Not getrusage: its peak survives exec, so a child starts with the peak of whoever started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
head = GraphTransformer(64, 2).eval()
print(-(run(head, 200) - run(head, 5000)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_does_not_grow_with_the_square_of_the_bag() -> None:
    # In a process of its own: the peak of this one may be anybody's. Attention of 4 heads over
    # 5,000 patches would be 400 MB at a time.
    environment = os.environ | {"PYTHONPATH": str(Path(wsikit.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=environment
    )
    assert int(done.stdout) < 250e6
