"""What an encoder is, in words: enough to list it, and to build it again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LARGEST_PX = 4096
"""No network sees larger pictures; a file that says so is wrong."""

Argument = bool | int | float | str | tuple[int, ...]
"""A value that a network's constructor takes and that JSON can hold."""

Pooling = Literal["timm", "class+mean", "attention", "cbam"]
"""How tokens or maps become one vector; `wsikit.encoders.pooling` and `.cbam` have the networks."""


@dataclass(frozen=True)
class EncoderSpec:
    """Say what an encoder is, without building it.

    Attributes:
        name: the name a user writes; of an encoder from a file, the file's or run's own name.
        timm_name: timm's model name, with the tag of its weights where timm knows them; or a name
            in `wsikit.encoders.own_networks`.
        licence: licence of the published weights, as their owner states it; empty where unknown.
        features: width of a feature vector; None where only building the network tells.
        input_px: side in pixels of the square picture the network sees.
        mean: of R, G and B on a scale of 0 to 1, subtracted from the picture.
        std: of R, G and B on a scale of 0 to 1, by which it is then divided.
        arguments: what timm is told beside the name; a layer by its name.
        pooling: `timm` as timm does it without a classifier; `class+mean` the class token beside
            the mean of the patch tokens; `attention` a query that attends to all tokens; `cbam`
            CBAM on the last map, and then as timm does it.
        hub: repository of the published weights on the Hugging Face hub; empty where there is none.
        hub_files: the files there that may hold them, the first one preferred.
        published: what an encoder's id calls these weights.
        gated: whether the hub hands them out only after a login and a licence.
        note: what a user should know before use, in one line.
    """

    name: str
    timm_name: str
    licence: str
    features: int | None
    input_px: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    arguments: tuple[tuple[str, Argument], ...] = ()
    pooling: Pooling = "timm"
    hub: str = ""
    hub_files: tuple[str, ...] = ("model.safetensors",)
    published: Literal["imagenet", "hub"] = "imagenet"
    gated: bool = False
    note: str = ""


SAVED = ("timm_name", "licence", "features", "input_px", "mean", "std", "arguments", "pooling")
"""What a file of our own holds beside its tensors and the name; the rest says where to fetch."""


def to_table(spec: EncoderSpec) -> dict[str, Any]:
    """Return what JSON has to hold to build the encoder again."""
    whole = asdict(spec)
    return {"name": spec.name} | {key: whole[key] for key in SAVED}


def from_table(table: object, name: str) -> EncoderSpec:
    """Read a spec from a file's header, believing nothing.

    Args:
        table: what `to_table` gave, after JSON.
        name: the encoder's name from now on.

    Raises:
        ValueError: it is no such table; the message names the key.
    """
    if not isinstance(table, Mapping):
        raise ValueError("no table")
    missing = [key for key in SAVED if key not in table]
    if missing:
        raise ValueError(f"no {missing[0]}")
    if table["pooling"] not in get_args(Pooling):
        raise ValueError(f"pooling {table['pooling']!r}")
    return EncoderSpec(
        name=name,
        timm_name=_text("timm_name", table["timm_name"]),
        licence=_text("licence", table["licence"]),
        features=_whole("features", table["features"], 2**20),
        input_px=_whole("input_px", table["input_px"], LARGEST_PX),
        mean=three("mean", table["mean"]),
        std=positive("std", three("std", table["std"])),
        arguments=_arguments(table["arguments"]),
        pooling=table["pooling"],
    )


def three(key: str, value: object) -> tuple[float, float, float]:
    """Read one number a colour.

    Raises:
        ValueError: they are not three finite numbers.
    """
    if not isinstance(value, list | tuple) or len(value) != 3 or not all(map(_is_number, value)):
        raise ValueError(f"{key} is not three numbers")
    red, green, blue = (float(number) for number in value)
    return (red, green, blue)


def positive(key: str, values: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the values.

    Raises:
        ValueError: one is not above zero.
    """
    if min(values) <= 0:
        raise ValueError(f"{key} is not above zero")
    return values


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < 1e6
        and math.isfinite(value)
    )


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise ValueError(f"{key} is no text")
    return value


def _whole(key: str, value: object, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ValueError(f"{key} is not a whole number from 1 to {largest}")
    return value


def _arguments(value: object) -> tuple[tuple[str, Argument], ...]:
    if not isinstance(value, list):
        raise ValueError("arguments is no list")
    pairs: list[tuple[str, Argument]] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError("arguments is no list of pairs")
        pairs.append((pair[0], as_argument(*pair)))
    return tuple(pairs)


def as_argument(key: str, value: object) -> Argument:
    """Read one of the network's arguments from JSON.

    Raises:
        ValueError: it is neither a word nor a number of usual size, nor a list of whole numbers.
    """
    if isinstance(value, bool) or _is_number(value):
        return value  # type: ignore[return-value]  # _is_number has just said so
    if isinstance(value, str) and len(value) < 100:
        return value
    if isinstance(value, list) and len(value) < 100 and all(isinstance(n, int) for n in value):
        return tuple(value)
    raise ValueError(f"{key} is neither a number nor a word")
