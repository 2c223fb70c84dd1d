"""A finer stride: equal to the patches' own scores where it must be, and by hand elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.stages.heatmaps.conftest import Drawn
from tests.stages.heatmaps.test_heatmap import Lines
from wsikit.config import HeatmapConfig
from wsikit.errors import ConfigError, StoreError
from wsikit.heatmap.scores import PatchScores
from wsikit.slides.open import open_slide
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.heatmaps import window_scorers
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.heatmaps.restride import Restride
from wsikit.stages.heatmaps.run_scores import slide_scores
from wsikit.stages.heatmaps.stride import Scorer, checked_stride
from wsikit.stages.heatmaps.windows import Shift, Windows, open_windows
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training.model_folder import Model
from wsikit.stages.training.run_heads import trained_heads
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Scorer(device="cpu")


def finer(
    drawn: Drawn, run: Path, stride: int, slide_id: str = "s001", score: str = "score",
    source: SourceSlide | None = None, lines: Lines | None = None,
) -> tuple[PatchScores, PatchScores, StoredSlide]:  # fmt: skip
    """Return the patches' own scores, those at a stride, and the slide."""
    config = HeatmapConfig.model_validate({"stride": stride, "score": score})
    store = Store(drawn.store)
    stored, folder = store.slide(slide_id), RunFolder(run)
    base = slide_scores(folder, stored, config)
    made = Restride(store, folder, config, CPU, (lines or Lines()).say)
    return base, made.scores(stored, base, source), stored


def test_the_patch_itself_as_stride_gives_the_very_scores(drawn: Drawn) -> None:
    for run in (drawn.run, drawn.graphs):
        base, same, _ = finer(drawn, run, 128)
        assert same.values.tobytes() == base.values.tobytes()
        assert (same.xy_l0 == base.xy_l0).all()
        assert (same.side_l0, same.detail) == (base.side_l0, "")


@pytest.mark.parametrize("which", ["run", "graphs"])
def test_the_unmoved_grid_is_scored_as_predict_scored_it(drawn: Drawn, which: str) -> None:
    """The path of moved grids, on the one grid whose scores are known: abmil, and by graphs."""
    run = RunFolder(getattr(drawn, which))
    stored = Store(drawn.store).slide("s003")
    score = window_scorers.shift_scorer(Model(run), None, "cpu")
    fold = int(run.predictions().set_index("slide_id").loc["s003", "fold"])
    dtype = str(stored.feature_dtype(stored.encoder_ids()[0]))
    table = pd.read_parquet(run.patch_table("s003"))
    with open_windows(stored, None) as windows:
        unmoved = Shift(0, 0, stored.patches.rowcol)
        ours = score("s003", windows, unmoved, [fold], dtype, lambda patches: None)
    assert ours.patch_probabilities is not None
    np.testing.assert_allclose(ours.patch_probabilities[:, 1], table["score"], atol=2e-5)


def test_a_cell_is_the_mean_of_the_reads_over_it_by_hand(drawn: Drawn) -> None:
    """Every read cut out of a picture of the whole store, scored alone, averaged by a loop."""
    base, fine, stored = finer(drawn, drawn.run, 64)
    run, grid = RunFolder(drawn.run), stored.grid
    model = Model(run)
    fold = int(run.predictions().set_index("slide_id").loc["s001", "fold"])
    head, encoder = trained_heads(run, model.facts)[fold].eval(), model.encoder().eval()
    canvas = np.zeros((grid.rows * 128, grid.cols * 128, 3), np.uint8)
    kept = np.zeros(canvas.shape[:2], bool)
    for n, (row, col) in enumerate(stored.patches.rowcol.tolist()):
        canvas[row * 128 : row * 128 + 128, col * 128 : col * 128 + 128] = stored.read_patch(n)
        kept[row * 128 : row * 128 + 128, col * 128 : col * 128 + 128] = True
    total, count = np.zeros(canvas.shape[:2]), np.zeros(canvas.shape[:2])
    from wsikit.heads.bag import Bag

    for y in range(0, len(canvas) - 127, 64):
        for x in range(0, canvas.shape[1] - 127, 64):
            window = slice(y, y + 128), slice(x, x + 128)
            if not kept[window].all():
                continue
            pixels = torch.from_numpy(canvas[window].copy()).permute(2, 0, 1)[None]
            with torch.inference_mode():
                feature = encoder(pixels).numpy().astype("float16").astype(np.float32)
                one = Bag(torch.from_numpy(feature), torch.zeros(1, 2, dtype=torch.int64))
                logits = head(one).patch_logits
            assert logits is not None
            total[window] += torch.softmax(logits[0], 0)[1].item()
            count[window] += 1
    assert count.max() == 4
    scale = grid.scale
    for (x, y), value in zip(fine.xy_l0.tolist(), fine.values.tolist(), strict=True):
        row, col = round(y / scale[1]) + 32, round(x / scale[0]) + 32
        assert value == pytest.approx(total[row, col] / count[row, col], abs=1e-4)
    assert len(fine.values) > 2 * len(base.values)
    assert "smoothed, every 64 px" in fine.shown_meaning
    assert (base.units, fine.units) == ("patches", "squares")


def test_cells_tile_the_stored_patches_and_nothing_else(drawn: Drawn) -> None:
    base, fine, stored = finer(drawn, drawn.run, 32)
    assert len({tuple(xy) for xy in fine.xy_l0.tolist()}) == len(fine.values)
    side = stored.grid.side_l0()
    owners = {tuple(xy) for xy in base.xy_l0.tolist()}
    for x, y in (fine.xy_l0 + 1).tolist():
        assert any(a <= x < a + side[0] and b <= y < b + side[1] for a, b in owners)
    assert (fine.xy_l0 < stored.grid.slide_px).all()
    assert 0 <= fine.values.min() <= fine.values.max() <= 1


def test_what_was_computed_is_kept_for_the_next_format(
    drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()
    _, first, _ = finer(drawn, drawn.run, 64, lines=lines)
    assert any("patches between the stored ones" in line for line in lines.said)
    path = drawn.run / "strides" / "64" / "s001.parquet"
    before = path.stat().st_mtime_ns

    def never(*args: object) -> object:
        raise AssertionError("scored again")

    monkeypatch.setattr("wsikit.stages.heatmaps.restride.shift_scorer", never)
    _, second, _ = finer(drawn, drawn.run, 64)
    assert second.values.tobytes() == first.values.tobytes()
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="again"):
        finer(drawn, drawn.run, 64)


def test_graphs_and_attention_are_scored_grid_by_grid(drawn: Drawn) -> None:
    base, fine, _ = finer(drawn, drawn.graphs, 64)
    assert len(fine.values) > len(base.values)
    base, fine, _ = finer(drawn, drawn.run, 64, score="attention")
    assert fine.kind == "attention"
    assert fine.shown_meaning.startswith("attention: percentile within this slide (smoothed")
    # As much as the average patch means the same in every grid: cells lie where patches' lie.
    assert base.values.min() / 3 < fine.values.mean() < base.values.max() * 3


def test_with_the_file_reads_reach_beyond_the_stored_patches(drawn: Drawn) -> None:
    """A missing neighbour is read from the file, as tiling would have stored it but for JPEG."""
    stored = Store(drawn.store).slide("s001")
    with open_slide(drawn.slides / "s001.tiff", stored.mpp_l0) as slide:
        windows = Windows(stored, slide)
        alone = Windows(stored, None)
        for with_file, without in zip(windows.shifts(64), alone.shifts(64), strict=True):
            ours = {tuple(place) for place in with_file.rowcol.tolist()}
            theirs = {tuple(place) for place in without.rowcol.tolist()}
            assert theirs <= ours
        first = stored.patches.rowcol[0].tolist()
        known = stored.read_patch(0).astype(int)
        del windows._index[(first[0], first[1])]  # as if it had not been stored
        again = windows.read(first[0], first[1], Shift(0, 0, np.empty((0, 2), np.int64)))
        assert np.abs(again.astype(int) - known).mean() < 4


def test_a_stride_that_does_not_fit_is_one_line(drawn: Drawn) -> None:
    with pytest.raises(ConfigError, match="use one of: 64, 32, 16, 8"):
        finer(drawn, drawn.run, 100)
    with pytest.raises(ConfigError):
        finer(drawn, drawn.run, 256)
    bare = drawn.store.parent / "bare"
    (bare / "patches").mkdir(parents=True)
    RunFolder(bare).patch_table("s001").write_bytes(
        RunFolder(drawn.run).patch_table("s001").read_bytes()
    )
    config = HeatmapConfig(formats=("geojson",), stride=64)
    with pytest.raises(StoreError, match="name the run that predicted them with --model RUN"):
        run_heatmap(drawn.store, bare, None, config)
    outcome = run_heatmap(
        drawn.store, bare, None, config, scorer=Scorer(model=drawn.run, device="cpu")
    )
    assert outcome.done == ["s001"]
    page = (bare / "heatmaps" / "cohort.html").read_text()
    assert "smoothed, every 64 px" in page


@pytest.mark.parametrize(("side", "fix"), [(64, "use one of: 32, 16, 8"), (299, "leave --stride")])
def test_only_strides_that_are_allowed_are_named(side: int, fix: str) -> None:
    with pytest.raises(ConfigError, match="is no multiple of it") as told:
        checked_stride(24, side)
    assert told.value.fix is not None
    assert told.value.fix.startswith(fix)
    assert not told.value.fix.endswith("4")
