"""The networks of methods D and E: three backbones with CBAM, Xception with its changes, and more.

Licences are those of timm's ImageNet weights, which start all layers that kept their shape.
"""

from __future__ import annotations

from dataclasses import replace

from wsikit.encoders.spec import EncoderSpec

CBAM_PREFIX = "cbam:"
"""A name with this prefix is a convolutional backbone of timm with CBAM on its last map."""

HALF = (0.5, 0.5, 0.5)

INCEPTION = EncoderSpec(
    "inception_v3", "inception_v3.tv_in1k", "bsd-3-clause", 2048, input_px=299,
    mean=HALF, std=HALF, hub="timm/inception_v3.tv_in1k",
)  # fmt: skip
RESNET50 = EncoderSpec(
    "resnet50_cbam", "resnet50.a1_in1k", "apache-2.0", 2048, pooling="cbam",
    hub="timm/resnet50.a1_in1k", note="CBAM is new: it starts at random whatever the weights",
)  # fmt: skip
XCEPTION = EncoderSpec(
    "xception", "legacy_xception.tf_in1k", "apache-2.0", 2048, input_px=299,
    mean=HALF, std=HALF,
)  # fmt: skip
XCEPTION_SMALL = replace(
    XCEPTION, name="xception_small", timm_name="xception_small", licence="", features=256,
    input_px=75, note="an eighth of the channels, for processors and tests",
)  # fmt: skip


def _changed(spec: EncoderSpec, letter: str) -> EncoderSpec:
    note = {
        "a": "pooled shortcuts", "b": "SE on the last two layers", "c": "pooled shortcuts and SE",
    }[letter]  # fmt: skip
    name = f"{spec.name}_{letter}"
    return replace(spec, name=name, timm_name=name, note=f"{note} (method E)")


MAMMOGRAPHY = (
    RESNET50,
    replace(
        RESNET50, name="vgg16_cbam", timm_name="vgg16.tv_in1k", licence="bsd-3-clause",
        features=4096, hub="timm/vgg16.tv_in1k",
    ),
    INCEPTION,
    replace(INCEPTION, name="inception_v3_cbam", pooling="cbam", note=RESNET50.note),
    EncoderSpec(
        "mobilenet_v2", "mobilenetv2_100.ra_in1k", "apache-2.0", 1280,
        hub="timm/mobilenetv2_100.ra_in1k",
    ),
    XCEPTION,
    *(_changed(XCEPTION, letter) for letter in "abc"),
    XCEPTION_SMALL,
    *(_changed(XCEPTION_SMALL, letter) for letter in "abc"),
)  # fmt: skip
