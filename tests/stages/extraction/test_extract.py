"""Extraction: the same bytes whatever else happens, and nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from tests.stages.extracting import (
    WIDTH,
    add_empty_slide,
    cut_shards,
    feature_files,
    make_store,
    plain_features,
    tiny_encoder,
)
from wsikit.config import ExtractConfig, load_config
from wsikit.encoders.network import Encoder, encoder_id
from wsikit.errors import ConfigError, StoreError, UsageError
from wsikit.stages.extraction import extract, patch_progress
from wsikit.stages.extraction.extract import extract_features, run_extract
from wsikit.stages.progress import Outcome, Silent
from wsikit.store.status import StageStatus
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Size

BATCH = 16
SIZES = {"a": Size(1088, 896), "b": Size(704, 768), "c": Size(896, 1216)}
"""Whole patches, so that a reader that cuts at the slide's edge sees the same pixels."""


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("tiled"), SIZES)


@pytest.fixture
def store(tiled: Path, tmp_path: Path) -> Path:
    """A copy of the store without features."""
    shutil.copytree(tiled, tmp_path / "store")
    return tmp_path / "store"


Built = dict[str, Encoder]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """Tiny encoders in place of the registry's: `tiny` and `other`, to be changed by a test."""
    encoders = {"tiny": tiny_encoder(), "other": tiny_encoder("other", seed=1)}
    monkeypatch.setattr(extract, "build_encoder", lambda name, weights: encoders[name])
    return encoders


def config(*sets: str, **changes: Any) -> ExtractConfig:
    wanted = ["encoder=tiny", f"batch_size={BATCH}", *sets]
    return load_config(None, [f"extract.{one}" for one in wanted]).extract


BOTH = "also=[{encoder: other}]"


class Told(Silent):
    """Remember what the user was told."""

    def __init__(self) -> None:
        self.total, self.units, self.lines = -1, 0, list[str]()

    def start(self, stage: str, total: int) -> None:
        assert self.total == -1
        self.total = total

    def advance(self, label: str, units: int = 1) -> None:
        assert self.total >= 0
        self.units += units
        self.lines.append(label)

    def say(self, line: str) -> None:
        self.lines.append(line)


def by_zarr(store: Path, slide_id: str) -> np.ndarray:
    """Read a slide's patches as any Zarr reader would, (N, 64, 64, 3)."""
    slide = Store(store).slide(slide_id)
    image: Any = zarr.open_array(slide.path / "0", mode="r")
    whole = np.asarray(image[:])
    index = slide.patches
    return np.stack(
        [
            whole[:, 64 * r : 64 * r + 64, 64 * c : 64 * c + 64].transpose(1, 2, 0)
            for r, c in zip(index.row, index.col, strict=True)
        ]
    )


def test_features_are_those_of_a_plain_loop(store: Path, built: Built) -> None:
    identity, outcome = run_extract(store, config())
    assert outcome == Outcome(done=["a", "b", "c"])
    assert identity == encoder_id(built["tiny"])
    for slide_id in SIZES:
        stored = Store(store).slide(slide_id).features(identity)
        wanted = plain_features(built["tiny"], by_zarr(store, slide_id), BATCH)
        assert len(wanted) > 2 * BATCH
        assert len(wanted) % BATCH
        assert stored.dtype == np.float16
        np.testing.assert_array_equal(stored, wanted)


def rerun(**how: Any) -> Callable[[Path], None]:
    """Return a call that extracts at once, in some other way."""
    sets = how.pop("sets", ())
    return lambda store: assert_done(run_extract(store, config(*sets), **how)[1])


def assert_done(outcome: Outcome) -> None:
    assert not outcome.failed


def one_by_one(store: Path) -> None:
    for slide_id in ("c", "a", "b"):
        assert_done(run_extract(store, config(), slide_ids=[slide_id])[1])


def after_an_interruption(store: Path) -> None:
    """Stop as Ctrl-C does, in the middle of the second slide; then go on."""

    class Stopping(Silent):
        def advance(self, label: str, units: int = 1) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_extract(store, config("readers=1"), progress=Stopping())
    assert 0 < len(list(store.glob("slides/*/features/*/zarr.json"))) < 3
    assert_done(run_extract(store, config())[1])


@pytest.mark.parametrize(
    "again",
    [
        rerun(sets=["readers=1"]),
        rerun(sets=["readers=5"]),
        rerun(slide_ids=["c", "b", "a"]),
        rerun(device="cpu,cpu"),
        rerun(device="cpu,cpu,cpu,cpu", sets=["readers=2"]),
        rerun(sets=[BOTH]),
        one_by_one,
        after_an_interruption,
    ],
    ids=[
        "1 reader",
        "5 readers",
        "order",
        "2 devices",
        "4 devices",
        "2 encoders",
        "alone",
        "resume",
    ],
)
def test_the_same_bytes(
    store: Path, tmp_path: Path, built: Built, again: Callable[[Path], None]
) -> None:
    shutil.copytree(store, tmp_path / "once")
    run_extract(tmp_path / "once", config())
    again(store)
    other = encoder_id(built["other"])
    found = {name: data for name, data in feature_files(store).items() if other not in name}
    assert found == feature_files(tmp_path / "once")


@pytest.mark.parametrize("sets", [["batch_size=1"], ["batch_size=1000"], ["precision=bf16"]])
def test_another_batch_size_or_precision_is_close(
    store: Path, tmp_path: Path, built: Built, sets: list[str]
) -> None:
    shutil.copytree(store, tmp_path / "once")
    identity, _ = run_extract(tmp_path / "once", config("dtype=float32"))
    run_extract(store, config("dtype=float32", *sets))
    wanted = Store(tmp_path / "once").slide("a").features(identity)
    limit = 0.02 if "precision=bf16" in sets else 1e-6
    np.testing.assert_allclose(Store(store).slide("a").features(identity), wanted, atol=limit)


def test_several_encoders_share_each_decoded_patch(
    store: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    genuine = StoredSlide.read_patch

    def counted(slide: StoredSlide, index: int) -> Any:
        read.append((slide.slide_id, index))
        return genuine(slide, index)

    monkeypatch.setattr(StoredSlide, "read_patch", counted)
    made = extract_features(store, config(BOTH))
    slides = {slide_id: Store(store).slide(slide_id) for slide_id in SIZES}
    assert sorted(read) == [(i, n) for i in SIZES for n in range(len(slides[i].patches))]
    assert made.encoder_ids == (encoder_id(built["tiny"]), encoder_id(built["other"]))
    first, second = (slides["a"].features(identity) for identity in made.encoder_ids)
    assert not np.array_equal(first, second)
    assert set(Store(store).status("a")) == {"tile", *(f"extract.{i}" for i in made.encoder_ids)}


def test_a_second_encoder_later_computes_only_what_lacks(store: Path, built: Built) -> None:
    run_extract(store, config(), slide_ids=["a", "b"])
    seen: list[int] = []
    built["tiny"].backbone.before = lambda pictures: seen.append(len(pictures))
    made = extract_features(store, config(BOTH))
    assert made.outcome == Outcome(done=["a", "b", "c"])
    assert sum(seen) == len(Store(store).slide("c").patches)
    assert extract_features(store, config(BOTH)).outcome == Outcome(skipped=["a", "b", "c"])


def test_a_slide_named_twice_is_done_once(store: Path, built: Built) -> None:
    _, outcome = run_extract(store, config(), slide_ids=["b", "b"], device="cpu,cpu")
    assert outcome == Outcome(done=["b"])


def test_an_encoder_is_named_once(store: Path, built: Built) -> None:
    with pytest.raises(ConfigError, match="'tiny' is named twice"):
        run_extract(store, config("also=[{encoder: tiny}]"))


def test_both_devices_take_slides(store: Path, built: Built) -> None:
    """Neither can go on until the other has begun."""
    import threading

    met = threading.Barrier(2, timeout=60)
    waited: set[int] = set()

    def wait(pictures: object) -> None:
        if threading.get_ident() not in waited:
            waited.add(threading.get_ident())
            met.wait()

    built["tiny"].backbone.before = wait
    _, outcome = run_extract(store, config(), device="cpu,cpu")
    assert outcome.done == ["a", "b", "c"]
    assert len(waited) == 2


def limited(most: int) -> Callable[[torch.Tensor], None]:
    """Run out of memory above some patches."""

    def before(pictures: torch.Tensor) -> None:
        if len(pictures) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    return before


def test_out_of_memory_halves_the_batch_and_goes_on(
    store: Path, tmp_path: Path, built: Built
) -> None:
    shutil.copytree(store, tmp_path / "once")
    identity, _ = run_extract(tmp_path / "once", config("dtype=float32"))
    sizes: list[int] = []
    check = limited(5)

    def before(pictures: torch.Tensor) -> None:
        sizes.append(len(pictures))
        check(pictures)

    built["tiny"].backbone.before = before
    told = Told()
    _, outcome = run_extract(store, config("dtype=float32"), progress=told)
    assert outcome.done == ["a", "b", "c"]
    assert sizes[:4] == [16, 8, 4, 4]
    assert max(sizes[3:]) == 4  # it does not try again
    said = [line for line in told.lines if "memory" in line]
    assert said == [f"cpu: out of memory; going on with {n} patches a step" for n in (8, 4)]
    for slide_id in SIZES:
        np.testing.assert_allclose(
            Store(store).slide(slide_id).features(identity),
            Store(tmp_path / "once").slide(slide_id).features(identity),
            atol=1e-6,
        )


def test_no_memory_for_one_patch_is_said_once_a_slide(store: Path, built: Built) -> None:
    built["tiny"].backbone.before = limited(0)
    _, outcome = run_extract(store, config())
    assert set(outcome.failed) == set(SIZES)
    assert "not enough memory for one patch" in outcome.failed["a"]


def test_another_error_of_the_network_is_no_lack_of_memory(store: Path, built: Built) -> None:
    def broken(pictures: object) -> None:
        raise RuntimeError("the network is broken")

    built["tiny"].backbone.before = broken
    for devices in ("cpu", "cpu,cpu"):
        with pytest.raises(RuntimeError, match="the network is broken"):
            run_extract(store, config(), device=devices)
    assert feature_files(store) == {
        name: data for name, data in feature_files(store).items() if "features/zarr.json" in name
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6])
def test_a_feature_that_is_not_finite_names_slide_and_patch(
    store: Path, built: Built, bad: float
) -> None:
    """1e6 is finite until it is stored as float16."""
    calls = [0]

    def spoil(features: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 2:  # the second batch of the first slide
            features[3, 1] = bad
        return features

    built["tiny"].backbone.after = spoil
    _, outcome = run_extract(store, config())
    assert outcome.done == ["b", "c"]
    index = Store(store).slide("a").patches
    place = f"row {index.row[BATCH + 3]}, column {index.col[BATCH + 3]}"
    assert outcome.failed["a"].startswith("1 patches have features")
    assert place in outcome.failed["a"]
    assert not any(name.startswith("slides/a.zarr/features/tiny") for name in feature_files(store))


def test_a_slide_without_patches_is_empty_and_not_lost(
    store: Path, tmp_path: Path, built: Built
) -> None:
    add_empty_slide(store, tmp_path)
    told = Told()
    identity, outcome = run_extract(store, config(), progress=told)
    assert (outcome.done, outcome.empty) == (["a", "b", "c"], ["glass"])
    assert outcome.summary() == "3 done, 1 without tissue"
    assert Store(store).status("glass")[f"extract.{identity}"].state == "empty"
    assert Store(store).slide("glass").features(identity).shape == (0, WIDTH)
    assert Store(store).slide("glass").features(identity).dtype == np.float16
    assert any(line.startswith("glass: no patches") for line in told.lines)
    assert run_extract(store, config())[1].skipped == ["a", "b", "c", "glass"]


def test_more_empty_slides_than_may_wait_to_be_written(
    store: Path, tmp_path: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsikit.stages.extraction import record as extract_record

    monkeypatch.setattr(extract_record, "BACKLOG", 1)
    names = ["d", "e", "glass"]
    for name in names:
        add_empty_slide(store, tmp_path, name)
    assert run_extract(store, config(), slide_ids=names)[1] == Outcome(empty=names)
    assert run_extract(store, config())[1] == Outcome(done=["a", "b", "c"], skipped=names)


def test_damage_is_one_slides_own(store: Path, built: Built) -> None:
    """Cut shards fail their slide, with one line; put right, only that slide is done."""
    whole = cut_shards(store, "b")
    told = Told()
    identity, outcome = run_extract(store, config(), progress=told)
    assert outcome.done == ["a", "c"]
    assert "b.zarr: patch at row" in outcome.failed["b"]
    assert "cut short" in outcome.failed["b"] or "damaged" in outcome.failed["b"]
    assert "\n" not in outcome.failed["b"]
    status = Store(store).status("b")[f"extract.{identity}"]
    assert (status.state, status.reason) == ("failed", outcome.failed["b"])
    assert told.units == told.total  # what is lost is passed over in the progress as well
    for path, data in whole.items():
        path.write_bytes(data)
    assert run_extract(store, config())[1] == Outcome(done=["b"], skipped=["a", "c"])


@pytest.mark.parametrize("gone", ["zarr.json", "patches/row/c/0", "0/zarr.json", "0/c/0/0/0"])
def test_whatever_part_is_missing_fails_the_slide_alone(
    store: Path, built: Built, gone: str
) -> None:
    (store / "slides" / "b.zarr" / gone).unlink()
    _, outcome = run_extract(store, config())
    assert outcome.done == ["a", "c"]
    assert list(outcome.failed) == ["b"]
    assert "b.zarr" in outcome.failed["b"]
    assert "\n" not in outcome.failed["b"]


def test_the_record_says_done_after_a_kill_and_after_a_refusal(
    store: Path, built: Built, tmp_path: Path
) -> None:
    """The kill comes between a slide's features and their record."""
    add_empty_slide(store, tmp_path)
    identity, _ = run_extract(store, config())
    recorded = {name: Store(store).status(name)[f"extract.{identity}"] for name in ("a", "glass")}

    def found() -> dict[str, StageStatus]:
        again = {name: Store(store).status(name)[f"extract.{identity}"] for name in recorded}
        return {name: replace(again[name], seconds=recorded[name].seconds) for name in recorded}

    assert {name: status.state for name, status in recorded.items()} == {
        "a": "done", "glass": "empty",
    }  # fmt: skip
    for name in recorded:
        (store / "status" / f"{name}.json").unlink()
    assert not run_extract(store, config())[1].done
    assert found() == recorded
    assert set(run_extract(store, config("dtype=float32"))[1].failed) >= set(recorded)
    assert found()["a"].state == "failed"
    assert not run_extract(store, config())[1].failed
    assert found() == recorded


def test_features_of_another_recipe_are_kept_unless_asked(store: Path, built: Built) -> None:
    identity, _ = run_extract(store, config(), slide_ids=["a"])
    before = feature_files(store)
    made = extract_features(store, config("precision=bf16", BOTH))
    assert made.outcome.done == ["b", "c"]
    assert "of another recipe: use --overwrite" in made.outcome.failed["a"]
    after = feature_files(store)
    assert {name: after[name] for name in before} == before
    status = Store(store).status("a")
    assert status[f"extract.{identity}"].state == "failed"
    assert status[f"extract.{made.encoder_ids[1]}"].state == "done"
    _, outcome = run_extract(store, config("precision=bf16"), overwrite=True)
    assert outcome.done == ["a", "b", "c"]


def test_features_whose_description_is_damaged_can_be_replaced(store: Path, built: Built) -> None:
    identity, _ = run_extract(store, config())
    before = feature_files(store)
    (Store(store).slide("a").path / "features" / identity / "zarr.json").write_bytes(b"")
    _, outcome = run_extract(store, config())
    assert set(outcome.failed) == {"a"}
    assert "a.zarr: the stored slide cannot be read" in outcome.failed["a"]
    _, outcome = run_extract(store, config(), slide_ids=["a"], overwrite=True)
    assert outcome.done == ["a"]
    assert feature_files(store) == before


def test_progress_is_in_patches(store: Path, built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    run_extract(store, config(), slide_ids=["b"])
    monkeypatch.setattr(patch_progress, "TOLD_SECONDS", 0.0)
    told = Told()
    run_extract(store, config(), progress=told)
    counts = {i: len(Store(store).slide(i).patches) for i in SIZES}
    assert told.units == told.total == counts["a"] + counts["c"]
    assert any(f"a: {BATCH} of {counts['a']} patches (" in line for line in told.lines)
    ended = [line for line in told.lines if f"{counts['a']} features of {WIDTH}" in line]
    assert len(ended) == 1
    assert ended[0].endswith(" patches/s)")


def test_what_cannot_be_recorded_ends_the_run(
    store: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*ignored: object) -> None:
        raise UsageError("cannot write status: No space left on device", "make room")

    monkeypatch.setattr(Store, "set_status", full)
    for devices in ("cpu", "cpu,cpu"):
        with pytest.raises(UsageError, match="No space left"):
            run_extract(store, config(), device=devices, overwrite=True)


def test_features_that_cannot_be_written_fail_their_slide(
    store: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsikit.stages.extraction import record as extract_record

    genuine = extract_record.write_features

    def full_for_b(store: Store, slide_id: str, *rest: Any) -> None:
        if slide_id == "b":
            raise OSError(28, "No space left on device")
        genuine(store, slide_id, *rest)

    monkeypatch.setattr(extract_record, "write_features", full_for_b)
    _, outcome = run_extract(store, config())
    assert outcome.done == ["a", "c"]
    assert "No space left" in outcome.failed["b"]


def test_a_fault_in_planning_is_raised_and_nothing_hangs(
    store: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsikit.stages.extraction.plan import Plan

    def faulty(plan: Plan, slide_id: str) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(Plan, "work_of", faulty)
    with pytest.raises(ZeroDivisionError):
        run_extract(store, config())


def test_no_thread_is_left_and_the_store_is_free(store: Path, built: Built) -> None:
    import threading

    before = threading.active_count()
    run_extract(store, config(), device="cpu,cpu")
    assert threading.active_count() <= before
    with Store(store).lock():
        pass


def test_a_locked_store_is_refused(store: Path, built: Built) -> None:
    with Store(store).lock(), pytest.raises(StoreError, match="another wsikit run"):
        run_extract(store, config())
