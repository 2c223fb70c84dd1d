"""Xception (Chollet 2017) with the changes of method E: A, B, and C, which is both.

A: in the four down-sampling shortcuts a 2x2 max-pooling of stride 2 comes before the 1x1
convolution, whose stride is then 1; so nothing of the input is skipped. B: a squeeze-and-excitation
block (Hu, Shen and Sun 2018) with reduction 8 follows each of the last two separable convolutions,
of 1,536 and 2,048 channels, behind their norm and ReLU. The source does not say on which side of
the norm.

Parameters, BN's running statistics counted: the network has 20,861,480, and with the classifier of
`wsikit.heads.dense_classifier` 23,227,433, the source's number to the last digit. B has 24,278,313
in the source, which is the block on 2,048 channels alone (1,050,880). Ours with a block on both
layers is 24,869,865 for C; the source prints 24,875,297. A adds nothing here, as moving a stride
cannot; the source prints 23,369,115 for it, and does not say of what.

The layers are called as in timm's Xception, so its ImageNet weights fit all of them but the new
blocks. `*_small` are the same with an eighth of the channels and two middle blocks instead of
eight, for processors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from timm.layers.classifier import create_classifier
from timm.layers.squeeze_excite import SqueezeExcite
from timm.models.xception import Block, SeparableConv2d
from timm.models.xception import Xception as TimmXception
from torch import Tensor, nn
from torch.nn import functional

SE_REDUCTION = 8
SHORTCUTS = ("block1", "block2", "block3", "block12")
"""Blocks that halve the map."""

MIDDLE = 8


class PooledShortcut(nn.Conv2d):
    """Take the largest of each 2x2 pixels, then a 1x1 convolution of stride 1: change A.

    Args:
        channels: of the map.
        out: of the result.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, out, ceil(H/2), ceil(W/2)): the size that the block's other way has."""
        return super().forward(functional.max_pool2d(maps, 2, ceil_mode=True))


class Xception(TimmXception):
    """Build timm's Xception with the changes, or a thinner one.

    `pretrained_cfg` says, as with timm's own networks, which layer a published file has beside.

    Args:
        num_classes: of the last layer; 0 for none.
        in_chans: channels of the picture.
        global_pool: how the last map is pooled.
        drop_rate: share of features dropped before the last layer.
        pooled_shortcuts: change A.
        squeeze: change B: which of the last two separable convolutions are followed by a block.
        thin: by what the numbers of channels are divided.
        middle: how many middle blocks there are, up to 8.
    """

    NEW = ("se3.", "se4.")
    """Names of tensors that no published file has begin so."""

    pretrained_cfg: Mapping[str, str] = MappingProxyType({"classifier": "fc"})

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        *,
        pooled_shortcuts: bool = False,
        squeeze: tuple[int, ...] = (),
        thin: int = 1,
        middle: int = MIDDLE,
    ) -> None:
        nn.Module.__init__(self)
        first, second, *stages, exit1, exit2, last = (
            width // thin for width in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.num_classes, self.in_chans, self.num_features = num_classes, in_chans, last
        self.global_pool, self.drop_rate, self.head_hidden_size = global_pool, drop_rate, last
        self.conv1 = nn.Conv2d(in_chans, first, 3, 2, 0, bias=False)
        self.bn1, self.act1 = nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(first, second, 3, bias=False)
        self.bn2, self.act2 = nn.BatchNorm2d(second), nn.ReLU(inplace=True)
        widths = (second, *stages)
        for number in (1, 2, 3):
            before, after = widths[number - 1 : number + 1]
            down = Block(before, after, 2, 2, start_with_relu=number > 1)
            self.add_module(f"block{number}", down)
        for number in range(4, 4 + MIDDLE):
            same: nn.Module = nn.Identity()
            if number < 4 + middle:
                same = Block(stages[-1], stages[-1], 3, 1)
            self.add_module(f"block{number}", same)
        self.block12 = Block(stages[-1], exit1, 2, 2, grow_first=False)
        self.conv3 = SeparableConv2d(exit1, exit2, 3, 1, 1)
        self.bn3 = nn.BatchNorm2d(exit2)
        self.conv4 = SeparableConv2d(exit2, last, 3, 1, 1)
        self.bn4 = nn.BatchNorm2d(last)
        # ReLU, then the block where there is one: both are what follows the norm in timm's forward.
        self.act3, self.act4 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        if 3 in squeeze:
            self.se3 = SqueezeExcite(exit2, rd_ratio=1 / SE_REDUCTION, rd_divisor=1)
        if 4 in squeeze:
            self.se4 = SqueezeExcite(last, rd_ratio=1 / SE_REDUCTION, rd_divisor=1)
        if pooled_shortcuts:
            for name in SHORTCUTS:
                block = self.get_submodule(name)
                conv = block.get_submodule("skip")
                if isinstance(conv, nn.Conv2d):
                    block.skip = PooledShortcut(conv.in_channels, conv.out_channels)
        self.feature_info = [{"num_chs": last, "reduction": 32, "module": "act4"}]
        self.global_pool, self.fc = create_classifier(last, num_classes, pool_type=global_pool)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Return the last map, (B, D, h, w), of (B, in_chans, H, W) pixels."""
        maps = self.act1(self.bn1(self.conv1(pixels)))
        maps = self.act2(self.bn2(self.conv2(maps)))
        for number in range(1, 13):
            maps = self.get_submodule(f"block{number}")(maps)
        maps = self.act3(self.bn3(self.conv3(maps)))
        maps = self._squeezed("se3", maps)
        maps = self.act4(self.bn4(self.conv4(maps)))
        return self._squeezed("se4", maps)

    def _squeezed(self, name: str, maps: Tensor) -> Tensor:
        block = getattr(self, name, None)
        return maps if block is None else block(maps)


SMALL: dict[str, Any] = {"thin": 8, "middle": 2}
A: dict[str, Any] = {"pooled_shortcuts": True}
B: dict[str, Any] = {"squeeze": (3, 4)}

XCEPTIONS: dict[str, Callable[[], nn.Module]] = {
    "xception_a": partial(Xception, 0, **A),
    "xception_b": partial(Xception, 0, **B),
    "xception_c": partial(Xception, 0, **A, **B),
    "xception_small": partial(Xception, 0, **SMALL),
    "xception_small_a": partial(Xception, 0, **SMALL, **A),
    "xception_small_b": partial(Xception, 0, **SMALL, **B),
    "xception_small_c": partial(Xception, 0, **SMALL, **A, **B),
}
"""Networks without a classifier, by the name that a spec has for them. The base is timm's."""
