"""Where labels are few, what was learnt without them helps; where they mean nothing, nothing."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.training.masked.striped import held_out_auc, pre_trained

pytestmark = pytest.mark.usefixtures("one_thread")


def test_pre_training_helps_and_shuffled_labels_give_chance(tmp_path: Path) -> None:
    learnt = pre_trained(tmp_path, 0, 20)
    scratch = held_out_auc(tmp_path / "scratch", pre_trained(tmp_path, 0, 0), 0, False, 6)
    found = held_out_auc(tmp_path / "umae", copy.deepcopy(learnt), 0, False, 6)
    assert found > 0.93
    assert scratch < found - 0.1
    assert 0.25 < held_out_auc(tmp_path / "shuffled", learnt, 0, True, 6) < 0.75
