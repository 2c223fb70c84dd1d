"""The run: one training's config, split, weights, metrics and predictions, as a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from wsikit.atomic import write_bytes, write_json
from wsikit.config import Config, build_config
from wsikit.errors import StoreError

SCHEMA = 1


@dataclass(frozen=True)
class RunFacts:
    """What must be known to use a run again; kept in `provenance.json`.

    Attributes:
        recipe_id: identity of everything that decides the weights.
        method: name of the method.
        classes: the labels, the positive one last.
        encoder_id: the features it was trained on; of a run that trains an encoder, the start.
        graph_id: the graphs it was trained on; None where the head needs none.
        in_features: width of a feature.
        folds: number of folds.
        seed: of splits, initial weights and order.
        tile_recipe: how the patches were made.
        versions: of wsikit and the libraries that decide the numbers.
        dropped: slide id -> why it took no part.
        split_digest: SHA-256 of `split.csv` as training wrote it; None in older runs.
    """

    recipe_id: str
    method: str
    classes: tuple[str, ...]
    encoder_id: str
    graph_id: str | None
    in_features: int
    folds: int
    seed: int
    tile_recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    dropped: Mapping[str, str]
    split_digest: str | None = None


class RunFolder:
    """Name the files of a run and read what others wrote.

    Args:
        path: the run's directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.splits_csv = path / "split.csv"
        self.predictions_csv = path / "predictions.csv"
        self.failures_json = path / "prediction_failures.json"
        self.metrics_json = path / "metrics.json"
        self.patch_metrics_json = path / "patch_metrics.json"
        self.encoder = path / "encoder.safetensors"
        self.stain_reference = path / "stain_reference.json"
        self.statistics = path / "statistics.safetensors"
        self.report_html = path / "report.html"
        self.patches = path / "patches"
        self.heatmaps = path / "heatmaps"

    def fold(self, fold: int) -> Path:
        """Return the folder of one fold's weights."""
        return self.path / "folds" / str(fold)

    def fold_logs(self, fold: int) -> Path:
        """Return the folder of one fold's curves for TensorBoard."""
        return self.path / "logs" / f"fold{fold}"

    def patch_table(self, slide_id: str) -> Path:
        """Return where a slide's patch scores lie."""
        return self.patches / f"{slide_id}.parquet"

    @property
    def begun(self) -> bool:
        """Whether a training was started here."""
        return (self.path / "provenance.json").exists()

    def trained(self, folds: int) -> bool:
        """Whether every fold is fitted and the held-out slides are predicted."""
        fitted = all((self.fold(fold) / "fit.json").exists() for fold in range(folds))
        return fitted and self.predictions_csv.exists()

    def clear(self) -> None:
        """Remove an earlier run's files, and nothing else that lies in the folder."""
        for name in ("folds", "logs", "patches", "heatmaps", "strides"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for file in (
            self.predictions_csv, self.failures_json, self.metrics_json, self.report_html,
            self.splits_csv, self.patch_metrics_json, self.encoder, self.stain_reference,
            self.statistics,
        ):  # fmt: skip
            file.unlink(missing_ok=True)

    def begin(self, config: Config, facts: RunFacts, splits: pd.DataFrame) -> None:
        """Write what is known before training; the facts last, by which a run counts as begun.

        Args:
            config: the recipe.
            facts: what identifies the run; the split's digest is filled in.
            splits: which slide stands where.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_config(config)
            write_table(self.splits_csv, splits)
            facts = replace(facts, split_digest=self._split_digest())
            write_json(self.path / "provenance.json", {"schema": SCHEMA, **asdict(facts)})
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot write here ({error.strerror})",
                "choose a writable folder with -o",
            ) from error

    def write_config(self, config: Config) -> None:
        """Write the resolved configuration.

        Raises:
            UsageError: the folder cannot be written.
        """
        # Where a run was written is no part of what it is; its split lies in split.csv.
        content = config.model_dump(mode="json", exclude={"output", "split"})
        resolved = yaml.safe_dump(content, sort_keys=False)
        write_bytes(self.path / "config.yaml", resolved.encode())

    def facts(self) -> RunFacts:
        """Read the run's facts.

        Raises:
            StoreError: this is no run folder.
        """
        path = self.path / "provenance.json"
        try:
            content = json.loads(path.read_bytes())
            schema = content.pop("schema")
            if schema != SCHEMA:
                raise StoreError(f"{path}: made by another wsikit (schema {schema})", "train again")
            content["classes"] = tuple(content["classes"])
            return RunFacts(**content)
        except FileNotFoundError:
            raise self._no_run() from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path}: not the description of a run", "train again") from error

    def _no_run(self) -> StoreError:
        if (self.path / "wsikit.json").exists():
            return StoreError(f"{self.path}: a store and no run", "name the run")
        if self.predictions_csv.exists():
            return StoreError(f"{self.path}: predictions and no run", "name the run that made them")
        return StoreError(
            f"{self.path}: no run here (provenance.json is missing)", "make one with wsikit train"
        )

    def config(self) -> Config:
        """Read the run's resolved configuration."""
        path = self.path / "config.yaml"
        try:
            content = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise StoreError(f"{path}: cannot be read", "train again") from error
        return build_config(Config, content, str(path))

    def splits(self) -> pd.DataFrame:
        """Read which slide stood where, with its patient, label and file.

        Raises:
            StoreError: there is none, or it is another than training wrote: a slide whose row is
                lost would count as one that the models have never seen.
        """
        columns = {"fold", "slide_id", "split", "patient_id", "label", "fingerprint"}
        table = self._table(self.splits_csv, "wsikit train --overwrite", columns)
        if self.facts().split_digest not in (None, self._split_digest()):
            raise StoreError(
                f"{self.splits_csv}: is not the split that training wrote (cut short or edited)",
                "put that file back, or run wsikit train --overwrite again",
            )
        return table

    def _split_digest(self) -> str:
        return hashlib.sha256(self.splits_csv.read_bytes()).hexdigest()

    def predictions(self) -> pd.DataFrame:
        """Read the predictions; missing text is empty."""
        columns = {"slide_id", "patient_id", "label", "fold", "split", "pred"}
        return self._table(self.predictions_csv, "wsikit predict", columns)

    def failures(self) -> dict[str, str]:
        """Read why slides could not be predicted: slide id -> reason; nothing where there is none.

        Raises:
            StoreError: the file is damaged.
        """
        try:
            content = json.loads(self.failures_json.read_bytes())
            return {str(slide_id): str(reason) for slide_id, reason in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{self.failures_json}: cannot be read", "run wsikit predict again"
            ) from error

    def patch_metrics(self) -> dict[str, Any] | None:
        """Read how single patches fare; None of a run that was not trained on patches.

        Raises:
            StoreError: the file is damaged.
        """
        try:
            content = json.loads(self.patch_metrics_json.read_bytes())
            content["pooled"]["auc"]["value"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.patch_metrics_json}: cannot be read", "run wsikit train again"
            ) from error
        return dict(content)

    def _table(self, path: Path, command: str, columns: set[str]) -> pd.DataFrame:
        try:
            text = {"slide_id": str, "patient_id": str, "label": str, "pred": str, "split": str}
            table = pd.read_csv(path, dtype=text, keep_default_na=False)
        except FileNotFoundError:
            raise StoreError(f"{path}: not there yet", f"run {command} first") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read", f"run {command} again") from error
        if lacking := sorted(columns - set(table.columns)):
            raise StoreError(f"{path}: column '{lacking[0]}' is missing", f"run {command} again")
        return table


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV in one step, floats with six significant digits."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_bytes(path, text.encode())
