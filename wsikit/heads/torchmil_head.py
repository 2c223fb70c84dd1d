"""Every model of torchmil (Castro-Macias et al. 2025) that takes a bag of features, as a head.

torchmil is an optional extra; it is imported when a head named `torchmil:NAME` is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from inspect import Parameter
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsikit.errors import ConfigError, SlideError, UsageError, nearest
from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.options import check_at_least
from wsikit.heads.standardise import Standardise
from wsikit.types import ScoreKind

PREFIX = "torchmil:"

LARGEST = 5_000
"""Patches that a model may have which forms an N x N matrix: 100 MB, a few times over."""

SET_BY_US = ("in_shape", "feat_ext", "criterion")


class Known(NamedTuple):
    """What a model's signature does not say.

    Attributes:
        scores: the option of `forward` that also returns patch scores; None where it has none, or
            none that can be used.
        kind: what these are: raw `attention`, or the logit of the second class (`probability`).
        square: `always`, or only in the `loss`: where it forms an N x N matrix.
        defaults: what must be set for it to work at all.
    """

    scores: str | None = None
    kind: ScoreKind | None = None
    square: str | None = None
    defaults: Mapping[str, Any] = {}


ATTENTION = Known("return_att", "attention")

MODELS: dict[str, Known] = {
    "ABMIL": ATTENTION,
    "CAMIL": ATTENTION._replace(square="always", defaults={"n_landmarks": 256}),
    "CLAM_SB": ATTENTION,
    "DSMIL": Known("return_inst_pred", "probability"),
    "DTFDMIL": Known("return_inst_cam", "probability"),
    # Its graph convolution hands parts of a patch's result to other patches.
    "DeepGraphSurv": Known(),
    "GTP": Known(square="always"),
    # Its patch labels need prototypes that its own loss never updates.
    "IIBMIL": Known(),
    "PatchGCN": ATTENTION,
    "ProbSmoothABMIL": ATTENTION._replace(square="loss"),
    "SETMIL": Known(square="always"),
    "SmABMIL": ATTENTION,
    "SmTransformerABMIL": ATTENTION,
    "SmoothABMIL": ATTENTION._replace(square="loss"),
    # It would form N x N to return one row.
    "TransMIL": Known(),
    "TransformerABMIL": ATTENTION,
    "TransformerProbSmoothABMIL": ATTENTION._replace(square="loss"),
    "VAEABMIL": ATTENTION,
}


class TorchmilHead(Head):
    """Wrap one torchmil model; a subclass names it.

    The model's one logit becomes the logits (0, logit), and the training loss is the plain sum of
    the losses it gives, as torchmil's own trainer takes it. Features are standardised first. A
    graph is fed as a sparse matrix D^-1/2 A D^-1/2, as torchmil's data sets make it. Where a model
    draws at random in evaluation too, it draws the same every time; dropout in its attention,
    which torchmil leaves on in evaluation, is off there.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes: 2, since torchmil's models give one logit.
        options: of the model, except those that say what comes in and how it is judged.

    Raises:
        ConfigError: there are more classes, or the model refuses an option.
    """

    name: ClassVar[str]

    def __init__(self, in_features: int, classes: int, **options: Any) -> None:
        check_at_least("in_features", in_features, 1)
        check_at_least("classes", classes, 2)
        if classes > 2:
            raise ConfigError(
                f"{PREFIX}{self.name} tells 2 classes apart, and there are {classes} classes",
                "use a head of wsikit's own",
            )
        super().__init__()
        self.known = MODELS[self.name]
        self.standardise = Standardise(in_features)
        self.model = _build(self.name, in_features, {**self.known.defaults, **options})
        self.inputs = _arguments(self.model.forward)
        self._dropping = [
            (part, part.dropout)
            for part in self.model.modules()
            if isinstance(getattr(part, "dropout", None), float)
        ]

    def train(self, mode: bool = True) -> TorchmilHead:
        """Switch between training and evaluation, attention's dropout too."""
        super().train(mode)
        for part, share in self._dropping:
            part.dropout = share if mode else 0.0
        return self

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches.

        Raises:
            UsageError: the model wants a graph, and the bag has none.
            SlideError: the bag is too large for this model.
        """
        asked = {self.known.scores: True} if self.known.scores else {}
        with self._draws(bag.features.device):
            found = self.model(**self._inputs(bag, "forward"), **asked)
        logit, scores = found if asked else (found, None)
        logits = _against_zero(logit.reshape(()))  # (2,)
        if scores is None:
            return BagScores(logits)
        scores = scores.reshape(-1)  # (N,)
        if self.known.kind == "attention":
            return BagScores(logits, attention=scores.softmax(dim=0))
        return BagScores(logits, _against_zero(scores))

    def training_loss(self, bag: Bag, label: Tensor) -> Tensor:
        """Return the sum of the model's losses; see the base class. Raises as `forward` does."""
        with self._draws(bag.features.device):
            _, losses = self.model.compute_loss(Y=label[None], **self._inputs(bag, "loss"))
        return torch.stack([loss.reshape(()) for loss in losses.values()]).sum()

    def _inputs(self, bag: Bag, use: str) -> dict[str, Tensor]:
        count = len(bag.features)
        places = bag.rowcol - bag.rowcol.amin(dim=0)  # (N, 2)
        # SETMIL attends over the whole square that holds the slide.
        square = int(places.max() + 1) ** 2 if "coords" in self.inputs else count
        if self.known.square in ("always", use) and square > LARGEST:
            raise SlideError(
                f"{PREFIX}{self.name} forms a matrix of {square} x {square} numbers here",
                f"it is allowed {LARGEST} x {LARGEST}; use another method, or larger patches",
            )
        inputs = {"X": self.standardise(bag.features)[None]}  # (1, N, D)
        if "coords" in self.inputs:
            inputs["coords"] = places[None]
        if "adj" in self.inputs:
            inputs["adj"] = self._adjacency(bag)  # (1, N, N)
        if self.name == "DTFDMIL":  # the only one that fails without; others are slower with it
            inputs["mask"] = torch.ones(1, count, device=bag.features.device)
        return inputs

    def _adjacency(self, bag: Bag) -> Tensor:
        if bag.edge_index is None:
            raise UsageError(f"{PREFIX}{self.name} needs a graph", "make one with 'wsikit graph'")
        adjacency = normalised_adjacency(bag.edge_index, len(bag.features))
        return adjacency.to_dense() if self.name == "GTP" else adjacency

    @contextmanager
    def _draws(self, device: torch.device) -> Iterator[None]:
        """Let a model draw from torch's generator, by way of numpy's too; in evaluation, alike."""
        before = np.random.get_state()
        gpus = [device] if device.type == "cuda" else []
        try:
            if self.training:
                np.random.seed(int(torch.randint(2**31, ())))
                yield
                return
            with torch.random.fork_rng(devices=gpus):
                np.random.seed(0)
                torch.default_generator.manual_seed(0)
                if gpus:
                    torch.cuda.manual_seed(0)
                yield
        finally:
            np.random.set_state(before)


@cache
def torchmil_head(name: str) -> type[TorchmilHead]:
    """Return the head that wraps a torchmil model; its keyword arguments are the model's.

    Raises:
        ConfigError: there is no such model.
        UsageError: torchmil is not installed.
    """
    if name not in MODELS:
        raise ConfigError(f"torchmil has no model '{name}'", nearest(name, MODELS))
    model = getattr(_torchmil("models"), name)
    options = [
        Parameter(
            option.name,
            Parameter.KEYWORD_ONLY,
            default=MODELS[name].defaults.get(option.name, option.default),
        )
        for option in inspect.signature(model).parameters.values()
        if option.name not in SET_BY_US
    ]
    inputs = _arguments(model.forward)
    return type(
        f"Torchmil{name}",
        (TorchmilHead,),
        {
            "__doc__": f"torchmil's {name}; see `TorchmilHead`.",
            "__signature__": inspect.Signature(options),
            "name": name,
            "needs_graph": "adj" in inputs,
            "score_kind": MODELS[name].kind,
        },
    )


def normalised_adjacency(edge_index: Tensor, count: int) -> Tensor:
    """Return D^-1/2 A D^-1/2 as a sparse matrix: row i gathers from the sources of i's edges.

    Args:
        edge_index: (2, E) int64, source and target.
        count: number N of nodes.

    Returns:
        (1, N, N) float32, sparse and coalesced.
    """
    source, target = edge_index
    degree = torch.bincount(target, minlength=count).float()
    each = degree.clamp(min=1).rsqrt()  # an edge of a directed graph may start where none ends
    places = torch.stack([torch.zeros_like(source), target, source])  # (3, E)
    weights = each[source] * each[target]
    shape = (1, count, count)
    return torch.sparse_coo_tensor(places, weights, shape, check_invariants=False).coalesce()


def _build(name: str, in_features: int, options: dict[str, Any]) -> Any:
    if name == "VAEABMIL":
        make = _torchmil("nn").VariationalAutoEncoderMIL
        options = {**options, "feat_ext": make(input_shape=(in_features,))}
    try:
        return getattr(_torchmil("models"), name)(in_shape=(in_features,), **options)
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"torchmil's {name} refuses its options ({error})", "look at train.head"
        ) from error


def _torchmil(part: str) -> Any:
    try:
        return import_module(f"torchmil.{part}")
    except ImportError as error:
        raise UsageError(
            f"a method of torchmil is asked for, and torchmil cannot be imported ({error})",
            "pip install 'wsikit[torchmil]'",
        ) from error


def _arguments(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def _against_zero(logit: Tensor) -> Tensor:
    """Give the first class the logit 0; a new last axis holds both."""
    return torch.stack([torch.zeros_like(logit), logit], dim=-1)
