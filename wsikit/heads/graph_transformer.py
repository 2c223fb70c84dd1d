"""Method A's network: a transformer over the patches, graph convolutions, graph pooling."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsikit.errors import ConfigError, UsageError, nearest
from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.graph_convolution import graph_convolution
from wsikit.heads.options import check_at_least, check_share
from wsikit.heads.position import raster_index, sincos_1d, sincos_2d
from wsikit.heads.standardise import Standardise

POSITIONS = ("2d", "1d")
POOLINGS = ("softmax", "sag")
MLP_RATIO = 2


class TransformerBlock(nn.Module):
    """Let every patch attend to all others, then change each by itself.

    Normalises before each half (Xiong et al. 2020), which trains without a warm-up.

    Args:
        embed: width of a patch's vector.
        heads: attention heads; divides `embed`.
        dropout: share dropped of what either half adds. Attention itself is never dropped:
            torch has no memory-efficient kernel for that on the CPU, only one of N x N numbers.
    """

    def __init__(self, embed: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(embed)
        self.qkv = nn.Linear(embed, 3 * embed)
        self.out = nn.Linear(embed, embed)
        self.mlp = nn.Sequential(
            nn.LayerNorm(embed),
            nn.Linear(embed, MLP_RATIO * embed),
            nn.GELU(),
            nn.Linear(MLP_RATIO * embed, embed),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor) -> Tensor:
        """Map (N, embed) to (N, embed)."""
        nodes = nodes + self.dropout(self.out(self._attend(self.attention_norm(nodes))))
        changed: Tensor = nodes + self.dropout(self.mlp(nodes))
        return changed

    def _attend(self, nodes: Tensor) -> Tensor:
        count, embed = nodes.shape
        split = self.qkv(nodes).view(1, count, 3, self.heads, embed // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (1, heads, N, embed / heads) each
        mixed = F.scaled_dot_product_attention(query, key, value)  # (1, heads, N, embed / heads)
        return mixed.transpose(1, 2).reshape(count, embed)


class GraphTransformer(Head):
    """Mix all patches by self-attention and alike ones by graph convolution; pool by a node score.

    CN115409783A (`002_29f422382f54f625.txt`): features plus positional code -> transformer blocks
    -> GCN layers H' = relu(A~ H W) -> pooling "by a GCN" -> two fully connected layers. The source
    does not specify the pooling: a further GCN scores every node, and the slide is the mean of the
    nodes weighted by the softmax of the scores (self-attention graph pooling, Lee et al. 2019,
    without dropping nodes). With `pooling="sag"` it is Lee et al.'s own, once: the `ratio` of nodes
    that score highest is kept, each times the tanh of its score, and the slide is their mean and
    their maximum side by side; then there is no `attention`, as the kept nodes have no shares.
    Departures: features are standardised and projected first; the code is the usual one (see
    `heads.position`); blocks normalise first, with one more norm after the last. `patch_logits` is
    what the slide would get if a node were pooled alone; as the two layers are not linear, the
    slide's logits are not their mean.

    Memory grows with N and with the number of edges, not with N x N.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        embed: width of a node's vector; divisible by `heads` and by 4.
        depth: transformer blocks.
        heads: attention heads.
        gcn_layers: graph convolutions before the pooling.
        dropout: share dropped in training, in the blocks and before the last layer.
        position: `2d` codes row and column, `1d` the raster index.
        pooling: `softmax` weighs all nodes, `sag` keeps the best.
        ratio: share of the nodes that `sag` keeps, above 0, at most 1; at least one is kept.
    """

    needs_graph = True

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        embed: int = 128,
        depth: int = 2,
        heads: int = 4,
        gcn_layers: int = 2,
        dropout: float = 0.1,
        position: Literal["2d", "1d"] = "2d",
        pooling: Literal["softmax", "sag"] = "softmax",
        ratio: float = 0.5,
    ) -> None:
        check_at_least("in_features", in_features, 1)
        check_at_least("classes", classes, 2)
        check_at_least("embed", embed, 4)
        check_at_least("depth", depth, 0)
        check_at_least("heads", heads, 1)
        check_at_least("gcn_layers", gcn_layers, 0)
        check_share("dropout", dropout)
        if embed % heads or embed % 4:
            raise ConfigError(
                f"embed is {embed} with {heads} heads", "make it divisible by heads and by 4"
            )
        if position not in POSITIONS:
            raise ConfigError(f"position is {position!r}", nearest(str(position), POSITIONS))
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling is {pooling!r}", nearest(str(pooling), POOLINGS))
        if ratio != 1:
            check_share("ratio", ratio)
        if not ratio:
            raise ConfigError("ratio is 0", "give a number above 0, up to 1")
        super().__init__()
        self.position = position
        self.pooling = pooling
        self.ratio = ratio
        self.standardise = Standardise(in_features)
        self.project = nn.Linear(in_features, embed)
        self.blocks = nn.Sequential(
            *(TransformerBlock(embed, heads, dropout) for _ in range(depth)), nn.LayerNorm(embed)
        )
        self.convolutions = nn.ModuleList(
            graph_convolution(embed, embed) for _ in range(gcn_layers)
        )
        # A bias would move all scores alike, which softmax does not see.
        self.score = graph_convolution(embed, 1, bias=pooling == "sag")
        pooled = 2 * embed if pooling == "sag" else embed
        self.classifier = nn.Sequential(
            nn.Linear(pooled, embed), nn.ReLU(), nn.Dropout(dropout), nn.Linear(embed, classes)
        )

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches with its graph.

        Raises:
            UsageError: the bag has no graph.
        """
        if bag.edge_index is None:
            raise UsageError("the graph transformer needs a graph", "make one with 'wsikit graph'")
        nodes: Tensor = self.project(self.standardise(bag.features))  # (N, embed)
        nodes = self.blocks(nodes + self._position(bag.rowcol, nodes.shape[1]))  # (N, embed)
        for convolution in self.convolutions:
            nodes = torch.relu(convolution(nodes, bag.edge_index))  # (N, embed)
        score = self.score(nodes, bag.edge_index).squeeze(1)  # (N,)
        if self.pooling == "sag":
            return self._keep_the_best(nodes, score)
        attention = score.softmax(dim=0)
        logits = self.classifier(attention @ nodes)  # (C,)
        return BagScores(logits, self.classifier(nodes), attention)

    def _keep_the_best(self, nodes: Tensor, score: Tensor) -> BagScores:
        gated = nodes * score.tanh()[:, None]  # (N, embed)
        best = gated[score.topk(math.ceil(self.ratio * len(nodes))).indices]  # (kept, embed)
        slide = torch.cat([best.mean(dim=0), best.amax(dim=0)])  # (2 embed,)
        alone = torch.cat([gated, gated], dim=1)  # of one node, mean and maximum are the same
        return BagScores(self.classifier(slide), self.classifier(alone))

    def _position(self, rowcol: Tensor, channels: int) -> Tensor:
        if self.position == "1d":
            return sincos_1d(raster_index(rowcol), channels)
        return sincos_2d(rowcol, channels)
