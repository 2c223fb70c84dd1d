"""Parameters of the networks of methods D and E: published counts, and what was put on or left."""

from __future__ import annotations

from functools import cache

import pytest
import torchvision
from torch import nn

from wsikit.encoders.backbone import outline
from wsikit.encoders.cbam import CbamPooled
from wsikit.encoders.registry import encoder_spec

PUBLISHED = {
    "resnet50": 25_557_032,
    "vgg16": 138_357_544,
    "inception_v3": 27_161_264,
    "mobilenet_v2": 3_504_872,
}
"""On torchvision's pages, with the classifier of 1,000 classes."""

LAST = {"resnet50": 2048, "vgg16": 4096, "inception_v3": 2048, "mobilenet_v2": 1280}
"""What that classifier is put on."""

AUXILIARY = {
    # Inception's second classifier, for training: 1x1 and 5x5 convolutions with norms, one layer.
    "inception_v3": 768 * 128 + 2 * 128 + 128 * 768 * 5 * 5 + 2 * 768 + 768 * 1000 + 1000,
}

LAST_MAP = {"resnet50": 2048, "vgg16": 512, "inception_v3": 2048}
"""Channels of the map that CBAM refines; VGG16's two large layers come behind it."""


@cache
def network(name: str) -> nn.Module:
    return outline(encoder_spec(name), name)[0]


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in network(name).parameters())


def backbone(name: str) -> int:
    return PUBLISHED[name] - AUXILIARY.get(name, 0) - (LAST[name] * 1000 + 1000)


def cbam(channels: int, reduction: int = 16) -> int:
    """Two layers without biases, there and back, and 7 x 7 weights for each of two maps."""
    return 2 * channels * (channels // reduction) + 2 * 7 * 7


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_backbone_has_the_published_number_less_its_classifier(name: str) -> None:
    theirs = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta["num_params"]
    assert theirs == PUBLISHED[name]
    assert parameters(name) == backbone(name)


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet50", 24_032_418), ("vgg16", 134_293_410), ("inception_v3", 22_309_954)],
)
def test_with_cbam_it_has_those_of_the_formula_more(name: str, count: int) -> None:
    refined = network(f"{name}_cbam")
    assert isinstance(refined, CbamPooled)
    assert sum(p.numel() for p in refined.cbam.parameters()) == cbam(LAST_MAP[name])
    assert parameters(f"{name}_cbam") == backbone(name) + cbam(LAST_MAP[name]) == count


CLASSIFIER = {2048: 2_365_953, 1280: 1_579_521}
"""Of method E's, by the width it is put on; `test_dense_classifier.py` counts it."""


def width_of(name: str, kind: type[nn.Module], attribute: str) -> int:
    return sum(getattr(m, attribute) for m in network(name).modules() if isinstance(m, kind))


@pytest.mark.parametrize(
    ("name", "source"),
    [("resnet50", 25_953_665), ("inception_v3", 24_168_737), ("mobilenet_v2", 3_837_505)],
)
def test_what_method_e_prints_of_the_other_backbones_is_accounted_for(
    name: str, source: int
) -> None:
    """Keras gives ResNet50's convolutions biases, and Inception's norms no weights."""
    state = network(name).state_dict()
    counted = sum(t.numel() for key, t in state.items() if not key.endswith("num_batches_tracked"))
    ours = counted + CLASSIFIER[LAST[name]]
    theirs = {
        "resnet50": ours + width_of(name, nn.Conv2d, "out_channels"),
        "inception_v3": ours - width_of(name, nn.BatchNorm2d, "num_features"),
        "mobilenet_v2": ours,
    }
    assert theirs[name] == source
