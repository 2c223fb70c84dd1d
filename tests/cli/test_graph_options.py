"""What `wsikit graph` accepts, prints and refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Wsikit
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.store.derived_writer import write_features
from wsikit.store.store import Store
from wsikit.types import Mpp, Size

ENCODER = "resnet18-random-00000000"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one small slide with features that were drawn by lot."""
    from wsikit.config import load_config
    from wsikit.stages.cohort import source_slides
    from wsikit.stages.tiling.tile import run_tile

    folder = tmp_path_factory.mktemp("graphs")
    slide = folder / "one.tiff"
    write_phantom(PhantomSpec("one", Size(1300, 1000), Mpp(0.5, 0.5), 1, True, "dune"), slide)
    config = load_config(None, ["tile.size=64", "tile.stain.method=none"])
    run_tile(source_slides([slide]), folder / "store", config.tile)
    opened = Store(folder / "store")
    count = len(opened.slide("one").patches)
    features = np.random.default_rng(0).normal(size=(count, 6)).astype(np.float16)
    write_features(opened, "one", ENCODER, features, {"recipe_id": "r"})
    return opened.path


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "knn8"),
        (("--k", 3), "knn3"),
        (("--kind", "spatial"), "spatial"),
        (("--kind", "hybrid", "--k", 5), "hybrid5"),
        (("--directed",), "knn8-directed"),
        (("--symmetrise", "--set", "graph.symmetrise=false"), "knn8"),
        (("--set", "graph.kind=hybrid"), "hybrid8"),
    ],
)
def test_it_prints_the_id_under_which_the_graph_lies(
    wsikit: Wsikit, store: Path, options: tuple[object, ...], name: str
) -> None:
    answer = wsikit("graph", store, "--encoder", "resnet18", *options)
    assert answer.code == 0, answer.err
    assert answer.out == f"{name}-{ENCODER}\n"
    edges, distance = Store(store).slide("one").graph(answer.out.strip())
    assert edges.shape[1] == len(distance) > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--kind", "spacial"), "graph.kind is 'spacial': did you mean 'spatial'?"),
        (("--k", 5000), "graph.k is 5000"),
        (("--set", "graph.symmetrize=false"), "did you mean 'symmetrise'?"),
        (("--set", "graph.min_recall=1"), "graph.min_recall is 1"),
        (("--set", "graph.exact_up_to=10"), "graph.exact_up_to is 10"),
        (("--encoder", "vgg16"), "no features by 'vgg16'"),
    ],
)
def test_a_wrong_call_is_one_line(
    wsikit: Wsikit, store: Path, options: tuple[object, ...], said: str
) -> None:
    answer = wsikit("graph", store, "--encoder", "resnet18", *options)
    assert answer.code == 2
    assert answer.out == ""
    lines = [line for line in answer.err.splitlines() if line]
    assert len(lines) == 1
    assert said in lines[0]
