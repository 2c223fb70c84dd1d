"""A store, and two runs trained on it, that heatmaps are tested on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.stages.model_cohort import recipe, save_picture, train, write_slides
from wsikit.stages.cohort import source_slides
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store


class Drawn(NamedTuple):
    """Slides, their store and two runs: one scores patches alone, one by their graph."""

    slides: Path
    store: Path
    run: Path
    graphs: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """Eight phantoms and a slide of bare glass; ABMIL, and the graph transformer."""
    folder = tmp_path_factory.mktemp("heatmaps")
    cohort = write_slides(folder / "slides", range(8))
    config = recipe("extract.weights=random", "train.method=abmil")
    run = train(folder, cohort, config, reference=None, graphs=True, name="run")
    store = folder / "store"
    encoder = Store(store).encoder_ids()[0]
    other = recipe("train.method=graph_transformer", "graph.k=3")
    assert not run_train(
        store, cohort, folder / "graphs", other, encoder=encoder, device="cpu"
    ).failed
    glass = folder / "glass"
    glass.mkdir()
    save_picture(np.full((300, 400, 3), 244, np.uint8), glass / "glass.tiff")
    assert run_tile(source_slides([glass]), store, config.tile).empty == ["glass"]
    for one in (run, folder / "graphs"):
        run_predict(store, one, device="cpu")
    return Drawn(folder / "slides", store, run, folder / "graphs")


@pytest.fixture
def drawn(trained: Drawn, tmp_path: Path) -> Drawn:
    """A copy that a test may change."""
    for part in trained:
        shutil.copytree(part, tmp_path / part.name)
    return Drawn(*(tmp_path / part.name for part in trained))
