"""The command line on real slides, against what is known of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
import pytest
from shapely.geometry import shape

from tests.cli.conftest import Wsikit
from wsikit.slides.open import open_slide
from wsikit.store.store import Store
from wsikit.types import Box

NATIVE = ("--set", "tile.mpp=native", "-j", "1")
RGB = ("--set", "tile.filters=[rgb]", "--set", "tile.min_foreground=0.25")


@pytest.fixture
def idc(real_data: Path) -> Path:
    return real_data / "idc"


def whole(path: Path) -> np.ndarray:
    with openslide.OpenSlide(str(path)) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


@pytest.mark.slow
def test_idc_from_slides_to_heatmaps_on_the_tissue(
    wsikit: Wsikit, idc: Path, tmp_path: Path
) -> None:
    """Four slides train and predict; every GeoJSON patch lies on tissue, in the level-0 frame."""
    store, run = tmp_path / "store", tmp_path / "run"
    tile = ("tile", idc, "-o", store, *NATIVE, *RGB, "--set", "tile.size=128")
    assert wsikit(*tile).code == 0
    assert Store(store).slide_ids() == ["8863", "8864", "8865", "8913"]
    assert wsikit("extract", store, "--weights", "random").code == 0
    assert wsikit("graph", store).code == 0
    cohort = tmp_path / "labels.csv"
    cohort.write_text(
        "slide_id,label,split\n8863,idc,train\n8913,none,train\n8864,idc,val\n8865,idc,test\n"
    )
    options = ("--epochs", 2, "--set", "train.bootstrap=100")
    answer = wsikit("train", store, "--labels", cohort, "-o", run, *options)
    assert answer.code == 0, answer.err
    assert wsikit("predict", store, "--run", run).code == 0
    assert wsikit("heatmap", store, "--run", run, "--format", "geojson").code == 0
    for path in sorted(idc.glob("*.tif")):
        image = whole(path)
        tissue = (image <= 200).any(axis=2)
        features = json.loads((run / "heatmaps" / f"{path.stem}.geojson").read_text())["features"]
        table = pd.read_parquet(run / "patches" / f"{path.stem}.parquet")
        assert len(features) == len(table) > 20
        shares = []
        for feature in features:
            left, top, right, bottom = (int(v) for v in shape(feature["geometry"]).bounds)
            assert (right - left, bottom - top) == (128, 128)
            shares.append(tissue[top:bottom, left:right].mean())
        assert min(shares) >= 0.2
        assert np.mean(shares) > 1.5 * tissue.mean()
    split = pd.read_csv(run / "predictions.csv").set_index("slide_id")["split"].to_dict()
    assert split == {8863: "train", 8864: "val", 8865: "test", 8913: "train"}


def test_dicom_and_svs_of_one_slide_give_the_same_tiles(
    wsikit: Wsikit, real_data: Path, tmp_path: Path
) -> None:
    """The DICOM twin was compressed again, so foreground may differ a little at the rim."""
    slides = real_data / "slides"
    answer = wsikit(
        "tile", slides / "cmu-1-small-region.svs", slides / "cmu-1-small-region-dicom",
        "-o", tmp_path / "s", *RGB, "--set", "tile.size=256", "-j", "1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    store = Store(tmp_path / "s")
    svs, dicom = (store.slide(f"cmu-1-small-region{end}") for end in ("", "-dicom"))
    assert svs.grid == dicom.grid
    places = [set(map(tuple, s.patches.rowcol.tolist())) for s in (svs, dicom)]
    assert len(places[0] ^ places[1]) <= 2
    differences = []
    for i, place in enumerate(svs.patches.rowcol.tolist()):
        if tuple(place) in places[1]:
            j = dicom.patches.rowcol.tolist().index(place)
            assert abs(svs.patches.foreground[i] - dicom.patches.foreground[j]) < 0.03
            differences.append(svs.read_patch(i).astype(int) - dicom.read_patch(j))
    everywhere = np.concatenate(differences)
    assert np.abs(everywhere.mean(axis=(0, 1))).max() < 2  # no cast: colour and stain table agree
    assert np.abs(everywhere).mean() < 1.5 * raw_difference(slides, svs.patches.xy_l0)


def test_the_tissue_filter_sees_the_same_in_a_recompressed_twin(
    wsikit: Wsikit, real_data: Path, tmp_path: Path
) -> None:
    """It looks at 8 um per px, where a few scraps at the rim hang on what the codec left."""
    slides = real_data / "slides"
    answer = wsikit(
        "tile", slides / "cmu-1-small-region.svs", slides / "cmu-1-small-region-dicom",
        "-o", tmp_path / "s", "--set", "tile.size=256", "-j", "1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    store = Store(tmp_path / "s")
    svs, dicom = (store.slide(f"cmu-1-small-region{end}").decisions for end in ("", "-dicom"))
    assert (svs.reason == dicom.reason).mean() >= 0.97
    assert np.abs(svs.foreground - dicom.foreground).mean() < 0.02
    assert 0.3 < (svs.reason == 0).mean() < 0.7


def raw_difference(slides: Path, corners: np.ndarray) -> float:
    """How far the two files are apart before anything is done to them, over the same squares."""
    two = [open_slide(slides / f"cmu-1-small-region{end}") for end in (".svs", "-dicom")]
    found = []
    for x, y in corners.tolist():
        a, b = (slide.read(Box(x, y, 256, 256)).astype(int) for slide in two)
        found.append(np.abs(a - b))
    for slide in two:
        slide.close()
    return float(np.mean(found))


def test_an_overview_dicom_is_a_slide(wsikit: Wsikit, real_data: Path, tmp_path: Path) -> None:
    slide = real_data / "slides" / "camelyon-overview.dcm"
    answer = wsikit("tile", slide, "-o", tmp_path / "s", *NATIVE, "--set", "tile.size=64",
                    "--set", "tile.rgb.window=8")  # fmt: skip
    assert answer.code == 0, answer.err
    stored = Store(tmp_path / "s").slide("camelyon-overview")
    assert stored.mpp_l0.x == pytest.approx(28.969)
    assert len(stored.patches) > 5


@pytest.mark.slow
def test_ucsb_pictures_train_with_groups_kept_apart(
    wsikit: Wsikit, real_data: Path, tmp_path: Path
) -> None:
    pictures = sorted((real_data / "ucsb").glob("*.png"))
    rows = [
        {
            "slide": str(p),
            "patient_id": "_".join(p.stem.split("_")[:2]),
            "label": "malignant" if "malignant" in p.stem else "benign",
            "mpp": "0.5",
        }
        for p in pictures
    ]
    cohort = tmp_path / "ucsb.csv"
    pd.DataFrame(rows).to_csv(cohort, index=False)
    recipe = tmp_path / "ucsb.yaml"
    recipe.write_text(
        "cohort: ucsb.csv\noutput: out\n"
        "tile: {size: 128, mpp: native, rgb: {window: 16}}\n"
        "extract: {weights: random}\n"
        "train: {method: abmil, folds: 3, epochs: 20, lr: 1.0e-3}\n"
    )
    answer = wsikit("run", recipe, "-j", 1)
    assert answer.code == 0, answer.err
    run = tmp_path / "out" / "run"
    splits = pd.read_csv(run / "split.csv")
    assert (splits.groupby(["fold", "patient_id"])["split"].nunique() == 1).all()
    groups = {p.stem: "_".join(p.stem.split("_")[:2]) for p in pictures}
    assert (splits["patient_id"] == splits["slide_id"].map(groups)).all()
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["folds"]) == {"0", "1", "2"}
    assert metrics["pooled"]["auc"]["value"] > 0.6
    assert metrics["pooled"]["auc"]["low"] < metrics["pooled"]["auc"]["value"]
    assert len(list((run / "heatmaps").glob("*.png"))) == len(pictures)
