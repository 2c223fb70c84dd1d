"""Pre-training: it learns, resumes to the byte, and shares its work."""

from __future__ import annotations

import csv
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.masked.pictures import SIZE, read_picture, sides, tiny
from wsikit.encoders.network import encoder_id
from wsikit.encoders.saved import read_encoder
from wsikit.encoders.umae.masks import MaskOptions
from wsikit.errors import CohortError, ConfigError, StoreError, WsikitError
from wsikit.training.bags.share import Share
from wsikit.training.masked.data import MaskedBatches, Shown
from wsikit.training.masked.fit import fit_masked
from wsikit.training.masked.items import Picture, training_items
from wsikit.training.masked.options import MaskedOptions

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = MaskedOptions(epochs=3, lr=3e-3, batch_size=5, step_epochs=2, device="cpu")


class Killed(BaseException):
    """Stands for a kill."""


def fit(folder: Path, options=OPTIONS, model=None, given=None, progress=None):
    model = model or tiny()
    result = fit_masked(
        model, given or sides(), options, folder, folder / "encoder.safetensors", progress
    )
    return model, result


def losses(folder: Path) -> list[tuple[float, float]]:
    with (folder / "history.csv").open() as file:
        return [(float(r["train_loss"]), float(r["val_loss"])) for r in csv.DictReader(file)]


def outcome(folder: Path) -> list[bytes]:
    names = ("head.safetensors", "encoder.safetensors", "history.csv")
    return [(folder / name).read_bytes() for name in names]


@pytest.mark.parametrize("switches", [{}, {"ccp": False, "rca": False, "joint": False}])
def test_it_learns_to_restore_what_is_hidden(tmp_path: Path, switches) -> None:
    options = replace(OPTIONS, epochs=15, step_epochs=10, lr=1e-2)
    fit(tmp_path, options, tiny(mask=MaskOptions(sigma=0), **switches))
    found = losses(tmp_path)
    # Predicting every picture's mean colour leaves its variance.
    assert found[-1][0] < 0.75 * found[0][0]
    assert found[-1][1] < 0.92 * found[0][1]


def test_killed_in_any_epoch_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    fit(tmp_path / "whole")

    def kill(epoch: int, *_: object) -> None:
        raise Killed

    for _ in range(2):
        with suppress(Killed):
            fit(tmp_path / "killed", progress=kill)
    assert (tmp_path / "killed" / "last.ckpt").exists()
    fit(tmp_path / "killed")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    assert not (tmp_path / "killed" / "last.ckpt").exists()


def test_a_finished_folder_is_returned_and_another_fit_refused(tmp_path: Path) -> None:
    model, first = fit(tmp_path)
    (tmp_path / "encoder.safetensors").unlink()
    again, second = fit(tmp_path)
    assert first == second
    for own, other in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    left = read_encoder(tmp_path / "encoder.safetensors")
    assert encoder_id(left) == encoder_id(replace_name(again.trained_encoder(), left.spec))
    for wrong in ({"options": replace(OPTIONS, lr=1e-3)}, {"model": tiny(1)}, {"given": sides(5)}):
        with pytest.raises(StoreError, match="holds a fit with other settings"):
            fit(tmp_path, **wrong)


def replace_name(encoder, spec):
    return type(encoder)(spec, encoder.backbone, encoder.weights)


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """13 items in steps of 4 and 5, and one left over: shares are not even."""
    given = sides(4, 1)
    assert sum(one.items for one in given.train) % 5
    fit(tmp_path / "one", given=given)
    fit(tmp_path / "two", replace(OPTIONS, devices=2), given=given)
    for (train, val), (own_train, own_val) in zip(
        losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True
    ):
        assert train == pytest.approx(own_train, rel=1e-4)
        assert val == pytest.approx(own_val, rel=1e-4)


def test_processes_share_each_step(tmp_path: Path) -> None:
    shown = Shown(tiny().spec, MaskOptions(), SIZE.patch_px, read_picture)
    given = sides(3).train

    def items(epoch: int):
        return training_items(given, True, 0, epoch)

    whole = list(MaskedBatches(items, shown, 4))
    parts = [list(MaskedBatches(items, shown, 4, Share(rank, 3))) for rank in range(3)]
    assert len(whole) == 3
    for step, batch in enumerate(whole):
        own = [part[step] for part in parts]
        together = torch.cat([one.pictures for one in own if one.share])
        torch.testing.assert_close(together, batch.pictures)
        assert sum(one.share for one in own) == pytest.approx(3)


def test_pictures_are_shown_as_the_encoder_shows_them() -> None:
    encoder = tiny().trained_encoder()
    shown = Shown(encoder.spec, MaskOptions(), SIZE.patch_px, read_picture)
    pixels = torch.from_numpy(read_picture("3-100", 1).transpose(2, 0, 1).copy())[None]
    ours = encoder.backbone(shown.picture(Picture("3-100", 1))[None])
    torch.testing.assert_close(ours, encoder(pixels))


def test_the_rate_falls_in_equal_steps() -> None:
    options = MaskedOptions()
    assert [options.rate(epoch) for epoch in (0, 39, 40, 80, 120, 160, 199)] == pytest.approx(
        [1, 1, 0.8, 0.6, 0.4, 0.2, 0.2]
    )
    assert (options.lr, options.weight_decay, options.batch_size) == (1e-4, 0.05, 16)


def test_bfloat16_stays_near(tmp_path: Path) -> None:
    fit(tmp_path / "32")
    fit(tmp_path / "16", replace(OPTIONS, precision="bf16-mixed"))
    for whole, half in zip(losses(tmp_path / "32"), losses(tmp_path / "16"), strict=True):
        assert whole == pytest.approx(half, rel=0.03)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"batch_size": 0}, "pretrain.batch_size is 0"),
        ({"step_epochs": 0}, "pretrain.step_epochs is 0"),
        ({"batch_size": 2, "devices": 3}, "fewer than 3 devices"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_wrong_settings_are_said(wrong, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        replace(OPTIONS, **wrong)


def test_an_empty_side_and_a_loss_that_is_not_finite_are_said(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="train side has no specimen"):
        fit(tmp_path / "a", given=sides(0))
    model = tiny()
    with torch.no_grad():
        model.project.weight[0] = torch.inf
    with pytest.raises(WsikitError, match="the loss is not finite in epoch 1"):
        fit(tmp_path / "b", model=model)
