"""`run_heatmap`: what is written, what is skipped, and one line for each thing that is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.stages.heatmaps.conftest import Drawn
from wsikit.atomic import locked
from wsikit.config import HeatmapConfig, load_config
from wsikit.errors import ConfigError, StoreError, UsageError
from wsikit.heatmap.colours import heat_lut
from wsikit.stages.cohort import source_slides
from wsikit.stages.evaluation.slides import run_title
from wsikit.stages.heatmaps.file_names import holder
from wsikit.stages.heatmaps.grad_cam import GradCam
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.heatmaps.run_scores import run_names, slide_scores
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

GEOJSON = HeatmapConfig(formats=("geojson",))
BOTH = HeatmapConfig(formats=("png", "geojson"))


class Lines(Silent):
    """Remember what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def written(folder: Path) -> dict[str, int]:
    """Return name and time of every file in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def edit_table(run: Path, slide_id: str, **columns: object) -> None:
    """Change columns of a slide's patch scores."""
    path = RunFolder(run).patch_table(slide_id)
    table = pd.read_parquet(path)
    attrs = dict(table.attrs)
    table = table.assign(**columns)
    table.attrs = attrs
    table.to_parquet(path, index=False)


def test_a_second_run_draws_nothing_and_touches_nothing(drawn: Drawn) -> None:
    first = run_heatmap(drawn.store, drawn.run, None, GEOJSON)
    assert len(first.done) == 8
    assert first.empty == ["glass"]
    folder = drawn.run / "heatmaps"
    before = written(folder)
    assert {"s000.geojson", "glass.geojson", "cohort.html"} <= before.keys()
    again = run_heatmap(drawn.store, drawn.run, None, GEOJSON)
    assert sorted(again.skipped) == sorted(first.done)
    assert not again.done
    assert written(folder) == before


def test_what_changed_is_drawn_again_and_only_that(drawn: Drawn) -> None:
    folder = drawn.run / "heatmaps"
    run_heatmap(drawn.store, drawn.run, None, GEOJSON)
    edit_table(drawn.run, "s003", score=np.float32(0.5))
    (folder / "s004.geojson").unlink()
    assert sorted(run_heatmap(drawn.store, drawn.run, None, GEOJSON).done) == ["s003", "s004"]
    (folder / ".made" / "s005.json").write_text("{")  # a damaged record is no record
    assert run_heatmap(drawn.store, drawn.run, None, GEOJSON).done == ["s005"]
    other = GEOJSON.model_copy(update={"scale": "percentile"})
    assert len(run_heatmap(drawn.store, drawn.run, None, other, slide_ids=["s001"]).done) == 1
    again = run_heatmap(drawn.store, drawn.run, None, other, slide_ids=["s001"], overwrite=True)
    assert again.done == ["s001"]


def test_a_slide_without_tissue_gets_files_that_say_so(drawn: Drawn) -> None:
    outcome = run_heatmap(drawn.store, drawn.run, None, BOTH, slide_ids=["glass"])
    assert outcome.empty == ["glass"]
    folder = drawn.run / "heatmaps"
    assert json.loads((folder / "glass.geojson").read_text())["features"] == []
    with Image.open(folder / "glass.png") as picture:
        picture.load()
    scores = slide_scores(RunFolder(drawn.run), Store(drawn.store).slide("glass"), GEOJSON)
    assert "no tissue was found" in scores.shown_meaning


def test_wrong_slides_are_named_and_the_rest_goes_on(drawn: Drawn) -> None:
    edit_table(drawn.run, "s000", score=np.float32(np.nan))
    RunFolder(drawn.run).patch_table("s001").write_bytes(b"PAR1 not a table")
    RunFolder(drawn.run).patch_table("gone").write_bytes(
        RunFolder(drawn.run).patch_table("s002").read_bytes()
    )
    edit_table(drawn.run, "s003", x=0)
    edit_table(drawn.run, "s004", score="high")
    outcome = run_heatmap(drawn.store, drawn.run, None, GEOJSON)
    assert sorted(outcome.done) == ["s002", "s005", "s006", "s007"]
    assert sorted(outcome.failed) == ["gone", "s000", "s001", "s003", "s004"]
    assert all("\n" not in reason for reason in outcome.failed.values())
    assert (
        "patch scores ('probability of tumour') are not between 0 and 1" in outcome.failed["s000"]
    )
    assert "s000.parquet" in outcome.failed["s000"]
    assert "no table of patch scores" in outcome.failed["s001"]
    assert "tiled again since it was predicted" in outcome.failed["s003"]
    assert "no table of patch scores" in outcome.failed["s004"]
    assert not (drawn.run / "heatmaps" / "s003.geojson").exists()
    page = (drawn.run / "heatmaps" / "cohort.html").read_text()
    assert "tiled again since" in page


def test_a_store_tiled_again_is_noticed_though_the_corners_are_the_same(drawn: Drawn) -> None:
    config = load_config(
        None,
        ["tile.size=128", "tile.mpp=1.0", "tile.filters=[rgb]", "tile.rgb.window=20",
         "tile.stain.method=none"],
    )  # fmt: skip
    again = drawn.store.parent / "again"
    run_tile(source_slides([drawn.slides / "s001.tiff"]), again, config.tile)
    outcome = run_heatmap(again, drawn.run, None, GEOJSON, slide_ids=["s001"])
    assert "tiled again since it was predicted" in outcome.failed["s001"]
    # A table of an earlier wsikit names no patches: its corners are believed.
    path = RunFolder(drawn.run).patch_table("s001")
    table = pd.read_parquet(path)
    table.attrs = {"score": "probability of tumour", "kind": "probability"}
    table.to_parquet(path, index=False)
    assert run_heatmap(again, drawn.run, None, GEOJSON, slide_ids=["s001"]).done == ["s001"]


def test_a_wrong_call_is_one_line(drawn: Drawn) -> None:
    with pytest.raises(StoreError, match="no patch scores yet"):
        run_heatmap(drawn.store, drawn.store.parent / "nowhere", None, GEOJSON)
    with pytest.raises(StoreError, match="'s99' has no patch scores"):
        run_heatmap(drawn.store, drawn.run, None, GEOJSON, slide_ids=["s99"])
    with pytest.raises(UsageError, match="no such folder"):
        run_heatmap(drawn.store, drawn.run, None, GEOJSON, truth=drawn.store / "truth")
    with pytest.raises(UsageError):
        run_heatmap(drawn.store, drawn.run, None, GEOJSON, slides=drawn.store / "nowhere")
    with pytest.raises(ConfigError, match="did you mean 'geojson'"):
        load_config(None, ['heatmap.formats=["gejson"]'])


def test_attention_is_a_percentile_and_says_so_unless_asked_otherwise(drawn: Drawn) -> None:
    run, stored = RunFolder(drawn.run), Store(drawn.store).slide("s001")
    shown = slide_scores(run, stored, HeatmapConfig(score="attention"))
    assert shown.shown_meaning == "attention: percentile within this slide"
    raw = slide_scores(run, stored, HeatmapConfig(score="attention", scale="raw"))
    assert raw.shown_meaning == "attention: share of the highest in this slide"
    np.testing.assert_allclose(raw.shown, raw.values / raw.values.max(), rtol=1e-6)
    ranked = slide_scores(run, stored, HeatmapConfig(scale="percentile"))
    assert ranked.shown_meaning == "probability of tumour: percentile within this slide"
    np.testing.assert_array_equal(ranked.shown, ranked.percentile / np.float32(100))
    assert slide_scores(run, stored, GEOJSON).shown_meaning == "probability of tumour"


def test_several_runs_the_first_is_drawn_and_a_wrong_one_is_told(drawn: Drawn) -> None:
    from wsikit.stages.heatmaps import formats

    seen = []
    lines = Lines()
    before = formats.FORMATS["geojson"]
    try:
        formats.FORMATS["geojson"] = lambda slide, folder: seen.append(slide)  # type: ignore[index]
        edit_table(drawn.graphs, "s002", score=np.float32(7))
        outcome = run_heatmap(
            drawn.store, drawn.run, None, GEOJSON, others=[drawn.graphs],
            slide_ids=["s001", "s002"], progress=lines,
        )  # fmt: skip
    finally:
        formats.FORMATS["geojson"] = before  # type: ignore[index]
    assert outcome.done == ["s001", "s002"]
    first, second = seen
    assert first.run == "run"
    assert [other.name for other in first.others] == ["graphs"]
    assert first.prediction["slide_id"] == "s001"
    assert not second.others
    assert any("s002: run graphs left out" in line for line in lines.said)


def test_runs_are_named_by_as_much_of_their_path_as_it_takes() -> None:
    assert run_names([Path("/x/a/run"), Path("/x/b/run")]) == ["a/run", "b/run"]
    assert run_names([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    with pytest.raises(UsageError, match="twice"):
        run_names([Path("a"), Path("a")])


def test_predict_keeps_why_a_slide_failed_and_forgets_it_once_it_is_scored(drawn: Drawn) -> None:
    run = RunFolder(drawn.run)
    assert list(run.failures()) == ["glass"]
    features = drawn.store / "slides" / "s001.zarr" / "features"
    away = drawn.store / "away"
    features.rename(away)
    assert "s001" in run_predict(drawn.store, drawn.run, device="cpu", slide_ids=["s001"]).failed
    assert sorted(run.failures()) == ["glass", "s001"]
    away.rename(features)
    run_predict(drawn.store, drawn.run, device="cpu", slide_ids=["s001"])
    assert list(run.failures()) == ["glass"]


def test_a_table_of_other_patches_is_refused_before_it_is_read(drawn: Drawn) -> None:
    edit_table(drawn.run, "s001", width=np.int32(-5))
    edit_table(drawn.run, "s002", height=np.nan)
    many = RunFolder(drawn.run).patch_table("s003")
    pd.concat([pd.read_parquet(many)] * 9).to_parquet(many, index=False)
    outcome = run_heatmap(drawn.store, drawn.run, None, GEOJSON)
    assert outcome.failed.keys() == {"s001", "s002", "s003"}
    assert "its table says of patches of" in outcome.failed["s001"]
    assert "tiled again since" in outcome.failed["s003"]


def test_a_run_that_is_not_there_is_one_line(drawn: Drawn) -> None:
    with pytest.raises(StoreError, match="there is no such folder"):
        run_heatmap(drawn.store, drawn.run / "typo", None, GEOJSON)


def test_two_runs_at_once_do_not_share_a_folder(drawn: Drawn) -> None:
    folder = drawn.run / "heatmaps"
    (folder / ".made").mkdir(parents=True)
    with (
        locked(folder / ".made" / ".lock", UsageError("not this one")),
        pytest.raises(UsageError, match="another wsikit run is writing to this folder"),
    ):
        run_heatmap(drawn.store, drawn.run, None, GEOJSON)
    assert len(run_heatmap(drawn.store, drawn.run, None, GEOJSON).done) == 8


def test_two_slides_that_ask_for_one_name_are_told_apart(drawn: Drawn) -> None:
    for old, new in (("s000", "a"), ("s001", "a.patches")):
        for path in (drawn.store / "slides" / f"{old}.zarr", drawn.run / f"patches/{old}.parquet"):
            path.rename(path.with_name(new + path.suffix))
    config = HeatmapConfig(formats=("png", "sheet"), cohort=False)
    folder, both = drawn.run / "heatmaps", ["a", "a.patches"]
    outcome = run_heatmap(drawn.store, drawn.run, None, config, slide_ids=both)
    assert outcome.done == ["a"]
    assert outcome.failed["a.patches"].startswith(
        "png: a.patches.png is the sheet of slide 'a': draw one of the two into another folder"
    )
    assert (folder / "a.patches.patches.png").exists()  # its other files are written
    apart = folder.parent / "apart"
    assert run_heatmap(drawn.store, drawn.run, apart, config, slide_ids=both[1:]).done == both[1:]
    assert "is the png of slide 'a.patches'" in holder(apart, "sheet", "a")
    assert holder(apart, "png", "a") is None
    assert "no slide's" in holder(apart, "html", "cohort.html")


def test_grad_cam_of_slides_or_of_a_run_without_a_network_is_one_line(drawn: Drawn) -> None:
    config = HeatmapConfig(formats=("png", "grad-cam"))
    with pytest.raises(UsageError, match="holds slides, and Grad-CAM is drawn of single pictures"):
        run_heatmap(drawn.store, drawn.run, None, config)
    with pytest.raises(UsageError, match="'abmil' was trained on features"):
        GradCam(Store(drawn.store), RunFolder(drawn.run), "cpu", print)


def test_the_cohort_page_links_every_file(drawn: Drawn) -> None:
    config = HeatmapConfig(formats=("png", "sheet", "geojson", "ome-tiff", "html", "html-file"))
    run_heatmap(drawn.store, drawn.run, None, config, slide_ids=["s001"])
    page = (drawn.run / "heatmaps" / "cohort.html").read_text()
    files = {str(path.name) for path in (drawn.run / "heatmaps").glob("s001*.*")}
    assert len(files) == 6
    assert f"<bdi>{run_title(drawn.run)}: all slides</bdi>" in page
    assert run_title(drawn.run) == f"{drawn.run.parent.name} / run"
    # The page's scale shows colours as they look over tissue, which is neither white nor black.
    (scale,) = re.findall(r"linear-gradient\(to right, (.*?)\)", page)
    table, small = heat_lut().astype(int), max(config.alpha, 0.6)
    ends = [np.frombuffer(bytes.fromhex(end[1:]), np.uint8) for end in scale.split(", ")]
    under = [(ends[i] - table[i] * small) / (1 - small) for i in (0, -1)]
    np.testing.assert_allclose(under[0], under[1], atol=2)
    assert 60 < under[0].mean() < 235
    for file in {*files, "s001/index.html"}:
        assert f'href="{file}"' in page
