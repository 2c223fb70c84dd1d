"""`wsikit search`: hyper-parameters that do best on validation slides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import make_progress, say
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


def search(
    store: StoreArgument,
    labels: Annotated[Path, typer.Option(metavar="COHORT.csv", help="As for wsikit train.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The search's folder.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="How many to try, those of earlier calls included.")
    ] = 30,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="graph_transformer, abmil, ...")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What varies, in YAML. Default: configs/search.yaml."),
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="val_loss|val_auc", help="What decides, on validation slides.")
    ] = "val_loss",
    split: SplitOption = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Of a split with several folds, the one to search in.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose features: a name or an encoder id."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many a trial.")] = None,
    seed: SeedOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    sets: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Search hyper-parameters (Optuna); only validation slides choose.

    Test slides are set aside first and take no part. Each trial trains once,
    with early stopping, and is judged by its best epoch. Killed and started
    again, it goes on and ends in the same trials. DIR/trials.csv lists them,
    DIR/best.yaml is the recipe of the best one, and DIR/split.csv the split on
    which its test slides are still unseen.

    Needs Optuna, which comes with the extra "search".

    Examples:

      wsikit search store --labels cohort.csv --method abmil --trials 30 -o best

      wsikit train store --labels cohort.csv -c best/best.yaml --split best/split.csv -o run

      wsikit search store --labels cohort.csv --split run --fold 2 --space my.yaml -o best2
    """
    from wsikit.config import packaged_config
    from wsikit.errors import ConfigError, nearest
    from wsikit.stages.search.search import run_search
    from wsikit.stages.search.space import read_space

    metrics = ("val_loss", "val_auc")
    if metric not in metrics:
        raise ConfigError(f"--metric {metric}", nearest(metric, metrics))
    flags = {"train.method": method, "train.epochs": epochs, "seed": seed}
    settings = resolve(config, sets, flags)
    best = run_search(
        store, labels, output, settings,
        read_space(space or packaged_config("search")),
        trials=trials, metric="val_auc" if metric == "val_auc" else "val_loss", fold=fold,
        split=named_split(split, settings, config), encoder=encoder, device=device,
        progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    for key, value in best.values.items():
        print(f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}")
    say(f"trial {best.number}: {metric} {getattr(best, metric):.4f}; to train with it:")
    say(
        f"wsikit train {store} --labels {labels} --config {output / 'best.yaml'} "
        f"--split {output / 'split.csv'} -o RUN"
    )
