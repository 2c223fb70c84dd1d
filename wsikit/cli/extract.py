"""`wsikit extract`: patches in, features out."""

from __future__ import annotations

from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import (
    ConfigOption,
    DeviceOption,
    OverwriteOption,
    SetOption,
    SlideOption,
    StoreArgument,
    resolve,
)


def extract(
    store: StoreArgument,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="resnet18, resnet50, vgg16 or timm:NAME."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="W", help="imagenet, random, or a .safetensors file."),
    ] = None,
    device: DeviceOption = "auto",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Patches a step.")] = None,
    slide: SlideOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Compute one feature vector a patch.

    Features lie in the store under the encoder's id, which contains a digest of its weights, so
    features of two weights never mix. Slides that have them are skipped.

    Examples:

      wsikit extract store --encoder resnet18

      wsikit extract store --encoder resnet18 --weights random     (a dry run, no download)

      wsikit extract store --encoder timm:vit_small_patch16_224 --weights vit.safetensors
    """
    from wsikit.stages.extract import run_extract

    flags = {
        "extract.encoder": encoder,
        "extract.weights": weights,
        "extract.batch_size": batch_size,
    }
    settings = resolve(config, sets, flags)
    identity, outcome = run_extract(
        store, settings.extract,
        device=device, slide_ids=slide, progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "extract")
    print(identity)
    raise typer.Exit(code)
