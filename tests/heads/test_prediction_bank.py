from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from safetensors.torch import save
from scipy.special import expit

from wsikit.heads.prediction_bank import PredictionBank
from wsikit.heads.sinkhorn import label_offset


def filled(share: float = 0.25, patches: int = 12) -> PredictionBank:
    bank = PredictionBank(patches, share, 0.5, 100, centred=False)
    bank.update(torch.arange(patches), torch.linspace(-4, 2, patches))
    return bank


def test_the_share_holds_over_all_patches_and_not_over_a_batch() -> None:
    """The most positive patches of the bank, looked at alone, get far more than the share."""
    bank = filled()
    top = bank.update(torch.tensor([10, 11]), torch.tensor([5.0, 6.0]))
    everything = expit(bank.logits.double().numpy() / 0.5 + float(bank.offset))
    assert everything.mean() == pytest.approx(0.25, abs=1e-6)
    np.testing.assert_allclose(top, everything[10:], rtol=1e-6)
    assert (top > 0.9).all()


def test_it_keeps_the_latest_score() -> None:
    bank = filled()
    before = bank.logits.clone()
    bank.update(torch.tensor([7, 3]), torch.tensor([1.5, -2.5]))
    before[7], before[3] = 1.5, -2.5
    assert torch.equal(bank.logits, before)


def test_a_patch_takes_part_once_it_was_scored() -> None:
    bank = PredictionBank(1000, 0.5, 0.5, 100)
    labels = bank.update(torch.tensor([5, 900]), torch.tensor([-1.0, 1.0]))
    assert labels.mean().item() == pytest.approx(0.5, abs=1e-6)
    assert int(bank.logits.isnan().sum()) == 998


def test_labels_do_not_depend_on_how_the_bank_got_there() -> None:
    """Starting from the last answer is quicker and no other answer."""
    scores = torch.randn(200, generator=torch.Generator().manual_seed(1)) * 5
    at_once = PredictionBank(200, 0.1, 0.2, 100, centred=False)
    step_by_step = PredictionBank(200, 0.1, 0.2, 100, centred=False)
    at_once.update(torch.arange(200), scores)
    for part in torch.arange(200).split(7):
        step_by_step.update(part, scores[part] + 3)
    for part in torch.arange(200).split(11):
        step_by_step.update(part, scores[part])
    assert float(step_by_step.offset) == pytest.approx(float(at_once.offset), abs=1e-4)
    assert float(at_once.offset) == pytest.approx(label_offset(scores, 0.1, 0.2, 100), abs=1e-4)


def test_a_level_that_sinks_takes_no_labels_away() -> None:
    """Each step pushes all scores down by 0.1: plain, those of today lose to yesterday's."""
    found = {}
    for centred in (True, False):
        bank = PredictionBank(400, 0.25, 0.5, 100, centred)
        scores = torch.randn(400, generator=torch.Generator().manual_seed(0))
        labels = []
        for step in range(80):
            part = torch.arange(400).roll(step * 40)[:40]
            labels.append(bank.update(part, scores[part] - 0.1 * step).mean().item())
        found[centred] = np.mean(labels[40:])
    assert found[True] == pytest.approx(0.25, abs=0.03)
    assert found[False] < 0.18


def test_a_level_is_that_of_the_latest_batches_and_labels_do_not_depend_on_it() -> None:
    bank, other = (PredictionBank(12, 0.25, 0.5, 100) for _ in range(2))
    for _ in range(90):
        labels = bank.update(torch.arange(12), torch.linspace(-4, 2, 12))
        moved = other.update(torch.arange(12), torch.linspace(-4, 2, 12) + 7)
    assert float(bank.level) == pytest.approx(-1, abs=1e-3)
    assert float(other.level) == pytest.approx(6, abs=1e-3)
    torch.testing.assert_close(labels, moved, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("share", "label"), [(0.0, 0.0), (1.0, 1.0)])
def test_shares_of_nothing_and_of_all(share: float, label: float) -> None:
    bank = filled(share)
    again = bank.update(torch.arange(12), torch.linspace(-1e4, 1e4, 12))
    assert (again == label).all()


def test_saved_and_loaded_it_goes_on_bit_for_bit() -> None:
    bank, other = (PredictionBank(12, 0.25, 0.5, 100) for _ in range(2))
    bank.update(torch.arange(12), torch.linspace(-4, 2, 12))
    file = io.BytesIO()
    torch.save(bank.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for one in (bank, other):
        one.update(torch.tensor([1, 5]), torch.tensor([0.3, 0.1]))
    assert save(bank.state_dict()) == save(other.state_dict())


def test_it_takes_four_bytes_a_patch() -> None:
    bank = PredictionBank(10_000, 0.1, 0.5, 100)
    assert sum(buffer.nbytes for buffer in bank.buffers()) == 4 * 10_000 + 8 + 4
    assert not list(bank.parameters())
