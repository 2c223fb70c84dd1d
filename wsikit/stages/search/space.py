"""The search space: which keys of a recipe vary, and over what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import yaml

from wsikit.config import Config, TrainConfig, build_config
from wsikit.errors import ConfigError, nearest
from wsikit.methods import Method

if TYPE_CHECKING:
    from optuna.trial import Trial

FREE = (
    "accumulate", "class_weights", "epochs", "head", "lr", "patience", "precision", "weight_decay",
)  # fmt: skip
"""Keys below `train` that may vary; the others say what is compared, and on which slides."""

Value = float | int | str | bool | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are whole."""

    low: float
    high: float
    log: bool = False

    def ends(self) -> tuple[Value, ...]:
        """Return the outermost values."""
        return (self.low, self.high)

    def described(self) -> dict[str, Value]:
        """Return it as it is written in YAML."""
        return {"low": self.low, "high": self.high, "log": self.log}

    def suggest(self, trial: Trial, key: str) -> Value:
        """Ask a trial for a value."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]

    def ends(self) -> tuple[Value, ...]:
        """Return all values."""
        return self.values

    def described(self) -> list[Value]:
        """Return it as it is written in YAML."""
        return list(self.values)

    def suggest(self, trial: Trial, key: str) -> Value:
        """Ask a trial for a value."""
        chosen: Value = trial.suggest_categorical(key, self.values)
        return chosen


Space = Mapping[str, Range | Choice]


def read_space(path: Path) -> dict[str, Range | Choice]:
    """Read a search space.

    Args:
        path: YAML; key -> `{low, high, log}` or a list of values.

    Raises:
        ConfigError: it cannot be read, a key may not vary, or a range is none.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be read ({reason})", "check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path}: no search space", "write key: {low: 1.0e-5, high: 1.0e-3}")
    return {str(key): _parsed(str(key), value, path) for key, value in content.items()}


def check_space(space: Space, config: Config, method: Method) -> None:
    """See that every outermost value is one the recipe and the method accept.

    Raises:
        ConfigError: one is not; the message names it.
    """
    for key, values in space.items():
        own = key.removeprefix("train.head.")
        if own != key and own not in method.options():
            raise ConfigError(
                f"search space: method '{config.train.method}' has no option '{own}'",
                nearest(own, method.options()),
            )
        for value in values.ends():
            with_values(config, {key: value})


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the recipe with other values.

    Raises:
        ConfigError: it does not accept one.
    """
    content = config.model_dump(mode="json")
    for key, value in values.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        section[last] = value
    return build_config(Config, content, "search space")


def _parsed(key: str, value: object, path: Path) -> Range | Choice:
    first, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if first != "train" or name not in TrainConfig.model_fields:
        raise ConfigError(
            f"{path}: unknown key '{key}'", nearest(key, [f"train.{free}" for free in FREE])
        )
    if name not in FREE:
        raise ConfigError(
            f"{path}: '{key}' cannot be searched, as it decides what is compared",
            "set it with --set",
        )
    if (name == "head") != (rest.count(".") == 1):
        raise ConfigError(f"{path}: '{key}' is no single option", "write train.head.OPTION")
    if isinstance(value, list):
        return _choice(key, value, path)
    if isinstance(value, dict):
        return _range(key, value, path)
    raise ConfigError(f"{path}: {key} is {value!r}", "give {low: , high: } or a list of values")


def _choice(key: str, values: list[Any], path: Path) -> Choice:
    if not values or not all(isinstance(v, float | int | str | bool | None) for v in values):
        raise ConfigError(f"{path}: {key} is {values!r}", "list numbers or words")
    return Choice(tuple(values))


def _range(key: str, given: dict[Any, Any], path: Path) -> Range:
    unknown = sorted(str(name) for name in set(given) - {"low", "high", "log"})
    if unknown:
        raise ConfigError(
            f"{path}: {key}: unknown word '{unknown[0]}'", nearest(unknown[0], ["low", "high"])
        )
    low, high, log = given.get("low"), given.get("high"), given.get("log", False)
    if not (_is_number(low) and _is_number(high) and isinstance(log, bool)):
        raise ConfigError(
            f"{path}: {key}: low is {low!r}, high is {high!r}, log is {log!r}",
            "give two numbers (1.0e-5, not 1e-5), and true or false",
        )
    if not low < high or (log and low <= 0):
        raise ConfigError(
            f"{path}: {key}: {low} to {high} is no range", "low below high, and above 0 with log"
        )
    return Range(low, high, log)


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
