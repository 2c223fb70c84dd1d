"""Patch scores of made runs against masks and drawn areas, with answers known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.stages.made_run import make_run, write_patches
from tests.stages.textured_cohort import SIDE, make_store
from wsikit.errors import ConfigError, StoreError, UsageError
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.evaluation.truth import TruthRule, held_out_patch_auc
from wsikit.stages.labelled import source_fingerprint
from wsikit.stages.run_folder import RunFolder
from wsikit.store.store import Store

CLASSES = ("coarse", "fine")
XY = [(c * SIDE, r * SIDE) for r in range(3) for c in range(4)]
LEFT = np.array([x < 2 * SIDE for x, _ in XY])  # the known region of every positive slide
ATTRS = {"score": "probability of fine", "kind": "probability"}


class Made(NamedTuple):
    store: Path
    run: RunFolder
    truth: Path
    slides: pd.DataFrame


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("textured"))[0]


@pytest.fixture
def made(store: Path, tmp_path: Path) -> Made:
    """A run that held out the whole store; the regions are the left half of positive slides."""
    open_store = Store(store)
    ids = open_store.slide_ids()
    patient = [int(i[1 : i.index("s")]) for i in ids]
    fine = np.array(patient) % 2 == 1
    slides = pd.DataFrame(
        {
            "slide_id": ids, "patient_id": [f"p{n}" for n in patient],
            "label": np.where(fine, "fine", "coarse"), "split": "test", "fold": 0,
            "prob_coarse": np.where(fine, 0.2, 0.8), "prob_fine": np.where(fine, 0.8, 0.2),
            "fingerprint": [source_fingerprint(open_store, i) for i in ids],
        }
    )  # fmt: skip
    truth = tmp_path / "truth"
    truth.mkdir()
    image = np.zeros((3 * SIDE, 4 * SIDE), np.uint8)
    image[:, : 2 * SIDE] = 255
    for slide_id in slides.loc[fine, "slide_id"]:
        Image.fromarray(image).save(truth / f"{slide_id}_mask.png")
    return Made(store, make_run(tmp_path / "run", slides, CLASSES), truth, slides)


def score(made: Made, slide_id: str, fine: np.ndarray) -> None:
    columns = {"score": fine, "prob_coarse": 1 - fine, "prob_fine": fine}
    write_patches(made.run, slide_id, XY, (SIDE, SIDE), columns, ATTRS)


def score_all(made: Made, inside: float, outside: float) -> None:
    for slide_id, label in zip(made.slides["slide_id"], made.slides["label"], strict=True):
        positive = LEFT & (label == "fine")
        score(made, slide_id, np.where(positive, inside, outside))


def truth_of(made: Made, **rule) -> dict:
    run_evaluate(made.run.path, truth=TruthRule(made.truth, **rule), store=made.store)
    return json.loads(made.run.metrics_json.read_text())["truth"]


def test_perfect_scores(made: Made) -> None:
    score_all(made, 0.9, 0.1)
    found = truth_of(made)
    for name in ("auc", "auc_without_border", "auc_mean_over_slides", "dice"):
        assert [found[name][k] for k in ("value", "low", "high")] == [1, 1, 1], name
    assert found["dice_mean_over_slides"]["value"] == 1
    assert found["threshold"] == 0.5
    assert "not chosen" in found["threshold_from"]
    # Each slide without a lesion is flat and so one false alarm, at a lower score than any hit.
    positives = int((made.slides["label"] == "fine").sum())
    assert found["froc"]["lesions"] == positives
    assert found["froc"]["score"]["value"] == 1
    assert set(found["froc"]["sensitivity"]) == {"0.25", "0.5", "1", "2", "4", "8"}
    assert len(found["without_file"]) == len(made.slides) - positives
    assert found["left_out"] == {}
    page = made.run.report_html.read_text()
    assert "Patch scores against known regions" in page
    assert f"FROC, {positives} lesions" in page


def test_inverted_scores(made: Made) -> None:
    score_all(made, 0.1, 0.9)
    found = truth_of(made)
    assert found["auc"]["value"] == 0
    assert found["dice"]["value"] == 0
    # On each positive slide the one peak lies outside the lesion, so no lesion is ever found.
    assert found["froc"]["score"]["value"] == 0


def test_chance(made: Made) -> None:
    rng = np.random.default_rng(0)
    for slide_id in made.slides["slide_id"]:
        score(made, slide_id, rng.random(12))
    found = truth_of(made)
    assert 0.3 < found["auc"]["value"] < 0.7
    assert found["auc"]["low"] < 0.5 < found["auc"]["high"]
    hits = sum(slide["lesions_hit"] for slide in found["slides"].values())
    assert hits <= found["froc"]["lesions"]


def test_the_least_share_decides_what_is_positive(made: Made) -> None:
    """A region that covers a quarter of each patch of the left column."""
    image = np.zeros((3 * SIDE, 4 * SIDE), np.uint8)
    image[:, : SIDE // 4] = 255
    for file in made.truth.glob("*_mask.png"):
        Image.fromarray(image).save(file)
    score_all(made, 0.9, 0.1)
    half = truth_of(made)
    assert half["auc"] == {
        "value": None, "low": None, "high": None,
        "reason": "needs patches inside and outside the known regions",
    }  # fmt: skip
    assert half["froc"]["lesions"] > 0
    quarter = truth_of(made, least=0.25)
    assert quarter["auc"]["value"] > 0.9
    positive = [slide["positive"] for slide in quarter["slides"].values()]
    assert sorted(set(positive)) == [0, 3]


def test_the_threshold_comes_from_validation_slides_alone(made: Made) -> None:
    """Scores are low everywhere; half of the patients validate, and their best threshold is 0.3."""
    score_all(made, 0.3, 0.1)
    flat = truth_of(made)
    assert flat["dice"]["value"] == 0
    val = made.slides["patient_id"].isin([f"p{n}" for n in range(6)])
    slides = made.slides.assign(split=np.where(val, "val", "test"))
    run = make_run(made.run.path, slides, CLASSES)
    found = truth_of(made._replace(run=run))
    assert found["threshold"] == pytest.approx(0.3)
    assert found["threshold_from"] == "the best one on the run's validation slides"
    assert found["dice"]["value"] == 1
    assert set(found["slides"]) == set(slides.loc[~val, "slide_id"])


def test_drawn_areas_do_as_masks(made: Made) -> None:
    score_all(made, 0.9, 0.4)
    by_mask = truth_of(made)
    ring = [[0, 0], [2 * SIDE, 0], [2 * SIDE, 3 * SIDE], [0, 3 * SIDE], [0, 0]]
    feature = {
        "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }  # fmt: skip
    for file in list(made.truth.glob("*_mask.png")):
        slide_id = file.name.removesuffix("_mask.png")
        (made.truth / f"{slide_id}.geojson").write_text(json.dumps(feature))
        file.unlink()
    assert truth_of(made, regions=("Tumor",)) == by_mask


def test_what_cannot_take_part_is_listed(made: Made) -> None:
    score_all(made, 0.9, 0.1)
    positive = list(made.slides.loc[made.slides["label"] == "fine", "slide_id"])
    (made.truth / f"{positive[0]}_mask.png").unlink()
    made.run.patch_table(positive[1]).unlink()
    found = truth_of(made)
    assert found["left_out"] == {
        positive[0]: "no file of known regions, though it is 'fine'",
        positive[1]: "its patches have no scores",
    }
    assert "no file of known regions" in made.run.report_html.read_text()


def test_attention_is_measured_where_it_is_all_there_is(made: Made) -> None:
    for slide_id, label in zip(made.slides["slide_id"], made.slides["label"], strict=True):
        weight = np.where(LEFT & (label == "fine"), 3.0, 1.0)
        columns = {"score": weight / weight.sum(), "attention": weight / weight.sum()}
        attrs = {"score": "attention", "kind": "attention"}
        write_patches(made.run, slide_id, XY, (SIDE, SIDE), columns, attrs)
    found = truth_of(made)
    assert "attention times the slide's patches" in found["score"]
    assert found["auc"]["value"] == 1
    assert found["threshold"] == 1.0
    assert found["auc"] == truth_of(made, column="attention")["auc"]


def test_the_other_class_can_be_shown(made: Made) -> None:
    score_all(made, 0.9, 0.1)
    for slide_id in made.slides["slide_id"]:
        image = np.full((3, 4), 0 if (made.truth / f"{slide_id}_mask.png").exists() else 255)
        Image.fromarray(image.astype(np.uint8)).save(made.truth / f"{slide_id}_mask.png")
    found = truth_of(made, shows="coarse")
    assert found["class"] == "coarse"
    assert found["score"] == "probability of coarse"
    with pytest.raises(ConfigError, match="did you mean 'coarse'"):
        truth_of(made, shows="coarsse")


def test_the_demos_figure_is_the_area_without_border(made: Made) -> None:
    rng = np.random.default_rng(3)
    for slide_id in made.slides["slide_id"]:
        score(made, slide_id, rng.random(12))
    image = np.zeros((3 * SIDE, 4 * SIDE), np.uint8)
    image[:, : 3 * SIDE // 2 - 3] = 255
    for file in made.truth.glob("*_mask.png"):
        Image.fromarray(image).save(file)
    found = truth_of(made)
    assert found["auc"]["value"] != found["auc_without_border"]["value"]
    figure = held_out_patch_auc(Store(made.store), made.run, made.truth)
    assert figure == found["auc_without_border"]["value"]


def test_what_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no held-out slide can be held against"):
        truth_of(made)
    score_all(made, 0.9, 0.1)
    with pytest.raises(UsageError, match="there is no such folder"):
        truth_of(made._replace(truth=tmp_path / "nowhere"))
    slides = made.slides.assign(fingerprint="another")
    other = make_run(made.run.path, slides, CLASSES)
    with pytest.raises(StoreError, match="made of another file than the run's"):
        truth_of(made._replace(run=other))
    three = slides.assign(prob_other=0.0)
    several = make_run(made.run.path, three, (*CLASSES, "other"))
    with pytest.raises(UsageError, match="--truth-class"):
        truth_of(made._replace(run=several))
