"""`wsikit train`: labels and features in, a run out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import (
    ConfigOption,
    DeviceOption,
    OverwriteOption,
    SeedOption,
    SetOption,
    SplitOption,
    StoreArgument,
    named_split,
    resolve,
)


def train(
    store: StoreArgument,
    labels: Annotated[
        Path,
        typer.Option(
            metavar="COHORT.csv", help="slide or slide_id, label; patient_id, site, split or fold."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run.")],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="graph_transformer, abmil, ...; from pixels: self_distillation, am-softmax.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose features: a name or an encoder id; with am-softmax, the network to train.",
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=1, help="1: one split by patient; more: cross-validation.")
    ] = None,
    split: SplitOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="So many GPUs, or processes, share the slides of each step.")
    ] = 1,
    config: ConfigOption = None,
    sets: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Train a slide classifier, or an encoder, and measure it on held-out patients.

    Patients never straddle a split, nor do sites where the cohort names them,
    nor copies of one slide. The held-out slides choose neither epoch nor
    threshold. Killed and started again, it continues from its last epoch.
    Curves for TensorBoard are in RUN/logs.

    am-softmax trains an encoder (VGG16 unless told otherwise) on single
    patches, which need no features: each patch inherits its slide's label. The
    run is then an encoder by its folder, and its split.csv is the cohort to go
    on with, so that held-out slides stay held out.

    Examples:

      wsikit train store --labels cohort.csv --method abmil -o run

      wsikit train store --labels cohort.csv --method graph_transformer --folds 5 -o run

      wsikit train store --labels cohort.csv --method abmil --split run -o run_abmil

      wsikit train store --labels cohort.csv --method am-softmax -o encoder

      wsikit extract store --encoder file:encoder
    """
    from wsikit.cli.evaluate import print_metrics
    from wsikit.stages.evaluation.evaluate import run_evaluate
    from wsikit.stages.training.train import run_train

    flags = {
        "train.method": method,
        "extract.encoder": encoder,
        "train.patch.encoder": encoder,
        "train.folds": folds,
        "train.epochs": epochs,
        "seed": seed,
    }
    settings = resolve(config, sets, flags)
    outcome = run_train(
        store, labels, output, settings,
        device=device, devices=devices, split=named_split(split, settings, config),
        progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "train")
    print_metrics(run_evaluate(output))
    raise typer.Exit(code)
