"""Graphs in the store: what they are called, when they are made again, what goes wrong plainly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.cli.conftest import tree
from wsikit.config import GraphConfig, load_config
from wsikit.errors import SlideError, StoreError
from wsikit.graphs.build import build_graph
from wsikit.stages.cohort import source_slides
from wsikit.stages.graphs.graph import run_graph
from wsikit.stages.graphs.slide_graph import slide_graph
from wsikit.stages.stored_names import graph_id
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.bags import bag_loader
from wsikit.stages.training.train import lacking
from wsikit.store.derived_writer import write_features
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store

ENCODER = "resnet18-random-00000000"


@pytest.fixture(scope="module")
def featured(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one slide with features that were drawn by lot."""
    path = tmp_path_factory.mktemp("featured") / "store"
    config = load_config(None, ["tile.size=32", "tile.stain.method=none"])
    run_tile(source_slides([phantom]), path, config.tile)
    write(Store(path), "ph", "recipe of features")
    return path


@pytest.fixture
def store(featured: Path, tmp_path: Path) -> Store:
    """A copy of it to change."""
    shutil.copytree(featured, tmp_path / "store")
    return Store(tmp_path / "store")


def write(store: Store, slide_id: str, recipe: str, seed: int = 0) -> None:
    count = len(store.slide(slide_id).patches)
    features = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float16)
    write_features(store, slide_id, ENCODER, features, {"recipe_id": recipe})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "knn8"),
        ({"k": 5}, "knn5"),
        ({"symmetrise": False}, "knn8-directed"),
        ({"kind": "hybrid"}, "hybrid8"),
        ({"kind": "spatial"}, "spatial"),
        ({"kind": "spatial", "k": 3, "exact_up_to": 5000}, "spatial"),
        ({"exact_up_to": 5000, "min_recall": 0.99}, "knn8-exact5000-recall0.99"),
    ],
)
def test_its_id_says_what_it_is(options: dict[str, object], name: str) -> None:
    assert graph_id(GraphConfig(**options), ENCODER) == f"{name}-{ENCODER}"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        GraphConfig(),
        GraphConfig(kind="spatial"),
        GraphConfig(kind="hybrid", k=3),
        GraphConfig(k=4, symmetrise=False),
    ],
    ids=["knn", "spatial", "hybrid", "directed"],
)
def test_the_store_keeps_what_was_built(store: Store, config: GraphConfig) -> None:
    name, outcome = run_graph(store.path, config, "resnet18")
    assert (outcome.done, outcome.failed) == (["ph"], {})
    slide = store.slide("ph")
    expected = build_graph(
        config.kind, slide.features(ENCODER).astype(np.float32), slide.patches.rowcol, config.k,
        symmetrise=config.symmetrise,
    )  # fmt: skip
    edges, distance = slide.graph(name)
    np.testing.assert_array_equal(edges, expected.edge_index)
    np.testing.assert_array_equal(distance, expected.distance)
    data = slide_graph(store.path, "ph", "resnet18", config)
    np.testing.assert_array_equal(data.edge_index, edges)
    np.testing.assert_array_equal(data.pos, slide.patches.xy_l0)
    assert data.x.shape == (len(slide.patches), 6)


def test_the_recipe_of_the_plain_graph_is_what_it_always_was(store: Store) -> None:
    name, _ = run_graph(store.path, GraphConfig(), "resnet18")
    old = {"algorithm": 1, "features": "recipe of features", "kind": "knn", "k": 8}
    attributes = store.slide("ph").derived_attributes(f"graphs/{name}")
    assert attributes == {"recipe_id": recipe_id(old), "features": "recipe of features"}


def test_again_changes_nothing_and_kinds_lie_side_by_side(store: Store) -> None:
    names = {run_graph(store.path, GraphConfig(kind=k), "resnet18")[0] for k in ("knn", "hybrid")}
    before = tree(store.path / "slides")
    for kind in ("knn", "hybrid"):
        _, outcome = run_graph(store.path, GraphConfig(kind=kind), "resnet18")
        assert outcome.skipped == ["ph"]
    assert tree(store.path / "slides") == before
    assert set(store.slide("ph").graph_ids()) == names


def test_the_record_says_done_after_a_kill_and_after_a_refusal(store: Store) -> None:
    """The kill comes between the graph and its record."""
    name, _ = run_graph(store.path, GraphConfig(), "resnet18")
    stage = f"graph.{name}"
    recorded = store.status("ph")[stage]
    (store.path / "status" / "ph.json").unlink()
    assert run_graph(store.path, GraphConfig(), "resnet18")[1].skipped == ["ph"]
    assert replace(store.status("ph")[stage], seconds=recorded.seconds) == recorded
    recipe = store.slide("ph").derived_attributes(f"features/{ENCODER}")["recipe_id"]
    write(store, "ph", "another recipe")
    assert run_graph(store.path, GraphConfig(), "resnet18")[1].failed
    assert store.status("ph")[stage].state == "failed"
    write(store, "ph", recipe)
    assert run_graph(store.path, GraphConfig(), "resnet18")[1].skipped == ["ph"]
    assert store.status("ph")[stage].state == "done"


def test_other_features_are_noticed(store: Store) -> None:
    name, _ = run_graph(store.path, GraphConfig(), "resnet18")
    before = store.slide("ph").graph(name)[0]
    write(store, "ph", "another recipe", seed=1)
    _, outcome = run_graph(store.path, GraphConfig(), "resnet18")
    assert "by another recipe: use --overwrite" in outcome.failed["ph"]
    _, outcome = run_graph(store.path, GraphConfig(), "resnet18", overwrite=True)
    assert outcome.done == ["ph"]
    assert not np.array_equal(store.slide("ph").graph(name)[0], before)


def test_a_graph_of_features_since_replaced_is_neither_learnt_from_nor_scored(
    store: Store,
) -> None:
    name, _ = run_graph(store.path, GraphConfig(), ENCODER)
    load = bag_loader(store, ENCODER, name)
    assert lacking(store, "ph", ENCODER, name) is None
    load("ph")
    write(store, "ph", "another recipe", seed=1)
    assert "wsikit graph --overwrite" in (lacking(store, "ph", ENCODER, name) or "")
    with pytest.raises(SlideError, match="wsikit graph --overwrite"):
        load("ph")
    run_graph(store.path, GraphConfig(), ENCODER, overwrite=True)
    assert lacking(store, "ph", ENCODER, name) is None
    load("ph")


def test_a_large_slide_says_how_much_was_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsikit.graphs.inverted_search.SCAN_COST", 0)
    assert len(store.slide("ph").patches) > 1000
    exact, _ = run_graph(store.path, GraphConfig(), "resnet18")
    said: list[str] = []

    class Told:
        def start(self, stage: str, total: int) -> None: ...
        def advance(self, label: str, units: int = 1) -> None:
            said.append(label)

        def say(self, line: str) -> None: ...
        def finish(self) -> None: ...

    low = GraphConfig(exact_up_to=1000)
    name, _ = run_graph(store.path, low, "resnet18", progress=Told())
    facts = [store.slide("ph").derived_attributes(f"graphs/{n}") for n in (exact, name)]
    assert 0.98 <= facts[1]["recall"] <= 1
    assert f"recall {facts[1]['recall']:.3f}" in said[0]
    assert facts[0]["recipe_id"] != facts[1]["recipe_id"]
    assert name != exact


def test_an_empty_slide_has_an_empty_graph(store: Store) -> None:
    slide = store.slide("ph")
    for column in ("x", "y", "row", "col", "foreground", "entropy"):
        path = slide.path / "patches" / column
        dtype = zarr.open_array(path).dtype
        shutil.rmtree(path)
        zarr.create_array(path, shape=(0,), chunks=(1,), dtype=dtype)
    write(store, "ph", "of nothing")
    for kind in ("knn", "spatial", "hybrid"):
        config = GraphConfig(kind=kind)
        name, outcome = run_graph(store.path, config, "resnet18")
        assert outcome.done == ["ph"], outcome.failed
        edges, distance = store.slide("ph").graph(name)
        assert (edges.shape, distance.shape) == ((2, 0), (0,))
        assert slide_graph(store.path, "ph", "resnet18", config).num_nodes == 0


def test_what_is_wrong_is_one_line_a_slide(store: Store) -> None:
    features = store.slide("ph").path / "features" / ENCODER
    values = np.asarray(zarr.open_array(features)[:])

    def failure() -> str:
        _, outcome = run_graph(store.path, GraphConfig(), "resnet18", overwrite=True)
        assert "\n" not in outcome.failed["ph"]
        return outcome.failed["ph"]

    write_features(store, "ph", ENCODER, values[:-1], {"recipe_id": "r"})
    assert f"{len(values) - 1} features for {len(values)} patches" in failure()
    broken = values.copy()
    broken[3, 2] = np.inf
    write_features(store, "ph", ENCODER, broken, {"recipe_id": "r"})
    assert "1 of" in failure()
    assert "the first is patch 3" in failure()
    write_features(store, "ph", ENCODER, values, {"recipe_id": "r"})
    chunk = next(p for p in (features / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:40])
    assert "cannot be read" in failure()
    chunk.unlink()
    assert "a part of features" in failure()


def test_features_or_graph_that_are_not_there(store: Store) -> None:
    with pytest.raises(StoreError, match="no features by 'vgg16'"):
        run_graph(store.path, GraphConfig(), "vgg16")
    with pytest.raises(StoreError, match=r"has no graphs/spatial-.*: make it with wsikit graph"):
        slide_graph(store.path, "ph", "resnet18", GraphConfig(kind="spatial"))
    with pytest.raises(StoreError, match="slide 'other' is not in the store"):
        slide_graph(store.path, "other", "resnet18")


def test_a_damaged_description_is_one_line_and_can_be_replaced(store: Store) -> None:
    name, _ = run_graph(store.path, GraphConfig(), "resnet18")
    before = tree(store.path / "slides")
    (store.slide("ph").path / "graphs" / name / "zarr.json").write_bytes(b"")
    _, outcome = run_graph(store.path, GraphConfig(), "resnet18")
    assert "ph.zarr: the stored slide cannot be read" in outcome.failed["ph"]
    _, outcome = run_graph(store.path, GraphConfig(), "resnet18", overwrite=True)
    assert outcome.done == ["ph"]
    assert tree(store.path / "slides") == before
    (store.slide("ph").path / "features" / ENCODER / "zarr.json").write_bytes(b"\0" * 99)
    _, outcome = run_graph(store.path, GraphConfig(), "resnet18")
    assert "ph.zarr: the stored slide cannot be read" in outcome.failed["ph"]
    with pytest.raises(StoreError, match="the stored slide cannot be read"):
        slide_graph(store.path, "ph", "resnet18")
