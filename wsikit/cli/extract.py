"""`wsikit extract`: patches in, features out."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import (
    ConfigOption,
    OverwriteOption,
    SetOption,
    SlideOption,
    StoreArgument,
    resolve,
)
from wsikit.errors import UsageError


class PrecisionWord(StrEnum):
    """What the network computes in."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def extract(
    store: StoreArgument,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="As wsikit encoders lists them, timm:NAME, hf-hub:OWNER/NAME or file:PATH; "
            "repeatable: each patch is then decoded once for all.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W",
            help="pretrained, random, or a .safetensors file; once for all encoders, or once each.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda|cuda:0,cuda:1",
            help="Where to compute; auto and cuda take every GPU, each slides of its own.",
        ),
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Patches a step; halved where a GPU's memory does not suffice."),
    ] = None,
    precision: Annotated[
        PrecisionWord | None,
        typer.Option(
            help="Arithmetic; bf16 is quicker on GPUs and on processors that compute in it."
        ),
    ] = None,
    compile_encoder: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Have torch compile the encoder first."),
    ] = None,
    readers: Annotated[
        int | None,
        typer.Option("--readers", "-j", min=0, help="Threads that decode; 0: one a core."),
    ] = None,
    slide: SlideOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Compute one feature vector a patch.

    Features lie in the store under the encoder's id, which contains a digest of
    its weights, so features of two weights never mix. Run it again after
    anything: slides that have them are skipped. A slide that cannot be read is
    named, recorded and left out; the rest go on.

    Examples:

      wsikit extract store --encoder resnet18

      wsikit extract store --encoder resnet18 --weights random     (a dry run, no download)

      wsikit extract store --encoder vgg16 --encoder hf-hub:OWNER/NAME --precision bf16

      wsikit extract store --encoder timm:vit_small_patch16_224 --weights vit.safetensors
    """
    from wsikit.stages.extraction.extract import extract_features

    flags = {
        **_encoder_flags(encoder or [], weights or []),
        "extract.batch_size": batch_size,
        "extract.precision": precision.value if precision else None,
        "extract.compile": compile_encoder,
        "extract.readers": readers,
    }
    settings = resolve(config, sets, flags)
    made = extract_features(
        store, settings.extract,
        device=device, slide_ids=slide, progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(made.outcome, "extract")
    for identity in made.encoder_ids:
        print(identity)
    raise typer.Exit(code)


def _encoder_flags(encoders: list[str], weights: list[str]) -> dict[str, Any]:
    """Pair encoders with their weights; the first pair is `extract.encoder`, the rest `also`.

    Raises:
        UsageError: there are weights for some of the encoders only.
    """
    if len(weights) > 1 and len(weights) != len(encoders):
        raise UsageError(
            f"{len(weights)} --weights for {len(encoders)} --encoder",
            "give --weights once for all encoders, or once for each in their order",
        )
    if len(encoders) < 2:
        return {"extract.encoder": next(iter(encoders), None),
                "extract.weights": next(iter(weights), None)}  # fmt: skip
    each = weights if len(weights) == len(encoders) else weights * len(encoders)
    also = [{"encoder": name} for name in encoders[1:]]
    for choice, word in zip(also, each[1:], strict=False):
        choice["weights"] = word
    return {
        "extract.encoder": encoders[0],
        "extract.weights": each[0] if each else None,
        "extract.also": also,
    }
