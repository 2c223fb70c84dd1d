"""BreakHis: what the names say is what the cohort holds, and pixels are the files' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsikit.errors import StoreError, UsageError
from wsikit.phantoms.histology_pictures import write_breakhis_tree
from wsikit.stages.ingest.breakhis import BreakHisOptions, find_breakhis, parse_name
from wsikit.stages.ingest.ingest import Ingested, IngestOptions, ingest
from wsikit.store.store import Store
from wsikit.types import Size

SIZE = Size(35, 23)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_breakhis_tree(
        tmp_path_factory.mktemp("breakhis"), patients=3, pictures=3, magnifications=(40, 400),
        size=SIZE, double_labelled=True,
    )  # fmt: skip


def take(
    folder: Path, store: Path, options: BreakHisOptions | None = None, **more: object
) -> Ingested:
    return ingest(find_breakhis(folder, options), store, IngestOptions(**more))  # type: ignore[arg-type]


def content(store: Path) -> dict[Path, bytes]:
    return {
        p.relative_to(store): p.read_bytes() for p in (store / "slides").rglob("*") if p.is_file()
    }


def test_names_are_read_and_others_are_not() -> None:
    name = parse_name("SOB_B_TA-14-3411F-40-001.png")
    assert name is not None
    assert name == ("B", "TA", "14-3411F", 40, 1)
    for other in ("SOB_B_DC-14-3411F-40-001.png", "SOB_M_DC-14-3411-50-001.png", "a.png",
                  "SOB_M_DC-14-3411-40-001.jpg", "../SOB_M_DC-14-3411-40-001.png"):  # fmt: skip
        assert parse_name(other) is None


def test_the_published_tree_becomes_slides_with_their_pictures(tree: Path, tmp_path: Path) -> None:
    done = take(tree, tmp_path / "store")
    assert len(done.outcome.done) == 3 * 2
    assert not done.outcome.failed
    cohort = pd.read_csv(done.cohort, dtype=str)
    assert done.cohort == tmp_path / "store.cohort.csv"
    assert "split" not in cohort
    for row in cohort.itertuples():
        slide = Store(tmp_path / "store").slide(row.slide_id)
        paths = sorted(tree.rglob(f"SOB_*-{row.patient_id}-{row.magnification}-*.png"))
        assert len(paths) == len(slide.patches) == 3
        assert row.label in str(paths[0].parent)
        assert row.type in str(paths[0].parent)
        for number, path in enumerate(paths):
            np.testing.assert_array_equal(slide.read_patch(number), np.asarray(Image.open(path)))
        assert [facts["sequence"] for facts in slide.pictures] == [1, 2, 3]
        assert slide.mpp.x == pytest.approx({"40": 0.49, "400": 0.05}[row.magnification], abs=0.01)


def test_the_double_labelled_slide_is_told_of_and_kept_only_if_asked(
    tree: Path, tmp_path: Path
) -> None:
    left = find_breakhis(tree).left_out
    assert [entry.name for entry in left] == ["slide 14-13412"]
    kept = find_breakhis(tree, BreakHisOptions(keep_double_labelled=True, magnifications=(40,)))
    ids = [s.slide_id for s in kept.sources if "13412" in s.slide_id]
    assert ids == ["DC-14-13412-40", "LC-14-13412-40"]
    assert {s.patient_id for s in kept.sources if "13412" in s.slide_id} == {"14-13412"}


def test_a_flat_folder_gives_the_same_bytes_with_any_number_of_workers(
    tree: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in tree.rglob("*.png"):
        shutil.copy(path, flat)
    take(tree, tmp_path / "one", workers=1)
    take(flat, tmp_path / "other", workers=3)
    assert content(tmp_path / "one") == content(tmp_path / "other")


def test_a_second_run_changes_nothing_and_new_files_are_refused_unasked(
    tree: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(tree, own)
    first = take(own, tmp_path / "store")
    before = content(tmp_path / "store")
    again = take(own, tmp_path / "store")
    assert again.outcome.skipped == first.outcome.done
    assert content(tmp_path / "store") == before
    changed = next(own.rglob("SOB_B_A-14-10000-40-001.png"))
    Image.fromarray(np.zeros((SIZE.height, SIZE.width, 3), np.uint8)).save(changed)
    refused = take(own, tmp_path / "store")
    assert list(refused.outcome.failed) == ["14-10000-40"]
    assert "--overwrite" in refused.outcome.failed["14-10000-40"]
    done = take(own, tmp_path / "store", overwrite=True, slide_ids=["14-10000-40"])
    assert done.outcome.done == ["14-10000-40"]
    assert not Store(tmp_path / "store").slide("14-10000-40").read_patch(0).any()
    with pytest.raises(StoreError, match="another recipe"):
        take(own, tmp_path / "store", codec="jpegxl")


def test_foreign_and_damaged_files_are_named_and_the_rest_goes_on(
    tree: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(tree, own)
    (own / "README.txt").write_text("x")
    cut = next(own.rglob("SOB_B_A-14-10000-40-002.png"))
    cut.write_bytes(cut.read_bytes()[:400])
    none = next(own.rglob("SOB_B_A-14-10000-40-003.png"))
    none.write_bytes(b"no picture")
    odd = next(own.rglob("SOB_B_A-14-10000-400-001.png"))
    Image.new("RGB", (90, 23)).save(odd)
    wrong = next(own.rglob("SOB_B_A-14-10000-400-002.png"))
    moved = next(own.rglob("malignant")) / wrong.name
    wrong.rename(moved)
    done = take(own, tmp_path / "store")
    lines = {entry.name.rpartition("/")[2]: entry.reason for entry in done.left_out}
    assert lines["README.txt"] == "not a file name of BreakHis"
    assert "not a picture" in lines[none.name]
    assert lines[odd.name] == "is 90 x 23 px, most are 35 x 23 px"
    assert lines[moved.name] == "its name says benign, its folder malignant"
    assert "cannot be decoded" in lines["14-10000-40"]
    store = Store(tmp_path / "store")
    assert [f["sequence"] for f in store.slide("14-10000-40").pictures] == [1]
    assert store.status("14-10000-40")["ingest"].damaged == 1
    told = json.loads((tmp_path / "store.cohort.json").read_bytes())["left_out"]
    assert len(told) == len(done.left_out)


def test_pictures_a_little_smaller_are_filled_up_at_their_edge(tmp_path: Path) -> None:
    for number, height in enumerate((460, 460, 456), start=1):
        pixels = np.random.default_rng(number).integers(0, 256, (height, 700, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"SOB_B_F-14-9133-40-{number:03d}.png")
    found = find_breakhis(tmp_path)
    assert list(found.notes) == ["1 picture is not 700 x 460 px: filled up or cut"]
    take(tmp_path, tmp_path / "store")
    slide = Store(tmp_path / "store").slide("14-9133-40")
    third = slide.read_patch(2)
    np.testing.assert_array_equal(third[:456], pixels)
    assert (third[456:] == third[455]).all()
    assert [facts["height"] for facts in slide.pictures] == [460, 460, 456]


def test_splits_of_single_pictures_are_called_leaky(tree: Path, tmp_path: Path) -> None:
    found = find_breakhis(tree, BreakHisOptions(split="images", seed=3))
    table = pd.DataFrame([{"patient": s.patient_id, **s.columns} for s in found.sources])
    assert len(table) == 3 * 2 * 3
    assert set(table["split"]) == {"train", "val", "test"}
    assert (table.groupby("patient")["split"].nunique() > 1).any()
    chosen = [found.sources[0].slide_id]
    done = ingest(found, tmp_path / "store", IngestOptions(slide_ids=chosen))
    assert pd.read_csv(done.cohort)["slide_id"].tolist() == chosen
    assert "LEAKY" in json.loads((tmp_path / "store.cohort.json").read_bytes())["split"]


def test_patients_may_be_cases(tree: Path) -> None:
    found = find_breakhis(tree, BreakHisOptions(patients="case"))
    assert {s.patient_id[-1] for s in found.sources} <= set("0123456789")


def test_a_picture_under_two_patients_is_named(tree: Path, tmp_path: Path) -> None:
    def notes(folder: Path, store: Path) -> list[str]:
        return json.loads(take(folder, store).cohort.with_suffix(".json").read_bytes())["notes"]

    assert notes(tree, tmp_path / "once") == []
    shutil.copytree(tree, tmp_path / "in")
    one = sorted((tmp_path / "in").rglob("SOB_B_A-14-10000-40-*.png"))[1]
    shutil.copy(one, tmp_path / "in" / "SOB_M_DC-14-99999-40-001.png")
    line = "'14-10000-40' and '14-99999-40' hold the same picture under two patients: "
    assert notes(tmp_path / "in", tmp_path / "twice") == [f"{line}keep one of them"]
    assert notes(tmp_path / "in", tmp_path / "twice") == [f"{line}keep one of them"]  # all skipped


def test_a_slide_of_damaged_pictures_alone_names_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (23, 35, 3), dtype=np.uint8)
    path = tmp_path / "SOB_M_DC-14-10-40-001.png"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:500])
    done = take(tmp_path, tmp_path / "store")
    assert path.name in done.outcome.failed["14-10-40"]
    assert "its one picture cannot be decoded" in done.outcome.failed["14-10-40"]


def test_nothing_to_take_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="nothing of breakhis"):
        take(tmp_path, tmp_path / "store")
    with pytest.raises(UsageError, match="no such folder"):
        find_breakhis(tmp_path / "absent")


def test_the_real_samples(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "breakhis"
    found = find_breakhis(folder)
    files = sorted(folder.glob("*.png"))
    assert sum(len(s.files) for s in found.sources) == len(files) - 2  # 13412
    assert len({s.patient_id for s in found.sources}) == 29
    done = ingest(found, tmp_path / "store", IngestOptions(slide_ids=["14-25197-400"]))
    slide = Store(tmp_path / "store").slide("14-25197-400")
    path = folder / "SOB_B_F-14-25197-400-033.png"
    np.testing.assert_array_equal(slide.read_patch(0), np.asarray(Image.open(path)))
    assert done.outcome.done == ["14-25197-400"]
