"""Heatmaps and Grad-CAM of pictures that are no slide: mammograms, from ingest to the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.stages.heatmaps.test_heatmap import written
from wsikit.config import HeatmapConfig, load_config
from wsikit.encoders.encoder import build_encoder
from wsikit.errors import ConfigError, StoreError, UsageError
from wsikit.heatmap.contact_sheet import PictureFacts, draw_contact_sheet, extremes
from wsikit.heatmap.scores import PatchScores
from wsikit.methods import METHODS
from wsikit.phantoms.mammogram_sets import write_mini_mias
from wsikit.stages.heatmaps.grad_cam import GradCam, _check_map
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.heatmaps.overview import overview
from wsikit.stages.heatmaps.pictures import lesion_outline
from wsikit.stages.heatmaps.run_scores import slide_scores
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.heatmaps.stride import Scorer
from wsikit.stages.ingest.ingest import ingest
from wsikit.stages.ingest.mammogram import CutOptions
from wsikit.stages.ingest.mini_mias import MiniMiasOptions, find_mini_mias
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Outcome
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training.patch_network import trained_network
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store
from wsikit.training.patches.grad_cam import grad_cam
from wsikit.training.patches.network_input import read_network_input
from wsikit.types import Mpp, Size

pytestmark = pytest.mark.usefixtures("one_thread")

GRAD_CAM = HeatmapConfig(formats=("grad-cam",))
BOTH = HeatmapConfig(formats=("png", "grad-cam"))
CPU = Scorer(device="cpu")
SIDE, PICTURES = 40, 3


class Made(NamedTuple):
    """Three pictures of each of some lesions, and a run of a small network on them."""

    store: Path
    run: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("mammograms")
    images = write_mini_mias(folder / "images", 32, 192)
    cut = MiniMiasOptions(CutOptions("patches", side=SIDE, patches=PICTURES, context=1.0))
    cohort = ingest(find_mini_mias(images, cut), folder / "store").cohort
    sets = [
        "train.method=softmax", "train.epochs=1", "train.bootstrap=100", "train.folds=2",
        "train.near_duplicates=allow", "train.patch.encoder=timm:test_resnet",
        "train.patch.weights=random", "train.patch.input_px=48", "train.patch.batch_size=8",
    ]  # fmt: skip
    run_train(folder / "store", cohort, folder / "run", load_config(None, sets), device="cpu")
    run_predict(folder / "store", folder / "run", device="cpu")
    return Made(folder / "store", folder / "run")


@pytest.fixture
def made(trained: Made, tmp_path: Path) -> Made:
    """A copy that a test may change."""
    for part in trained:
        shutil.copytree(part, tmp_path / part.name)
    return Made(*(tmp_path / part.name for part in trained))


def ids_of(made: Made) -> list[str]:
    """Return the slides that were predicted."""
    return sorted(path.stem for path in (made.run / "patches").iterdir())


def heatmap_of(made: Made, slide_id: str) -> SlideHeatmap:
    stored = Store(made.store).slide(slide_id)
    scores = slide_scores(RunFolder(made.run), stored, BOTH)
    return SlideHeatmap(stored, scores, BOTH, lesion_outline(stored), lambda: None)  # type: ignore


def test_a_lesion_larger_than_those_of_training_is_scored(made: Made, tmp_path: Path) -> None:
    """Cuts are brought to one size, so their um per px tell of the lesion, not of the scanner."""
    slide_id = ids_of(made)[0]
    coarser_by(made, slide_id, 3.0)
    assert not run_predict(made.store, made.run, tmp_path / "again", device="cpu").failed
    coarser_by(made, slide_id, 1.0, cut_to_size=False)
    outcome = run_predict(made.store, made.run, tmp_path / "uncut", device="cpu")
    assert list(outcome.failed) == [slide_id]
    assert "the model was trained at" in outcome.failed[slide_id]


def coarser_by(made: Made, slide_id: str, times: float, *, cut_to_size: bool = True) -> None:
    """Change the resolution that a stored slide states, and whether its pictures state a scale."""
    path = Store(made.store).slide_path(slide_id) / "zarr.json"
    metadata = json.loads(path.read_bytes())
    own = metadata["attributes"]["wsikit"]
    own["mpp"] = [times * side for side in own["mpp"]]
    if not cut_to_size:
        for picture in own["pictures"]:
            del picture["scale"]
    path.write_text(json.dumps(metadata))


def test_every_picture_has_its_grad_cam_and_nothing_is_drawn_twice(made: Made) -> None:
    ids = ids_of(made)[:3]

    def draw() -> Outcome:
        return run_heatmap(made.store, made.run, None, BOTH, slide_ids=ids, scorer=CPU)

    assert draw().done == ids
    folder = made.run / "heatmaps"
    wanted = {f"{slide_id}-{n}" for slide_id in ids for n in range(PICTURES)}
    assert {p.stem for p in (folder / "grad-cam").iterdir()} == wanted
    page = (folder / "cohort.html").read_text()
    assert all(f'href="grad-cam/{name}.png"' in page for name in wanted)
    before = written(folder)
    assert draw().skipped == ids
    assert written(folder) == before
    (folder / "grad-cam" / f"{ids[1]}-2.png").unlink()
    # Where there were more pictures once, none is left that is not the slide's.
    shutil.copy(folder / f"{ids[1]}.png", folder / "grad-cam" / f"{ids[1]}-{PICTURES}.png")
    again = draw()
    assert (again.done, len(again.skipped)) == ([ids[1]], 2)
    assert written(folder).keys() == before.keys()


def test_a_slide_is_shown_to_the_network_that_held_it_out(trained: Made) -> None:
    """Map, box and score are those of one more reading by hand; the score is predict's own."""
    store, run = Store(trained.store), RunFolder(trained.run)
    facts, splits = run.facts(), run.splits()
    drawn = GradCam(store, run, "cpu", print)
    for fold in (0, 1):
        held_out = splits[(splits["fold"] == fold) & (splits["split"] == "test")]
        test = held_out[held_out["slide_id"].isin(ids_of(trained))].iloc[0]
        slide = store.slide(test["slide_id"])
        network = trained_network(run, METHODS[facts.method], facts, run.config(), fold)  # type: ignore
        table = pd.read_parquet(run.patch_table(slide.slide_id))
        for number, shown in enumerate(drawn.pictures(slide)):
            pixels = read_network_input(slide, number)
            batch = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
            np.testing.assert_allclose(shown.cam, grad_cam(network, batch, 1)[0], atol=1e-6)
            assert shown.boxes == slide.pictures[number]["boxes"]
            assert shown.said == (
                f"probability of malignant {table['prob_malignant'][number]:.2f}; "
                f"labelled {test['label']}, held out"
            )
            assert shown.title == f"{slide.slide_id}, picture {number}"
            assert shown.mpp == slide.mpp
    # Over both folds every slide is held out once; the first alone knows each part of the split.
    drawn._splits = splits[splits["fold"] == 0]
    words = {"train": "trained on", "val": "used to choose the epoch", "test": "held out"}
    for split, said in words.items():
        rows = drawn._splits[drawn._splits["split"] == split]
        slide = store.slide(rows[rows["slide_id"].isin(ids_of(trained))].iloc[0]["slide_id"])
        assert next(drawn.pictures(slide)).said.endswith(f", {said}")


def test_a_damaged_picture_fails_its_slide_and_the_rest_goes_on(made: Made) -> None:
    ids = ids_of(made)
    (chunk,) = (made.store / "slides" / f"{ids[0]}.zarr" / "0" / "c").rglob("0/0/0")
    content = bytearray(chunk.read_bytes())
    content[40:400] = bytes(360)
    chunk.write_bytes(content)
    outcome = run_heatmap(made.store, made.run, None, BOTH, slide_ids=ids[:2], scorer=CPU)
    assert outcome.done == [ids[1]]
    assert outcome.failed[ids[0]].startswith("grad-cam: ")
    assert "cannot be decoded" in outcome.failed[ids[0]]
    assert (made.run / "heatmaps" / f"{ids[0]}.png").exists()


def test_scores_elsewhere_need_the_run_that_made_them(made: Made) -> None:
    ids = ids_of(made)[:1]
    out = made.store.parent / "scores"
    run_predict(made.store, made.run, out, device="cpu", slide_ids=ids)
    with pytest.raises(StoreError, match=r"no network to look into: name the run .* --model"):
        run_heatmap(made.store, out, None, GRAD_CAM, scorer=CPU)
    outcome = run_heatmap(made.store, out, None, GRAD_CAM, scorer=Scorer(made.run, None, "cpu"))
    assert outcome.done == ids
    nosuch = Scorer(Path("nosuch"), None, "cpu")
    with pytest.raises(StoreError, match="nosuch: there is no such folder"):  # though all is drawn
        run_heatmap(made.store, out, None, GRAD_CAM, scorer=nosuch, overwrite=True)
    with pytest.raises(StoreError, match="nosuch: there is no such folder"):
        GradCam(Store(made.store), RunFolder(Path("nosuch")), "cpu", print)


def test_a_store_of_other_pictures_is_not_called_one_of_slides(made: Made) -> None:
    for slide in (made.store / "slides").iterdir():
        slide.rename(slide.with_name(f"other-{slide.name}"))
    outcome = run_heatmap(made.store, made.run, None, BOTH, scorer=CPU)
    assert set(outcome.failed) == set(ids_of(made))
    assert not outcome.done


def test_a_transformer_has_no_map_to_draw() -> None:
    for name in ("timm:test_vit", "umae-small"):
        with pytest.raises(ConfigError, match="no feature map"):
            _check_map(build_encoder(name, "random"))
    _check_map(build_encoder("timm:test_resnet", "random"))


def test_nothing_is_read_between_two_pictures(trained: Made, tmp_path: Path) -> None:
    config = HeatmapConfig(stride=8)
    with pytest.raises(UsageError, match="holds single pictures"):
        run_heatmap(trained.store, trained.run, tmp_path, config, scorer=CPU)


def test_pictures_stand_in_rows_with_their_own_colours_and_lesions(trained: Made) -> None:
    slide_id = ids_of(trained)[0]
    slide = heatmap_of(trained, slide_id)
    shown = overview(slide)
    assert (shown.words.bare, slide.scores.unit) == ("pictures", "picture")
    assert shown.words.rest == ""
    assert shown.truth is not None
    assert shown.truth.mask.shape == shown.image.shape[:2]
    across = round(np.sqrt(PICTURES))
    for number, facts in enumerate(slide.stored.pictures):
        x, y = shown.scores.xy_l0[number]
        assert (x // SIDE, y // SIDE) == (number % across, number // across)
        picture = shown.image[y : y + SIDE, x : x + SIDE]
        np.testing.assert_array_equal(picture, slide.stored.read_rgb(number))
        ((left, top, width, height),) = facts["boxes"]
        rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
        inside = (abs(rows - top - height / 2) < height / 2) & (
            abs(cols - left - width / 2) < width / 2
        )
        drawn = shown.truth.mask[y : y + SIDE, x : x + SIDE]
        assert (drawn != inside)[2:-2, 2:-2].mean() < 0.15  # edges are rounded outwards
        assert not drawn[[0, -1]].any()


def test_an_only_picture_is_called_one(tmp_path: Path) -> None:
    images = write_mini_mias(tmp_path / "images", 8, 192)
    cut = MiniMiasOptions(CutOptions("whole", side=64))
    ingest(find_mini_mias(images, cut), tmp_path / "store")
    store = Store(tmp_path / "store")
    outlines = {slide_id: lesion_outline(store.slide(slide_id)) for slide_id in store.slide_ids()}
    assert not outlines["mdb001"].mask.any()  # type: ignore[union-attr]
    assert outlines["mdb006"].mask.any()  # type: ignore[union-attr]
    stored = store.slide("mdb006")
    side = Size(*stored.grid.side_l0())
    scores = PatchScores(stored.patches.xy_l0, side, np.float32([0.5]), "p", "probability")
    shown = overview(SlideHeatmap(stored, scores, BOTH, outlines["mdb006"], lambda: None))  # type: ignore
    assert shown.words.scored == "picture with its score"
    np.testing.assert_array_equal(shown.image, stored.thumbnail())
    np.testing.assert_array_equal(shown.truth.mask, outlines["mdb006"].mask)  # type: ignore


def test_the_contact_sheet_names_pictures_and_boxes_their_lesions(
    trained: Made, tmp_path: Path
) -> None:
    slide = heatmap_of(trained, ids_of(trained)[0])
    black = [np.zeros((60, 60, 3), np.uint8)] * PICTURES
    args = (slide.scores, extremes(slide.scores, 8), black, Mpp(1.0, 1.0), "t", tmp_path / "a.png")
    sheets = []
    for boxes in ([[10.0, 10.0, 30.0, 30.0]], []):
        draw_contact_sheet(*args, facts=[PictureFacts("p", boxes)] * PICTURES)
        sheets.append(np.asarray(Image.open(tmp_path / "a.png")))
    # A line around 30 px, two px wide on either side of a black one.
    changed = (sheets[0] != sheets[1]).any(axis=2)[84 + 44 : 84 + 44 + 76]
    assert changed.sum() == PICTURES * (34**2 - 30**2 + 26**2 - 22**2)
