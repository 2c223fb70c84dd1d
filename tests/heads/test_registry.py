from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.head_conformance import HeadConformance
from wsikit.errors import ConfigError
from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.mean_pooling import MeanPooling
from wsikit.heads.registry import HEADS, build_head, head_options


class TestEveryHead(HeadConformance):
    @pytest.fixture(params=list(HEADS))
    def build(self, request: pytest.FixtureRequest) -> Callable[[int, int], Head]:
        return lambda features, classes: build_head(request.param, features, classes)


def test_the_methods_of_the_main_path_are_there() -> None:
    assert {"abmil", "graph_transformer"} <= set(HEADS)
    assert {"mean_pooling", "max_pooling", "clam_sb", "dsmil", "trans_mil"} <= set(HEADS)


class Dense(MeanPooling):
    def forward(self, bag: Bag) -> BagScores:
        scores = super().forward(bag)
        return scores._replace(logits=scores.logits + 0 * (bag.features @ bag.features.T).sum())


def test_a_head_that_forms_n_by_n_is_found_out() -> None:
    with pytest.raises(AssertionError):
        HeadConformance().test_nothing_grows_with_the_square_of_the_bag(Dense(12, 3))


def test_unknown_head_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'graph_transformer'"):
        build_head("graphtransformer", 4, 2)


def test_unknown_option_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no option 'drop_out'.*did you mean 'dropout'"):
        build_head("abmil", 4, 2, drop_out=0.5)


def test_in_features_is_no_option() -> None:
    assert "in_features" not in head_options("abmil")
    assert head_options("graph_transformer")["position"] == "2d"


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("abmil", "embed", 0),
        ("abmil", "dropout", 1.0),
        ("abmil", "dropout", float("nan")),
        ("abmil", "attention", "many"),
        ("graph_transformer", "embed", 130),
        ("graph_transformer", "heads", 3),
        ("graph_transformer", "gcn_layers", -1),
        ("graph_transformer", "position", "3d"),
        ("graph_transformer", "depth", True),
        ("graph_transformer", "pooling", "mean"),
        ("graph_transformer", "ratio", 0),
        ("graph_transformer", "ratio", 1.5),
        ("mean_pooling", "embed", 0),
        ("max_pooling", "dropout", 1),
        ("clam_sb", "k", 0),
        ("clam_sb", "bag_weight", 1),
        ("dsmil", "query", 0),
        ("trans_mil", "heads", 7),
        ("trans_mil", "landmarks", 0),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, option: str, value: object) -> None:
    with pytest.raises(ConfigError):
        build_head(name, 4, 2, **{option: value})
