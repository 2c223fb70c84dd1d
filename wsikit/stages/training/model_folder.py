"""The run as a model: all it takes to treat a new slide as the slides it was trained on.

A run is handed on as one folder. Beside the heads' weights it therefore holds how patches were
made (`provenance.json`), the stain reference, what the features were computed by (`config.yaml`,
and `encoder.safetensors` where the weights came from a file), and statistics of its training
slides. What is written here is checked against the store that was trained on, not against what the
user said: a store remembers its recipe, a command line does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from wsikit.config import ExtractConfig, GraphConfig, TileConfig, build_config
from wsikit.encoders.encoder import PRETRAINED, RANDOM, Encoder, build_encoder, encoder_id
from wsikit.encoders.registry import id_prefix
from wsikit.encoders.saved import read_encoder
from wsikit.encoders.saved_header import saved_spec
from wsikit.errors import ConfigError, StoreError, UsageError, WeightsError
from wsikit.methods import METHODS, Method
from wsikit.stages.extraction.kept_encoder import (
    FROM_FILE,
    kept_encoder,
    named_as,
    share_file,
    weights_digest,
)
from wsikit.stages.extraction.plan import features_recipe
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.stored_names import graph_id
from wsikit.stages.tiling.slide import tile_recipe
from wsikit.stages.tiling.stain_reference import FILE as STORED_REFERENCE
from wsikit.stages.training.training_statistics import make_statistics
from wsikit.stain.reference import PACKAGED, load_reference, reference_digest, save_reference
from wsikit.store.recipe import differences
from wsikit.store.store import Store

INGESTED = "ingested"
"""What features say of weights that never were here."""


def describes_features(facts: RunFacts) -> bool:
    """Tell whether a run scores features that an encoder made before, and not pixels."""
    return isinstance(METHODS[facts.method], Method)


def keep_model(
    store: Store, run: RunFolder, facts: RunFacts, splits: pd.DataFrame, progress: Progress
) -> None:
    """Write what makes a begun run complete as a model; what is there already stays.

    Args:
        store: the store that is trained on.
        run: the run; its configuration is corrected to what the store was really made with.
        facts: the run's.
        splits: which slide is trained on in which fold.
        progress: told of slides, and of what is not at hand.
    """
    config = run.config()
    true = config.model_copy(
        update={
            "tile": _true_tile(config.tile, facts.tile_recipe),
            "extract": _true_extract(config.extract, store, facts, splits),
        }
    )
    if true != config:
        run.write_config(true)
    _keep_reference(store, run, facts.tile_recipe, progress)
    features = facts.encoder_id if describes_features(facts) else None
    if features and true.extract.weights == _encoder_name(run):
        _keep_encoder(store, run, facts, progress)
    make_statistics(store, run, facts, splits, features, progress)


def _encoder_name(run: RunFolder) -> str:
    """Return what the run's configuration calls weights that lie beside it."""
    return run.encoder.name


def _true_tile(config: TileConfig, recipe: Mapping[str, Any]) -> TileConfig:
    """Return how the store was tiled; where patches came from elsewhere, what was given."""
    if "ingest" in recipe:
        return config
    packaged = recipe.get("reference") in (None, reference_digest(load_reference()))
    try:
        return tile_config(recipe, PACKAGED if packaged else STORED_REFERENCE)
    except ConfigError:  # a store of another version: the run can be trained on it all the same
        return config


def tile_config(recipe: Mapping[str, Any], reference: str) -> TileConfig:
    """Return the configuration that a store's tile recipe came from.

    Args:
        recipe: the store's.
        reference: the stain reference's file or name; a recipe holds its digest alone.

    Raises:
        ConfigError: the recipe has keys that this wsikit does not know.
    """
    content = {k: v for k, v in recipe.items() if k not in ("algorithm", "reference")}
    for section, own in (
        ("stain", {"reference": reference}),
        ("roi", {"keep": None, "exclude": None}),
    ):
        content[section] = {**content.get(section, {}), **own}
    return build_config(TileConfig, content, "the run's tile recipe")


def _true_extract(
    config: ExtractConfig, store: Store, facts: RunFacts, splits: pd.DataFrame
) -> ExtractConfig:
    """Return how the features were made, as far as they tell."""
    if not describes_features(facts):
        return config
    slide = store.slide(str(splits["slide_id"].iloc[0]))
    about = slide.derived_attributes(f"features/{facts.encoder_id}")
    word = about.get("weights")
    if word is None or word == INGESTED:
        return config
    update: dict[str, Any] = {
        "encoder": str(about["encoder"]),
        "weights": {RANDOM: RANDOM, FROM_FILE: "encoder.safetensors"}.get(str(word), PRETRAINED),
        "also": (),
        "dtype": str(slide.feature_dtype(facts.encoder_id)),
    }
    for precision in get_args(ExtractConfig.model_fields["precision"].annotation):
        recipe = features_recipe(slide.recipe_id, facts.encoder_id, precision, update["dtype"])
        if recipe == about.get("recipe_id"):
            update["precision"] = precision
    return config.model_copy(update=update)


def _keep_reference(
    store: Store, run: RunFolder, recipe: Mapping[str, Any], progress: Progress
) -> None:
    digest = recipe.get("reference")
    if digest is None or run.stain_reference.exists():
        return
    path = _reference_of([store.path / STORED_REFERENCE], digest)
    if path is None:
        progress.say("the store's stain reference is not at hand; the run cannot tile new slides")
        return
    save_reference(load_reference(path), run.stain_reference)


def _reference_of(files: list[Path], digest: str) -> str | None:
    """Return the first reference of a digest: one of some files, or the packaged one."""
    for name in (*(str(file) for file in files if file.exists()), PACKAGED):
        if reference_digest(load_reference(name)) == digest:
            return name
    return None


def _keep_encoder(store: Store, run: RunFolder, facts: RunFacts, progress: Progress) -> None:
    kept = kept_encoder(store, facts.encoder_id)
    if run.encoder.exists():
        return
    if kept.exists():
        share_file(kept, run.encoder)
        return
    progress.say(
        f"the weights of {facts.encoder_id} are not at hand, so the run alone cannot describe new "
        "slides: run wsikit extract as before (it keeps them), then this command again"
    )


class Model:
    """What a run says about treating new slides.

    Args:
        run: the run's folder, wherever it lies.

    Raises:
        StoreError: this is no run.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.facts = run.facts()
        self.config = run.config()

    @property
    def needs_features(self) -> bool:
        """Whether patches must be described by an encoder first."""
        return describes_features(self.facts)

    def tile(self, keep: str | None = None, exclude: str | None = None) -> TileConfig:
        """Return how slides are tiled for this model.

        Args:
            keep: regions of the new slides, where the model was trained within regions.
            exclude: regions to leave out, where the model was trained so.

        Raises:
            StoreError: the run cannot tile: its patches were made elsewhere, by another version,
                or its stain reference is lost.
            UsageError: regions are given or missing, other than in training.
        """
        recipe = self.facts.tile_recipe
        if "ingest" in recipe:
            raise StoreError(
                f"{self.run.path}: trained on features that were made elsewhere, so it cannot "
                "describe slides",
                "make those of the new slides with the same tool, and wsikit ingest them",
            )
        given = {"keep": keep, "exclude": exclude}
        for name, path in given.items():
            if bool(recipe.get("roi", {}).get(name)) != (path is not None):
                raise UsageError(*self._regions(name, path))
        try:
            config = tile_config(recipe, self._reference())
        except ConfigError as error:
            raise self._other_version(str(error)) from error
        config = config.model_copy(update={"roi": config.roi.model_copy(update=given)})
        if changed := differences(recipe, tile_recipe(config)):
            raise self._other_version("; ".join(changed))
        return config

    def _other_version(self, why: str) -> StoreError:
        version = self.facts.versions.get("wsikit", "of that time")
        return StoreError(
            f"{self.run.path}: this wsikit cannot tile as the run's slides were ({why})",
            f"use wsikit {version}",
        )

    def _regions(self, name: str, path: str | None) -> tuple[str, str]:
        if path is None:
            return (
                f"{self.run.path}: trained on slides with regions to {name}",
                f"give those of the new slides with --{name}",
            )
        return f"{self.run.path}: trained without regions to {name}", f"leave --{name} out"

    def _reference(self) -> str:
        digest = self.facts.tile_recipe.get("reference")
        if digest is None:
            return PACKAGED
        name = _reference_of([self.run.stain_reference], digest)
        if name is None:
            raise StoreError(
                f"{self.run.path}: the stain reference of its slides is not in it",
                f"copy {STORED_REFERENCE} from the store it was trained on",
            )
        return str(Path(name).absolute()) if name != PACKAGED else name

    def encoder(self, weights: str | None = None) -> Encoder:
        """Build the encoder whose features the model scores, under the very id.

        Args:
            weights: `pretrained`, `random` or a file; None: as the run says.

        Raises:
            ConfigError: there is no such encoder.
            WeightsError: its weights are not at hand, or are others than those of the training.
        """
        built = self._built(weights)
        wanted, found = self.facts.encoder_id, encoder_id(built)
        if weights_digest(found) != weights_digest(wanted):
            raise WeightsError(
                f"{self.run.path}: trained on features of {wanted}, and the encoder at hand is "
                f"another ({found})",
                "give the weights of that encoder with --weights FILE",
            )
        return named_as(built, wanted)

    def _built(self, weights: str | None) -> Encoder:
        name, wanted = self.config.extract.encoder, self.facts.encoder_id
        if weights is not None and _is_saved_encoder(weights):
            return read_encoder(Path(weights).expanduser())
        if weights is None and self.run.encoder.exists():
            return read_encoder(self.run.encoder)
        if weights is None and self.config.extract.weights == _encoder_name(self.run):
            raise WeightsError(
                f"{self.run.path}: holds no {_encoder_name(self.run)}, the weights of {wanted}",
                "give them with --weights FILE",
            )
        if not wanted.startswith(f"{id_prefix(name)}-"):
            raise StoreError(
                f"{self.run.path}: does not say how {wanted} is built",
                "run wsikit train again as before, with this version: it adds what is missing",
            )
        return build_encoder(name, weights or self.config.extract.weights)

    def extract(self) -> ExtractConfig:
        """Return how features are computed for this model."""
        return self.config.extract.model_copy(update={"also": ()})

    def graph(self) -> GraphConfig:
        """Return how graphs are built for this model.

        Raises:
            StoreError: the run's configuration is not that of its graphs.
        """
        config = self.config.graph
        if graph_id(config, self.facts.encoder_id) != self.facts.graph_id:
            raise StoreError(
                f"{self.run.path}: config.yaml is not that of its graphs ({self.facts.graph_id})",
                "put the file back as wsikit train wrote it",
            )
        return config


def _is_saved_encoder(weights: str) -> bool:
    path = Path(weights).expanduser()
    return path.is_dir() or (path.is_file() and saved_spec(path) is not None)
