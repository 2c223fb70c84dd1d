"""What docs/heads.md says of the heads is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.registry import HEADS, build_head, head_options
from wsikit.heads.torchmil_head import MODELS
from wsikit.methods import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "heads.md").read_text()
EXAMPLE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
OPTIONS = PAGE.partition("## Options")[2].partition("## What")[0]


@pytest.mark.parametrize("name", [name for name in HEADS if name in METHODS])
def test_every_option_and_its_default_is_there(name: str) -> None:
    (row,) = [line for line in OPTIONS.splitlines() if line.startswith("|") and f"`{name}`" in line]
    for option, default in head_options(name).items():
        shown = {True: "true", False: "false"}.get(default, default)
        assert re.search(rf"`{option}` `?{shown}\b", row), option
    assert set(re.findall(r"`(\w+)` `?[\w.]", row)) - set(HEADS) == set(head_options(name))


def test_every_model_of_torchmil_is_there() -> None:
    assert all(f"`{name}`" in PAGE for name in MODELS)


def test_the_example_works() -> None:
    assert EXAMPLE is not None
    try:
        exec(compile(EXAMPLE.group(1), "docs/heads.md", "exec"), {})
        head = build_head("top_mean", 12, 3, k=4)
        scores = head(ring_bag(30))
        head.training_loss(ring_bag(30), torch.tensor(2)).backward()
    finally:
        HEADS._entries.pop("top_mean", None)
    expected = scores.patch_logits.sort(dim=0, descending=True).values[:4].mean(dim=0)
    torch.testing.assert_close(scores.logits, expected)
