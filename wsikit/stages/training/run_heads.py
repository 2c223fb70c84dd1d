"""Build a run's heads, untrained or with their trained weights."""

from __future__ import annotations

import torch

from wsikit.config import Config
from wsikit.heads.bag import Head
from wsikit.methods import slide_method
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.training.fits.folder import load_weights


def untrained_head(facts: RunFacts, config: Config, fold: int) -> Head:
    """Build the head of one fold, its initial weights decided by the seed and the fold."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(facts.seed * 1009 + fold)
        return slide_method(facts.method).build(
            facts.in_features, len(facts.classes), config.train.head
        )


def trained_heads(run: RunFolder, facts: RunFacts) -> list[Head]:
    """Load the head of every fold, on the CPU.

    Raises:
        WeightsError: a fold's weights are missing or damaged.
    """
    config = run.config()
    heads = []
    for fold in range(facts.folds):
        head = untrained_head(facts, config, fold)
        load_weights(head, run.fold(fold) / "head.safetensors")
        heads.append(head)
    return heads
