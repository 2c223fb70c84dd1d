"""Each bad input: one clear line, the right exit code, the other slides done."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, Wsikit
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.store.store import Store
from wsikit.types import Mpp, Size

SMALL = ("--set", "tile.size=128", "-j", "1")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small phantoms, three with tumour."""
    folder = tmp_path_factory.mktemp("slides")
    for n in range(6):
        spec = PhantomSpec(f"s{n}", Size(1300, 1000), Mpp(0.5, 0.5), n, n % 2 == 1, "dune")
        write_phantom(spec, folder / f"s{n}.tiff")
    return folder


@pytest.fixture(scope="module")
def prepared(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the six with random features and graphs."""
    from wsikit.config import load_config
    from wsikit.stages.cohort import source_slides
    from wsikit.stages.extraction.extract import run_extract
    from wsikit.stages.graphs.graph import run_graph
    from wsikit.stages.tiling.tile import run_tile

    store = tmp_path_factory.mktemp("prepared") / "store"
    config = load_config(None, ["tile.size=128", "extract.weights=random"])
    run_tile(source_slides([slides]), store, config.tile)
    encoder, _ = run_extract(store, config.extract)
    run_graph(store, config.graph, encoder)
    return store


def error_line(answer: Answer) -> str:
    """Return the one line that says what is wrong."""
    lines = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, answer.err
    return lines[0]


def table(folder: Path, rows: list[str], header: str = "slide,label") -> Path:
    path = folder / "cohort.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_broken_files_fail_by_name_and_the_rest_is_done(
    wsikit: Wsikit, real_data: Path, slides: Path, tmp_path: Path
) -> None:
    broken = sorted((real_data / "broken").iterdir())
    answer = wsikit("tile", *broken, slides / "s0.tiff", "-o", tmp_path / "s", *SMALL)
    assert answer.code == 1
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(broken)
    for path in broken:
        assert any(path.name in line for line in errors)
    assert Store(tmp_path / "s").slide_ids() == ["s0"]
    status = wsikit("status", tmp_path / "s")
    assert "1 done, 3 failed" in status.out


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: d / "nowhere", "nowhere"),
        (lambda d: (d / "empty").mkdir() or d / "empty", "empty"),
        (lambda d: table(d, ["a.tiff,1"], "path,label"), "column 'slide' is missing"),
        (lambda d: table(d, ["x/a.tiff,1", "y/a.tiff,0"]), "slide id 'a' stands on lines 2, 3"),
    ],
    ids=["missing path", "empty folder", "missing column", "duplicate ids"],
)
def test_wrong_slides_are_a_wrong_call(
    wsikit: Wsikit, tmp_path: Path, make: object, said: str
) -> None:
    given = make(tmp_path)  # type: ignore[operator]
    answer = wsikit("tile", given, "-o", tmp_path / "store", *SMALL)
    assert answer.code == 2
    assert said in error_line(answer)
    assert not (tmp_path / "store").exists()


def test_a_listed_slide_that_is_not_there_fails_alone(
    wsikit: Wsikit, slides: Path, tmp_path: Path
) -> None:
    cohort = table(tmp_path, [f"{slides / 's0.tiff'},a", "gone.tiff,b"])
    answer = wsikit("tile", cohort, "-o", tmp_path / "store", *SMALL)
    assert answer.code == 1
    assert "gone.tiff" in error_line(answer)
    assert Store(tmp_path / "store").slide_ids() == ["s0"]


def test_an_unknown_key_names_the_nearest(wsikit: Wsikit, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("tile:\n  filter: [rgb]\n")
    answer = wsikit("tile", slides, "-o", tmp_path / "store", "-c", tmp_path / "c.yaml")
    assert answer.code == 2
    assert "unknown key 'tile.filter': did you mean 'filters'?" in error_line(answer)


@pytest.mark.parametrize("where", ["file/below", "/proc/store"])
def test_an_unwritable_output(wsikit: Wsikit, slides: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    answer = wsikit("tile", slides, "-o", tmp_path / where, *SMALL)
    assert answer.code == 2
    assert where.rpartition("/")[2] in error_line(answer)


def test_a_store_of_another_recipe(wsikit: Wsikit, slides: Path, tmp_path: Path) -> None:
    one = slides / "s0.tiff"
    assert wsikit("tile", one, "-o", tmp_path / "s", *SMALL).code == 0
    answer = wsikit("tile", one, "-o", tmp_path / "s", "--set", "tile.size=256", "-j", "1")
    assert answer.code == 2
    assert "size: 128 -> 256" in error_line(answer)
    assert "--overwrite" in error_line(answer)


def test_labels_without_slides_and_slides_without_labels(
    wsikit: Wsikit, prepared: Path, tmp_path: Path
) -> None:
    """s5 has no row, s4 no label, `ghost` no slide."""
    rows = [f"s{n},{n % 2},{split}" for n, split in enumerate(["train", "train", "val", "test"])]
    rows[2] = "s2,0,val"
    cohort = table(tmp_path, [*rows, "s4,,train", "ghost,1,train"], "slide_id,label,split")
    answer = wsikit(
        "train", prepared, "--labels", cohort, "-o", tmp_path / "run", "--method", "abmil",
        "--epochs", 1, "--set", "train.bootstrap=100",
    )  # fmt: skip
    assert answer.code == 1
    assert "ghost: labelled, but not in the store" in error_line(answer)
    assert "left out: s4: no label in cohort.csv" in answer.err
    assert "left out: s5: in the store but not in cohort.csv" in answer.err
    assert (tmp_path / "run" / "report.html").exists()
    assert "ghost" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["s0,1", "s1,1"], "all labelled slides are '1'"),
        (["s0,0", "s1,1"], "too few"),
        (["ghost,1", "other,0"], "none of its 2 slides can be used (ghost: labelled, but"),
    ],
    ids=["one class", "too few", "none there"],
)
def test_labels_nothing_can_be_learned_from(
    wsikit: Wsikit, prepared: Path, tmp_path: Path, rows: list[str], said: str
) -> None:
    cohort = table(tmp_path, rows, "slide_id,label")
    answer = wsikit("train", prepared, "--labels", cohort, "-o", tmp_path / "run")
    assert answer.code == 2
    if said != "too few":
        assert said in error_line(answer)
    assert (
        "cohort" in error_line(answer)
        or "class" in error_line(answer)
        or "label" in error_line(answer)
    )
    assert not (tmp_path / "run" / "provenance.json").exists()


def test_a_patient_on_two_sides_is_refused(wsikit: Wsikit, prepared: Path, tmp_path: Path) -> None:
    rows = ["s0,0,p1,train", "s1,1,p2,train", "s2,0,p1,test", "s3,1,p3,val"]
    cohort = table(tmp_path, rows, "slide_id,label,patient_id,split")
    answer = wsikit("train", prepared, "--labels", cohort, "-o", tmp_path / "run")
    assert answer.code == 2
    assert "p1" in error_line(answer)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("extract", "STORE", "--encoder", "resnet81", "--weights", "random"), "resnet18"),
        (("extract", "STORE", "--weights", "nowhere.safetensors"), "nowhere.safetensors"),
        (("extract", "NOWHERE", "--weights", "random"), "no store here"),
        (("extract", "STORE", "--weights", "random", "--device", "cuda"), "no GPU"),
        (("extract", "STORE", "--weights", "random", "--device", "gpu"), "unknown device 'gpu'"),
        (("graph", "STORE", "--encoder", "vgg16"), "no features by 'vgg16'"),
        (("train", "STORE", "--labels", "none.csv", "-o", "OUT"), "none.csv"),
        (("predict", "STORE", "--run", "NOWHERE"), "no run here"),
        (("heatmap", "STORE", "--run", "NOWHERE"), "no patch scores yet"),
        (("heatmap", "STORE", "--run", "NOWHERE", "--format", "jpg"), "'jpg'"),
        (("evaluate", "NOWHERE"), "no run here"),
        (("evaluate", "STORE"), "a store and no run"),
        (("status", "NOWHERE"), "neither a store"),
        (("inspect", "NOWHERE"), "NOWHERE"),
        (("run", "NOWHERE/c.yaml"), "cannot be read"),
        (("tile", "STORE", "-o", "OUT", "--mpp", "fast"), "is not a number"),
    ],
    ids=lambda value: "-".join(value[:1]) if isinstance(value, tuple) else "",
)
def test_what_is_asked_for_is_not_there(
    wsikit: Wsikit, prepared: Path, tmp_path: Path, call: tuple[str, ...], said: str
) -> None:
    import torch

    if "cuda" in call and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    places = {
        "STORE": prepared,
        "OUT": tmp_path / "out",
        "NOWHERE": tmp_path / "NOWHERE",
        "NOWHERE/c.yaml": tmp_path / "NOWHERE" / "c.yaml",
    }
    answer = wsikit(*(places.get(word, word) for word in call))
    assert answer.code in (1, 2)
    assert answer.code == 2 or call[0] == "inspect"
    assert said in error_line(answer)


QUICK = ("--method", "abmil", "--epochs", 1, "--set", "train.bootstrap=100")


@pytest.fixture
def trained(wsikit: Wsikit, prepared: Path, tmp_path: Path) -> Path:
    """A small run over the prepared store."""
    sides = ["train", "train", "val", "val", "test", "test"]
    cohort = table(
        tmp_path, [f"s{n},{n % 2},{s}" for n, s in enumerate(sides)], "slide_id,label,split"
    )
    answer = wsikit("train", prepared, "--labels", cohort, "-o", tmp_path / "run", *QUICK)
    assert answer.code == 0, answer.err
    return tmp_path / "run"


def test_predicting_one_slide_keeps_the_others(
    wsikit: Wsikit, prepared: Path, trained: Path
) -> None:
    before = (trained / "predictions.csv").read_text()
    assert wsikit("predict", prepared, "--run", trained, "--slide", "s4").code == 0
    assert (trained / "predictions.csv").read_text() == before
    assert wsikit("predict", prepared, "--run", trained, "--slide", "s9").code == 2


def test_predicting_another_store_keeps_the_runs_held_out_slides(
    wsikit: Wsikit, trained: Path, slides: Path, tmp_path: Path
) -> None:
    cohort = table(tmp_path, [f"{slides / 's1.tiff'},new"], "slide,slide_id")
    store = tmp_path / "new"
    assert wsikit("tile", cohort, "-o", store, *SMALL).code == 0
    assert wsikit("extract", store, "--weights", "random").code == 0
    before = (trained / "metrics.json").read_bytes()
    assert wsikit("predict", store, "--run", trained).code == 0
    assert "\nnew," in (trained / "predictions.csv").read_text()
    assert wsikit("evaluate", trained).code == 0
    assert (trained / "metrics.json").read_bytes() == before


def test_a_split_without_fingerprints_is_one_line(
    wsikit: Wsikit, prepared: Path, trained: Path
) -> None:
    rows = (trained / "split.csv").read_text().splitlines()
    (trained / "split.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows) + "\n")
    answer = wsikit("predict", prepared, "--run", trained)
    assert answer.code == 2
    assert "column 'fingerprint' is missing" in error_line(answer)


@pytest.mark.parametrize("cut", [-1, -30, 200])
def test_a_split_cut_short_is_one_line(
    wsikit: Wsikit, prepared: Path, trained: Path, cut: int
) -> None:
    """A slide whose row is lost would otherwise be scored as one that no model has seen."""
    whole = (trained / "split.csv").read_bytes()
    (trained / "split.csv").write_bytes(whole[:cut])
    for command in (("predict", prepared, "--run", trained), ("evaluate", trained)):
        answer = wsikit(*command)
        assert answer.code == 2
        assert "split.csv: is not the split that training wrote" in error_line(answer)


def test_a_split_cut_short_is_mended_as_the_error_says(
    wsikit: Wsikit, prepared: Path, trained: Path, tmp_path: Path
) -> None:
    whole = (trained / "split.csv").read_bytes()
    (trained / "split.csv").write_bytes(whole[:200])
    cohort = tmp_path / "cohort.csv"
    again = ("train", prepared, "--labels", cohort, "-o", trained, *QUICK)
    assert "run wsikit train --overwrite again" in error_line(wsikit(*again))
    assert wsikit(*again, "--overwrite").code == 0
    assert (trained / "split.csv").read_bytes() == whole
    assert wsikit("evaluate", trained).code == 0


def test_figures_of_a_part_of_the_held_out_slides_are_refused(
    wsikit: Wsikit, trained: Path
) -> None:
    lines = (trained / "predictions.csv").read_text().splitlines()
    (trained / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    answer = wsikit("evaluate", trained)
    assert answer.code == 2
    assert "1 of 2 held-out slides have no prediction (s5)" in error_line(answer)


@pytest.mark.parametrize("score", ["", "x", "nan", "7"])
def test_a_score_that_is_no_probability_is_one_line(
    wsikit: Wsikit, trained: Path, score: str
) -> None:
    header, *rows = (trained / "predictions.csv").read_text().splitlines()
    column = next(c for c in header.split(",") if c.startswith("prob_"))
    number = header.split(",").index(column)
    held_out = next(row for row in rows if row.startswith("s5,")).split(",")
    held_out[number] = score
    changed = [",".join(held_out) if row.startswith("s5,") else row for row in rows]
    (trained / "predictions.csv").write_text("\n".join([header, *changed]) + "\n")
    answer = wsikit("evaluate", trained)
    assert answer.code == 2
    assert f"for {column} of s5: a probability is from 0 to 1" in error_line(answer)


@pytest.mark.parametrize("row", ["new,p9", "new,p9,,,,tumor,0.5,0.5"])
def test_a_row_of_another_slide_that_is_no_prediction_is_one_line(
    wsikit: Wsikit, trained: Path, row: str
) -> None:
    for made in ("metrics.json", "report.html"):
        (trained / made).unlink(missing_ok=True)
    with (trained / "predictions.csv").open("a") as file:
        file.write(row + "\n")
    answer = wsikit("evaluate", trained)
    assert answer.code == 2
    assert "predictions.csv has " in error_line(answer)
    assert " of new: " in error_line(answer)
    assert not (trained / "metrics.json").exists()


def test_a_wrong_option_of_a_head_leaves_no_run_behind(
    wsikit: Wsikit, prepared: Path, tmp_path: Path
) -> None:
    cohort = table(tmp_path, [f"s{n},{n % 2}" for n in range(6)], "slide_id,label")
    arguments = ("train", prepared, "--labels", cohort, "-o", tmp_path / "new", "--epochs", "1")
    answer = wsikit(*arguments, "--set", "train.head.dropout=x")
    assert answer.code == 2
    assert "dropout" in error_line(answer)
    assert not (tmp_path / "new").exists()


def test_a_wrong_call_with_overwrite_spares_the_run(
    wsikit: Wsikit, prepared: Path, trained: Path
) -> None:
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    cohort = trained.parent / "plain.csv"
    cohort.write_text("slide_id,label\n" + "".join(f"s{n},{n % 2}\n" for n in range(6)))
    call = ("train", prepared, "--labels", cohort, "-o", trained, "--folds", 40, "--overwrite")
    assert wsikit(*call).code == 2
    assert {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()} == before


def test_a_split_without_test_slides_is_refused_before_training(
    wsikit: Wsikit, prepared: Path, tmp_path: Path
) -> None:
    rows = ["s0,0,train", "s1,1,train", "s2,0,val", "s3,1,val"]
    cohort = table(tmp_path, rows, "slide_id,label,split")
    answer = wsikit(
        "train", prepared, "--labels", cohort, "-o", tmp_path / "run", "--method", "abmil"
    )
    assert answer.code == 2
    assert "no test slide" in error_line(answer)


def test_a_namesake_is_not_taken_for_the_runs_own_slide(
    wsikit: Wsikit, prepared: Path, trained: Path, slides: Path, tmp_path: Path
) -> None:
    """Another file under a held-out slide's id must not inherit its label."""
    cohort = table(tmp_path, [f"{slides / 's0.tiff'},s4"], "slide,slide_id")
    store = tmp_path / "other"
    assert wsikit("tile", cohort, "-o", store, *SMALL).code == 0
    assert wsikit("extract", store, "--weights", "random").code == 0
    assert wsikit("predict", store, "--run", trained, "-o", tmp_path / "out").code == 0
    status = wsikit("status", tmp_path / "out")
    assert status.code == 0
    assert "slides with patch scores: " in status.out
    assert "predictions and no run" in error_line(wsikit("evaluate", tmp_path / "out"))
    header, row = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert (found["label"], found["split"], found["fold"]) == ("", "", "")


def test_one_damaged_record_hides_nothing_else(
    wsikit: Wsikit, prepared: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(prepared, store)
    (store / "status" / "s2.json").write_text("{bad")
    (store / "slides" / "s3.zarr" / "zarr.json").unlink()
    status, found = wsikit("status", store), wsikit("inspect", store)
    assert (status.code, found.code) == (0, 0)
    assert "s2: " in status.out
    assert "not a status file" in status.out
    assert "s5" in found.out
    assert "cannot be read" in found.out


def test_a_damaged_slide_in_the_store_fails_alone(
    wsikit: Wsikit, prepared: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(prepared, store)
    for shard in (store / "slides" / "s1.zarr" / "0" / "c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:-40])
    shutil.rmtree(store / "slides" / "s1.zarr" / "features")
    (store / "slides" / "s1.zarr" / "features").mkdir()
    answer = wsikit("extract", store, "--weights", "random")
    assert answer.code == 1
    assert "s1" in error_line(answer)
    assert "5 already done, 1 failed" in answer.err


def test_a_pickle_is_not_run(wsikit: Wsikit, prepared: Path, tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "ran"),))  # type: ignore[return-value]

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    answer = wsikit("extract", prepared, "--weights", tmp_path / "evil.pt")
    assert answer.code == 2
    assert "evil.pt" in error_line(answer)
    assert not (tmp_path / "ran").exists()
