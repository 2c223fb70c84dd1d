"""`wsikit demo`: the whole path, on slides made on the spot or on the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import DeviceOption, SetOption, WorkersOption, resolve, worker_count

if TYPE_CHECKING:
    from wsikit.stages.study.demo import DemoResult


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Everything goes here.")
    ] = Path("wsikit-demo"),
    slides: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Look at your own slides instead; no labels needed."),
    ] = None,
    mpp: Annotated[
        str | None, typer.Option(metavar="UM", help="True um per px of slides that state none.")
    ] = None,
    count: Annotated[int, typer.Option(min=16, help="How many phantom slides.")] = 48,
    sets: SetOption = None,
    workers: WorkersOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Run the whole path on phantom slides, and check the result against their known truth.

    With --slides, run it on your own slides as far as no labels are needed:
    tissue, features, and maps of where tissue is and which patches look alike.

    Examples:

      wsikit demo

      wsikit demo --slides /data/slides -o first-look
    """
    from wsikit.config import packaged_config
    from wsikit.stages.study.demo import run_demo, run_first_look

    settings = resolve(packaged_config("first_look" if slides else "demo"), sets)
    if slides:
        outcomes, pictures = run_first_look(
            slides, output, settings, make_progress(),
            mpp=mpp, workers=worker_count(workers), device=device,
        )  # fmt: skip
        code = max(exit_code(outcome, stage) for stage, outcome in outcomes.items())
        _print_look(pictures, output)
        raise typer.Exit(code)
    result = run_demo(
        output, settings, make_progress(),
        count=count, workers=worker_count(workers), device=device,
    )  # fmt: skip
    _print_demo(result)


def _print_demo(result: DemoResult) -> None:
    print(f"""
{result.slides} phantom slides, each scored by a model that saw no slide of the same patient:

  slide AUC  {_auc(result.slide_auc)}
  patch AUC  {_auc(result.patch_auc)}   (patch scores against the phantoms' exact tumour masks)
  seconds    {result.seconds:.0f}

  heatmaps   {result.heatmaps}
  report     {result.report}

The encoder's weights are random here, so that nothing is downloaded. On slides of your own, with a
table of labels (columns: slide, label, and patient_id):

  wsikit tile cohort.csv -o store
  wsikit extract store --encoder resnet18
  wsikit graph store --encoder resnet18
  wsikit train store --labels cohort.csv --method graph_transformer --folds 5 -o run
  wsikit predict store --run run
  wsikit heatmap store --run run
  wsikit evaluate run

or all of it from one recipe (configs/study.yaml): wsikit run study.yaml""")


def _print_look(pictures: list[Path], output: Path) -> None:
    print(f"\n{len(pictures)} pictures in {output / 'look'}:")
    for picture in pictures[:10]:
        print(f"  {picture}")
    print("Groups come from features with random weights: a first look, no finding.")


def _auc(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
