"""Features of another tool, from the command line to predictions, heatmaps and out again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Wsikit
from tests.store.h5_files import grid_coords, random_features, trident_features
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size

SIDES = ["train"] * 4 + ["val"] * 2 + ["test"] * 2


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small phantoms, and features for them as TRIDENT keeps them; one shifts with tumour."""
    folder = tmp_path_factory.mktemp("exchange")
    (folder / "slides").mkdir()
    rows = ["slide,label,split"]
    for n, side in enumerate(SIDES):
        spec = PhantomSpec(f"s{n}", Size(1400, 1100), Mpp(0.5, 0.5), n, n % 2 == 1, "dune")
        write_phantom(spec, folder / "slides" / f"s{n}.tiff")
        coords = grid_coords(5, 4, 256)
        features = random_features(len(coords), 12, n)
        features[:, 0] += 4 * (n % 2)
        trident_features(
            folder / "features_uni_v1" / f"s{n}.h5", features, coords, own=20, encoder="uni_v1"
        )
        rows.append(f"slides/s{n}.tiff,{'tumour' if spec.tumour else 'normal'},{side}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_ingest_train_predict_heatmap_export(wsikit: Wsikit, cohort: Path, tmp_path: Path) -> None:
    store, run = tmp_path / "store", tmp_path / "run"
    answer = wsikit(
        "ingest", "h5", cohort / "features_uni_v1", "-o", store, "--encoder", "uni_v1",
        "--slides", cohort / "cohort.csv",
    )  # fmt: skip
    assert (answer.code, answer.out) == (0, "uni_v1-h5-12\n"), answer.err
    labels = cohort / "cohort.csv"
    assert wsikit("graph", store, "--encoder", "uni_v1").code == 0
    for method, epochs in (("abmil", 12), ("graph_transformer", 1)):
        answer = wsikit(
            "train", store, "--labels", labels, "-o", run / method, "--method", method,
            "--encoder", "uni_v1", "--epochs", epochs,
            "--set", "train.bootstrap=100", "--set", "train.lr=0.01",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        assert wsikit("predict", store, "--run", run / method).code == 0
    answer = wsikit("heatmap", store, "--run", run / "abmil", "--format", "geojson")
    assert answer.code == 0, answer.err
    answer = wsikit("heatmap", store, "--run", run / "abmil", "--format", "png", "--slide", "s1")
    assert answer.code == 0, answer.err
    table = pd.read_csv(run / "abmil" / "predictions.csv")
    scores = table.groupby("label")["prob_tumour"].mean()
    assert scores["tumour"] > scores["normal"]
    assert len(list((run / "abmil" / "heatmaps").glob("*.geojson"))) == 8
    assert wsikit("status", store).code == wsikit("inspect", store, "--json").code == 0
    answer = wsikit("extract", store, "--encoder", "resnet18", "--weights", "random")
    assert answer.code == 1
    assert "slide 's0' was ingested with features alone and has no pixels" in answer.err

    answer = wsikit("export", store, "-o", tmp_path / "h5", "--format", "h5")
    assert answer.code == 0, answer.err
    with (
        h5py.File(tmp_path / "h5/s3.h5") as out,
        h5py.File(cohort / "features_uni_v1/s3.h5") as source,
    ):
        for name in ("features", "coords"):
            np.testing.assert_array_equal(out[name][:], source[name][:])
        # 0.5 um/px at level 0: what TRIDENT calls 20x.
        assert out["coords"].attrs["level0_magnification"] == 20.0


def test_a_run_refuses_features_of_another_width(
    wsikit: Wsikit, cohort: Path, tmp_path: Path
) -> None:
    """The width is part of the id, so features of another width are those of another encoder."""
    call = ("--encoder", "uni_v1", "--slides", cohort / "slides")
    wsikit("ingest", "h5", cohort / "features_uni_v1", "-o", tmp_path / "a", *call)
    for n in range(2):
        coords = grid_coords(5, 4, 256)
        trident_features(tmp_path / f"f/s{n}.h5", random_features(20, 7), coords, own=20)
    assert wsikit("ingest", "h5", tmp_path / "f", "-o", tmp_path / "b", *call).code == 0
    answer = wsikit(
        "train", tmp_path / "a", "--labels", cohort / "cohort.csv", "-o", tmp_path / "run",
        "--method", "abmil", "--encoder", "uni_v1", "--epochs", 1, "--set", "train.bootstrap=100",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    answer = wsikit("predict", tmp_path / "b", "--run", tmp_path / "run", "-o", tmp_path / "out")
    assert answer.code != 0
    assert "uni_v1-h5-12" in answer.err


def test_help_and_wrong_calls(wsikit: Wsikit, cohort: Path, tmp_path: Path) -> None:
    assert "h5" in wsikit("ingest", "--help").out
    answer = wsikit("ingest", "h5", "--help")
    assert answer.code == 0
    assert "--size-from-patches" in answer.out
    answer = wsikit("ingest", "h5", cohort / "features_uni_v1", "-o", tmp_path / "store")
    assert answer.code == 1
    assert "error: s0: s0.h5: " in answer.err
    answer = wsikit("ingest", "h5", cohort / "slides", "-o", tmp_path / "store")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    answer = wsikit("export", tmp_path / "absent", "-o", tmp_path / "out")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    answer = wsikit("export", tmp_path / "absent", "-o", tmp_path / "out", "--format", "pt")
    assert answer.code == 2
