"""Xception with its changes: the source's counts, timm's network beside ours, ImageNet's layers."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from wsikit.encoders.encoder import build_encoder
from wsikit.encoders.registry import encoder_spec
from wsikit.encoders.xception import XCEPTIONS, PooledShortcut, Xception
from wsikit.errors import WeightsError

CLASSIFIER = 2_365_953
"""Of the source's, on 2,048 features; `test_dense_classifier.py` counts it."""


def with_statistics(network: nn.Module) -> int:
    """Count parameters as Keras does: running means and variances among them."""
    state = network.state_dict()
    return sum(t.numel() for name, t in state.items() if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 23_227_433),  # the source's Xception
        ({"squeeze": (4,)}, 24_278_313),  # the source's B: a block on 2,048 channels alone
        ({"pooled_shortcuts": True}, 23_227_433),  # A moves a stride
        ({"pooled_shortcuts": True, "squeeze": (3, 4)}, 24_869_865),  # C; the source: 24,875,297
    ],
)
def test_it_has_the_sources_number_of_parameters(options: dict, count: int) -> None:
    with torch.device("meta"):
        assert with_statistics(Xception(0, **options)) + CLASSIFIER == count


def test_the_block_and_mobilenet_have_theirs() -> None:
    with torch.device("meta"):
        block = Xception(0, squeeze=(4,)).se4
        mobile = timm.create_model("mobilenetv2_100", num_classes=0)
    assert with_statistics(block) == 1_050_880
    assert with_statistics(mobile) + 1_579_521 == 3_837_505


@pytest.fixture(scope="module")
def base() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("legacy_xception", num_classes=1000).eval()


@pytest.fixture(scope="module")
def imagenet(base: nn.Module, tmp_path_factory: pytest.TempPathFactory):
    """A file as timm's own is: with the classifier of ImageNet's classes."""
    file = tmp_path_factory.mktemp("weights") / "xception.pth"
    torch.save(base.state_dict(), file)
    return file


def test_without_changes_it_is_timms(base: nn.Module) -> None:
    ours = Xception(1000).eval()
    ours.load_state_dict(base.state_dict())
    pixels = torch.rand(1, 3, 101, 90, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(pixels), base(pixels))


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("xception_a", set()),
        ("xception_c", {f"{b}.{fc}.{w}" for b in ("se3", "se4") for fc in ("fc1", "fc2")
                        for w in ("weight", "bias")}),
    ],
)  # fmt: skip
def test_imagenet_weights_go_into_all_layers_that_kept_their_shape(
    base: nn.Module, imagenet, name: str, new: set[str]
) -> None:
    published = base.state_dict()
    state = build_encoder(name, str(imagenet)).backbone.state_dict()
    assert set(state) - set(published) == new
    assert set(published) - set(state) == {"fc.weight", "fc.bias"}
    for layer in set(state) - new:
        assert torch.equal(state[layer], published[layer]), layer
    assert all(state[layer].isfinite().all() for layer in new)
    assert {"block1.skip.weight", "block12.skip.weight"} <= set(state) - new


def test_a_file_that_lacks_more_is_refused(base: nn.Module, tmp_path) -> None:
    state = {n: t for n, t in base.state_dict().items() if not n.startswith("conv4")}
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"missing: conv4\.conv1\.weight"):
        build_encoder("xception_c", str(tmp_path / "part.pth"))


@pytest.mark.parametrize("side", [9, 10])
def test_the_shortcut_takes_the_largest_of_four_before_its_convolution(side: int) -> None:
    shortcut = PooledShortcut(2, 3)
    assert shortcut.stride == (1, 1)
    maps = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(0))
    half = -(-side // 2)
    pooled = torch.stack([
        maps[0, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].amax((1, 2))
        for y in range(half) for x in range(half)
    ])  # fmt: skip
    expected = (pooled @ shortcut.weight[:, :, 0, 0].T).T.reshape(1, 3, half, half)
    torch.testing.assert_close(shortcut(maps), expected)


def test_squeeze_and_excitation_is_the_formula() -> None:
    block = Xception(0, squeeze=(3, 4), thin=8, middle=1).se3.eval()
    maps = torch.randn(2, 192, 3, 4, generator=torch.Generator().manual_seed(0))
    assert block.fc1.weight.shape == (24, 192, 1, 1)
    pooled = maps.mean((2, 3))
    hidden = functional.relu(pooled @ block.fc1.weight[:, :, 0, 0].T + block.fc1.bias)
    gates = torch.sigmoid(hidden @ block.fc2.weight[:, :, 0, 0].T + block.fc2.bias)
    torch.testing.assert_close(block(maps), maps * gates[:, :, None, None])


@pytest.mark.parametrize("name", ["xception_small_b", "xception_c"])
def test_random_weights_leave_gates_half_open_and_rounding_small(name: str) -> None:
    """Large maps would open or shut a gate altogether, and let rounding decide on a channel."""
    network = build_encoder(name, "random").backbone
    gates: list[torch.Tensor] = []
    for block in (network.se3, network.se4):
        block.gate.register_forward_hook(lambda *args: gates.append(args[2]))
    pixels = torch.rand(1, 3, 75, 75, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        features = network(pixels).double()
        assert len(gates) == 2
        for gate in gates:
            assert ((gate > 0.01) & (gate < 0.99)).float().mean() > 0.95
        exact = network.double()(pixels.double())
    assert (features - exact).abs().max() < 1e-5 * exact.abs().max()


def test_the_blocks_follow_the_last_two_layers_and_the_shortcuts_lie_where_they_should() -> None:
    network = XCEPTIONS["xception_small_c"]()
    called = []
    for name, layer in network.named_modules():
        if re.fullmatch(r"act3|se3|conv4|act4|se4|global_pool|block\d+\.skip", name):
            layer.register_forward_hook(lambda *_, name=name: called.append(name))
    network.eval()(torch.zeros(1, 3, 75, 75))
    assert called == [
        "block1.skip", "block2.skip", "block3.skip", "block12.skip",
        "act3", "se3", "conv4", "act4", "se4", "global_pool",
    ]  # fmt: skip
    skips = [network.get_submodule(n) for n in called[:4]]
    assert all(isinstance(skip, PooledShortcut) for skip in skips)


@pytest.mark.parametrize("name", sorted(XCEPTIONS))
def test_small_and_whole_are_registered_under_one_name(name: str) -> None:
    assert encoder_spec(name).timm_name == name
