"""One tumour square on a slide with scanned bounds: does everything lie on it?

The slide is not square, its mpp along x differs from y, and it states bounds as an MRXS does. What
a patch scores is counted in the store's own pixels, so the way from slide to file is tested whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from PIL import Image
from shapely.affinity import translate
from shapely.geometry import box, mapping, shape

from tests.stages.made_run import make_run, write_patches
from wsikit.config import HeatmapConfig, load_config
from wsikit.errors import StoreError
from wsikit.slides import tiff
from wsikit.stages.cohort import source_slides
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.evaluation.truth import TruthRule
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.heatmaps.truth_outline import truth_outline
from wsikit.stages.labelled import source_fingerprint
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.types import Mpp, Size

CORNER = (90, 40)
"""What the slide states as the corner of its scanned bounds, level-0 px."""

TUMOUR = box(324, 100, 436, 210)
"""Where the tumour is, level-0 px."""

SLIDE_PX, MPP = Size(620, 350), Mpp(0.8, 0.73)
BOUNDS = {"bounds-x": CORNER[0], "bounds-y": CORNER[1], "bounds-width": 500, "bounds-height": 300}
SETTINGS = (
    "tile.size=32", "tile.mpp=1.0", "tile.filters=[]", "tile.min_foreground=0",
    "tile.stain.method=none", "tile.codec.name=zstd",
)  # fmt: skip
TOP = "probability of tumour"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A slide with bounds and one without a tumour, tiled and scored by their pixels."""
    honest = tiff.safe_properties
    monkeypatch.setattr(tiff, "safe_properties", lambda raw, levels: honest(raw | BOUNDS, levels))
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("ill", "well"):
        pixels = np.full((SLIDE_PX[1], SLIDE_PX[0], 3), (225, 190, 215), np.uint8)
        if name == "ill":
            left, top, right, bottom = map(int, TUMOUR.bounds)
            pixels[top:bottom, left:right] = (70, 40, 120)
        tifffile.imwrite(
            slides / f"{name}.tiff", pixels, photometric="rgb", tile=(256, 256), metadata=None,
            compression="deflate", resolution=(1e4 / MPP.x, 1e4 / MPP.y),
            resolutionunit="CENTIMETER",
        )  # fmt: skip
    tile = load_config(None, SETTINGS).tile
    assert len(run_tile(source_slides([slides]), tmp_path / "store", tile).done) == 2
    store = Store(tmp_path / "store")
    table = pd.DataFrame(
        {
            "slide_id": ["ill", "well"], "patient_id": ["a", "b"], "label": ["tumour", "normal"],
            "split": "test", "fold": 0, "prob_normal": [0.1, 0.9], "prob_tumour": [0.9, 0.1],
            "fingerprint": [source_fingerprint(store, name) for name in ("ill", "well")],
        }
    )  # fmt: skip
    made = make_run(tmp_path / "run", table)
    for name in ("ill", "well"):
        stored = store.slide(name)
        dark = [(stored.read_patch(i)[..., 1] < 115).mean() for i in range(stored.patch_count)]
        score = np.array(dark, np.float32)
        columns = {"score": score, "prob_tumour": score, "prob_normal": 1 - score}
        attrs = {"score": TOP, "kind": "probability"}
        corners = [(int(x), int(y)) for x, y in stored.patches.xy_l0]
        write_patches(made, name, corners, stored.grid.side_l0(), columns, attrs)
    return made


def drawn(run: RunFolder, **options: Any) -> list[dict[str, Any]]:
    """Write the file and return its features, moved to the slide's frame by the stated offset."""
    config = HeatmapConfig(formats=("geojson",), cohort=False, **options)
    store = run.path.parent / "store"
    assert not run_heatmap(store, run.path, None, config, overwrite=True).failed
    return json.loads((run.heatmaps / "ill.geojson").read_text())["features"]


def truth_folder(run: RunFolder) -> Path:
    folder = run.path.parent / "truth"
    folder.mkdir(exist_ok=True)
    return folder


def evaluated(run: RunFolder, **rule: Any) -> dict[str, Any]:
    truth = TruthRule(truth_folder(run), **rule)
    run_evaluate(run.path, truth=truth, store=run.path.parent / "store")
    return json.loads(run.metrics_json.read_text())["truth"]


def in_qupath(area: shapely.Geometry) -> dict[str, Any]:
    """What QuPath would write of an area drawn on the slide that it cuts to its bounds."""
    seen = translate(area, -CORNER[0], -CORNER[1])
    properties = {"objectType": "annotation", "classification": {"name": "Tumor"}}
    return {"type": "Feature", "geometry": mapping(seen), "properties": properties}


def in_asap(area: shapely.Geometry) -> str:
    """What ASAP would write of it: it shows the slide whole."""
    points = "".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>'
        for n, (x, y) in enumerate(area.exterior.coords[:-1])
    )
    return (
        '<ASAP_Annotations><Annotations><Annotation Type="Polygon" PartOfGroup="None">'
        f"<Coordinates>{points}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )


def test_the_highest_patch_lies_on_the_tumour(run: RunFolder) -> None:
    patches = drawn(run)
    best = max(patches, key=lambda f: f["properties"]["measurements"][TOP])
    assert best["properties"]["measurements"]["rank"] == 1
    seen = shape(best["geometry"])  # as QuPath places it: from the corner of the bounds
    assert TUMOUR.covers(translate(seen, *CORNER))
    (whole,) = (f for f in drawn(run, origin="slide") if f["properties"] == best["properties"]
                and TUMOUR.covers(shape(f["geometry"])) and
                shape(f["geometry"]).equals(translate(seen, *CORNER)))  # fmt: skip
    assert shape(whole["geometry"]).bounds[0] > 300  # x, not y


@pytest.mark.parametrize("origin", ["qupath", "slide"])
def test_merged_areas_enclose_the_tumour(run: RunFolder, origin: str) -> None:
    features = drawn(run, style="contours", thresholds=(0.01, 0.99), origin=origin)
    around, within = (
        translate(shape(feature["geometry"]), *(CORNER if origin == "qupath" else (0, 0)))
        for feature in features
    )
    assert around.covers(TUMOUR)
    assert TUMOUR.covers(within)
    measured = features[0]["properties"]["measurements"]
    assert measured["area um^2"] == pytest.approx(around.area * MPP.x * MPP.y, rel=1e-5)


def test_masks_qupath_and_asap_give_the_same_numbers(run: RunFolder) -> None:
    folder = truth_folder(run)
    image = np.zeros(SLIDE_PX[::-1], np.uint8)
    left, top, right, bottom = map(int, TUMOUR.bounds)
    image[top:bottom, left:right] = 255
    Image.fromarray(image).save(folder / "ill_mask.png")
    by_mask = evaluated(run)
    (folder / "ill_mask.png").unlink()
    assert by_mask["auc"]["value"] == 1
    (folder / "ill.geojson").write_text(json.dumps(in_qupath(TUMOUR)))
    assert evaluated(run) == by_mask
    assert evaluated(run, regions=("Tumor",)) == by_mask
    assert evaluated(run, origin="slide")["auc"]["value"] < 0.9  # shifted by the bounds
    (folder / "ill.geojson").unlink()
    (folder / "ill.xml").write_text(in_asap(TUMOUR))
    assert evaluated(run) == by_mask
    assert evaluated(run, origin="slide") == by_mask  # ASAP's frame is known


@pytest.mark.parametrize("origin", ["qupath", "slide"])
def test_what_is_exported_is_read_back(run: RunFolder, origin: str) -> None:
    """Merged areas from 0.5 on, as known regions of the same scores: a perfect answer."""
    drawn(run, style="contours", thresholds=(0.5,), origin=origin)
    file = run.heatmaps / "ill.geojson"
    file.rename(truth_folder(run) / "ill.geojson")
    for read_as in ("qupath", "slide"):  # the file says itself what was added
        found = evaluated(run, origin=read_as)
        assert found["dice"]["value"] == 1
        assert found["froc"]["lesions"] == 1


def test_the_same_drawing_says_where_to_tile(run: RunFolder) -> None:
    keep = truth_folder(run) / "keep.geojson"
    keep.write_text(json.dumps(in_qupath(TUMOUR)))
    slides, settings = (
        [run.path.parent / "slides" / "ill.tiff"],
        [*SETTINGS, f"tile.roi.keep={keep}"],
    )
    kept = {}
    for origin in ("qupath", "slide"):
        tile = load_config(None, [*settings, f"tile.roi.origin={origin}"]).tile
        store = run.path.parent / f"kept-{origin}"
        assert run_tile(source_slides(slides), store, tile).done
        stored = Store(store).slide("ill")
        corners, side = stored.patches.xy_l0, np.array(stored.grid.side_l0())
        kept[origin] = shapely.box(*corners.T, *(corners + side).T)
    assert (shapely.area(shapely.intersection(kept["qupath"], TUMOUR)) > 0).all()
    assert not shapely.intersects(kept["slide"], TUMOUR).all()


def test_several_thresholds_are_told_apart_by_their_class(run: RunFolder) -> None:
    drawn(run, style="both", thresholds=(0.3, 0.5))
    (run.heatmaps / "ill.geojson").rename(truth_folder(run) / "ill.geojson")
    with pytest.raises(StoreError, match=r"several classes .*--region"):
        evaluated(run)
    assert evaluated(run, regions=("tumour >= 0.5",))["dice"]["value"] == 1


def test_the_outline_is_the_same_from_each_kind_of_file(run: RunFolder) -> None:
    stored = Store(run.path.parent / "store").slide("ill")
    folder, config = truth_folder(run), HeatmapConfig()
    assert truth_outline(stored, folder, config) is None
    contents = {"ill.geojson": json.dumps(in_qupath(TUMOUR)), "ill.xml": in_asap(TUMOUR)}
    for name, content in contents.items():
        (folder / name).write_text(content)
        outline = truth_outline(stored, folder, config)
        (folder / name).unlink()
        assert outline is not None
        rows, cols = np.nonzero(outline.mask)
        scale = outline.downsample
        found = (cols.min() * scale[0], rows.min() * scale[1],
                 (cols.max() + 1) * scale[0], (rows.max() + 1) * scale[1])  # fmt: skip
        np.testing.assert_allclose(found, TUMOUR.bounds, atol=max(scale))
        assert outline.mask.sum() == (np.ptp(rows) + 1) * (np.ptp(cols) + 1)


def test_a_file_of_other_things_and_a_broken_one_are_one_line(run: RunFolder) -> None:
    store, folder = run.path.parent / "store", truth_folder(run)
    config = HeatmapConfig(formats=("png",), cohort=False)
    two_points = json.dumps({"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]})
    for name, content, message in (
        ("ill.geojson", two_points, "holds no area (1 empty polygon)"),
        ("ill.xml", "<ASAP_Annotations>", "not XML (no element found, line 1)"),
    ):
        (folder / name).write_text(content)
        failed = run_heatmap(store, run.path, None, config, truth=folder).failed
        (folder / name).unlink()
        assert message in failed["ill"]
        assert "\n" not in failed["ill"]
