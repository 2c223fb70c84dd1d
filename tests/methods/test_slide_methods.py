"""Methods that classify slides by features: each builds its head, with options that exist."""

from __future__ import annotations

import pytest

from wsikit.errors import ConfigError
from wsikit.heads.registry import HEADS
from wsikit.methods import METHODS, Method, slide_method
from wsikit.methods.torchmil import torchmil_method

SLIDE_METHODS = [name for name in METHODS if type(METHODS[name]) is Method]


def test_the_baselines_are_there() -> None:
    baselines = {"mean_pooling", "max_pooling", "abmil", "clam_sb", "dsmil", "trans_mil"}
    assert baselines | {"graph_transformer"} <= set(SLIDE_METHODS)


@pytest.mark.parametrize("name", SLIDE_METHODS)
def test_it_builds_its_head(name: str) -> None:
    method = slide_method(name)
    assert type(method.build(8, 3, {})) is HEADS[method.head]
    with pytest.raises(ConfigError, match="no option 'embd'"):
        method.build(8, 3, {"embd": 4})


def test_models_of_torchmil_are_methods() -> None:
    assert METHODS["torchmil:ABMIL"] is torchmil_method("ABMIL")
    assert "torchmil:ABMIL" not in list(METHODS)
    pytest.importorskip("torchmil")
    head = slide_method("torchmil:ABMIL").build(8, 2, {"att_dim": 4})
    assert type(head) is HEADS["torchmil:ABMIL"]
