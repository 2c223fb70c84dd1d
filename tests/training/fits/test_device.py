from __future__ import annotations

import pytest
import torch

from wsikit.errors import ConfigError, UsageError
from wsikit.training.fits.device import resolve_device


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert resolve_device("auto").type == ("cuda" if gpu else "cpu")
    assert resolve_device("cpu").type == "cpu"


def test_words_that_lead_nowhere(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="use --device cpu"):
        resolve_device("cuda")
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        resolve_device("cudo")
