"""The configuration: YAML and `--set` in, frozen models out.

Every key a recipe may hold stands here with its default and meaning; `configs/default.yaml` lists
them for users. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from wsikit.errors import ConfigError, nearest

M = TypeVar("M", bound="Section")


def _number_or_native(value: object) -> object:
    """Say in one line what a resolution may be."""
    number = isinstance(value, int | float) and 0.05 <= value <= 100
    if value == "native" or (number and not isinstance(value, bool)):
        return value
    raise ValueError("give um per px, 0.05 to 100, or 'native'")


StoreMpp = Annotated[float | Literal["native"], BeforeValidator(_number_or_native)]


class Section(BaseModel):
    """A group of keys. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RgbConfig(Section):
    """The RGB background filter."""

    threshold: int = Field(200, ge=0, le=255, description="a brighter channel is background")
    rule: Literal["any", "all"] = Field("all", description="how many channels must be bright")
    window: int = Field(200, ge=1, le=2000, description="neighbourhood, level-0 px")
    mpp: float | None = Field(
        None, ge=0.05, le=100, description="um per px to look at; null: the store's own, exact"
    )


class EntropyConfig(Section):
    """The entropy background filter."""

    cut: float = Field(15.0, ge=0, le=24, description="patches below, in bits, are background")


class TissueConfig(Section):
    """The tissue filter, which looks at an overview of the slide."""

    mpp: float = Field(8.0, ge=1, le=64, description="um per overview px")
    stain: float = Field(0.03, gt=0, le=1, description="least difference of density of channels")
    min_piece_um2: float = Field(4_000, ge=0, description="smaller pieces are specks")
    max_hole_um2: float = Field(20_000, ge=0, description="holes up to this belong to the tissue")
    pen: bool = Field(True, description="whether pen marks are left out")
    blur: float = Field(0.06, ge=0, le=1, description="patches less sharp are dropped; 0: none")


class RoiConfig(Section):
    """Regions of interest drawn by hand: GeoJSON files in the level-0 frame."""

    keep: str | None = Field(None, description="file, or folder of <slide_id>.geojson: only there")
    exclude: str | None = Field(None, description="file or folder of <slide_id>.geojson: not there")
    keep_classes: tuple[str, ...] = Field((), description="annotation classes to keep; none: all")
    exclude_classes: tuple[str, ...] = Field((), description="classes to exclude; none: all")
    min_inside: float = Field(0.5, gt=0, le=1, description="least share of a patch to keep it")
    max_excluded: float = Field(0.5, ge=0, lt=1, description="largest share a kept patch may have")
    origin: Literal["qupath", "slide"] = Field(
        "qupath", description="GeoJSON counts from the scanned bounds, as QuPath, or the slide"
    )


class StainConfig(Section):
    """Stain normalisation."""

    method: Literal["histogram", "histogram-patch", "reinhard", "macenko", "none"] = Field(
        "histogram", description="how to normalise"
    )
    reference: str = Field(
        "packaged", description="'packaged', or a reference file (.json) that wsikit wrote"
    )


class CodecConfig(Section):
    """How a patch is compressed in the store."""

    name: Literal["jpeg", "jpegxl", "zstd"] = Field("jpeg", description="zstd: any Zarr reader")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality")
    subsampling: Annotated[Literal["444", "422", "420"], BeforeValidator(str)] = Field(
        "420", description="JPEG chroma"
    )


class TileConfig(Section):
    """What `wsikit tile` does."""

    size: int = Field(512, ge=16, le=4096, multiple_of=8, description="patch side, store px")
    mpp: StoreMpp = Field(0.5, description="um per store px, or native")
    level: int | None = Field(None, ge=0, le=63, description="a slide's own level, in place of mpp")
    filters: tuple[Literal["tissue", "rgb", "entropy"], ...] = Field(
        ("tissue",), description="what drops background; none keeps all"
    )
    combine: Literal["and", "or"] = Field("and", description="pass all filters, or one of them")
    min_foreground: float = Field(0.1, ge=0, le=1, description="least foreground share")
    tissue: TissueConfig = TissueConfig()
    rgb: RgbConfig = RgbConfig()
    entropy: EntropyConfig = EntropyConfig()
    roi: RoiConfig = RoiConfig()
    stain: StainConfig = StainConfig()
    codec: CodecConfig = CodecConfig()
    thumbnail_mpp: float = Field(16.0, gt=0, description="um per thumbnail px, about")


class EncoderChoice(Section):
    """One more encoder."""

    encoder: str = Field(description="as extract.encoder")
    weights: str = Field("pretrained", description="as extract.weights")


def _encoder_choices(value: object) -> object:
    """Say in one line what more encoders may be."""
    known = set(EncoderChoice.model_fields)
    items = value if isinstance(value, list | tuple) else [None]
    for item in items:
        if isinstance(item, EncoderChoice):
            continue
        if not isinstance(item, dict) or "encoder" not in item or set(item) - known:
            raise ValueError("give [{encoder: NAME}] or [{encoder: NAME, weights: W}]")
    return value


class ExtractConfig(Section):
    """What `wsikit extract` does."""

    encoder: str = Field("resnet18", description="wsikit encoders lists them")
    weights: str = Field("pretrained", description="pretrained, random, or a .safetensors file")
    also: Annotated[tuple[EncoderChoice, ...], BeforeValidator(_encoder_choices)] = Field(
        (), description="more encoders in the same pass"
    )
    batch_size: int = Field(64, ge=1, le=65536, description="patches a step")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="arithmetic")
    dtype: Literal["float16", "float32"] = Field("float16", description="stored type")
    compile: bool = Field(False, description="whether torch compiles the encoder first")
    readers: int = Field(0, ge=0, le=256, description="threads that decode; 0: one a core")


class GraphConfig(Section):
    """What `wsikit graph` does."""

    kind: Literal["knn", "spatial", "hybrid"] = Field(
        "knn", description="nearest in feature space, side by side on the grid, or both"
    )
    k: int = Field(8, ge=1, le=1024, description="nearest patches a patch is joined to")
    symmetrise: bool = Field(True, description="join nearest patches in both directions")
    exact_up_to: int = Field(
        30_000, ge=1000, description="patches of a slide up to which each is compared with all"
    )
    min_recall: float = Field(
        0.98, ge=0.5, lt=1, description="beyond: least share of true neighbours to find"
    )


def _auto_or_bool(value: object) -> object:
    """Say in one line what may be chosen; 0 and 1 are no such thing."""
    if value == "auto" or isinstance(value, bool):
        return value
    raise ValueError("give auto, true or false")


class PatchTrainConfig(Section):
    """How the methods that train on pixels go about it: `am-softmax`, `self_distillation`, ..."""

    encoder: str | None = Field(
        None, description="the network to train, see wsikit.encoders; null: the method's own"
    )
    weights: str = Field(
        "auto", description="start: pretrained, random, a file; auto: pretrained where at hand"
    )
    input_px: int | None = Field(
        None, ge=8, le=2048, description="side of the picture the network sees; null: its own"
    )
    frozen: int = Field(0, ge=0, description="layers, from the first, that keep their weights")
    batch_size: int = Field(64, ge=1, description="patches a step")
    per_slide: int | None = Field(
        256, ge=1, description="patches of a slide an epoch, drawn anew; null: all"
    )
    augment: bool = Field(True, description="turn patches by quarters and flip them")
    quarters: bool = Field(True, description="false: augment flips alone")
    rotate: float = Field(0, ge=0, le=180, description="degrees patches are also turned by at most")
    zoom: float = Field(0, ge=0, le=0.5, description="share they are also zoomed by at most")
    shift: float = Field(0, ge=0, le=0.5, description="share of their side they move by at most")
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="takes the steps")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    lr_factor: float = Field(1, gt=0, le=1, description="on lr after lr_patience epochs; 1: none")
    lr_patience: int = Field(10, ge=1, description="epochs that were no better than the best")
    choose: Literal["loss", "accuracy"] = Field("loss", description="of validation: what is better")
    start: str | None = Field(None, description="a run whose encoder and last layer to start from")


class TrainConfig(Section):
    """What `wsikit train` does."""

    method: str = Field("graph_transformer", description="see wsikit.methods")
    positive: str | None = Field(None, description="the label to detect; default: the last sorted")
    epochs: int | None = Field(
        None, ge=1, description="at most; null: 30, of a method that trains an encoder 100"
    )
    lr: float = Field(2e-4, gt=0, description="AdamW's learning rate")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay")
    accumulate: int = Field(4, ge=1, description="slides an optimiser step")
    patience: int | None = Field(
        None, ge=1, description="epochs without better validation loss; null: 10, of those 100"
    )
    class_weights: Literal["balanced", "none"] = Field("balanced", description="loss weights")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="arithmetic; 16-mixed on a GPU only"
    )
    folds: int = Field(1, ge=1, le=50, description="1: one split; more: cross-validation")
    val_share: float = Field(0.2, gt=0, lt=1, description="of the slides not in test")
    test_share: float = Field(0.25, gt=0, lt=1, description="of all slides, where folds is 1")
    site_preserved: Annotated[Literal["auto", True, False], BeforeValidator(_auto_or_bool)] = Field(
        "auto", description="whether no site is in test and elsewhere; auto: where there are sites"
    )
    near_duplicates: Literal["refuse", "allow"] = Field(
        "refuse", description="slides that look alike on two sides of a split"
    )
    bootstrap: int = Field(1000, ge=100, description="resamples behind each interval")
    head: dict[str, Any] = Field(default_factory=dict, description="the method's own options")
    patch: PatchTrainConfig = PatchTrainConfig()


def _rising(cuts: tuple[float, ...]) -> tuple[float, ...]:
    """Say in one line what thresholds may be."""
    if not cuts or any(not low < high for low, high in pairwise((0.0, *cuts, 1.0))):
        raise ValueError("give rising numbers above 0 and below 1")
    return cuts


class PretrainConfig(Section):
    """How an encoder is pre-trained by restoring hidden patches (UMAE; pipelines/umae.py)."""

    size: Literal["base", "small", "tiny"] = Field("base", description="base: ViT-B at 460 px")
    unm: bool = Field(True, description="hide evenly and add noise; false: hide at random")
    ccp: bool = Field(True, description="queries, keys and values from 3x3 convolutions")
    rca: bool = Field(True, description="decoders look at the other magnifications")
    joint: bool = Field(True, description="four magnifications as one sequence; false: plain MAE")
    order: Literal["printed", "restored"] = Field(
        "printed", description="ccp: z' averaged place by place, or put back in order first"
    )
    omega: float = Field(0.75, gt=0, lt=1, description="share of patches that is hidden")
    sigma: float = Field(0.25, ge=0, lt=1, description="share of the rest that noise replaces")
    missing: Literal["drop", "nearest"] = Field(
        "drop", description="a specimen without a magnification: left out, or the nearest for it"
    )
    epochs: int = Field(200, ge=1, description="passes over the pictures")
    lr: float = Field(1e-4, gt=0, description="AdamW's learning rate")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay")
    step_epochs: int = Field(40, ge=1, description="epochs between equal drops of lr, to 0")
    batch_size: int = Field(16, ge=1, description="items a step, four pictures each")
    augment: bool = Field(True, description="turn pictures by quarters and flip them")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="arithmetic; 16-mixed on a GPU only"
    )


HeatmapFormat = Literal["png", "sheet", "geojson", "ome-tiff", "html", "html-file", "grad-cam"]


class HeatmapConfig(Section):
    """What `wsikit heatmap` does."""

    score: Literal["score", "attention"] = Field("score", description="which column to show")
    scale: Literal["auto", "raw", "percentile"] = Field(
        "auto", description="how; auto: attention as percentile in the slide, all else as it is"
    )
    stride: int | None = Field(
        None, ge=8, le=4096, description="store px from one read to the next; null: a patch"
    )
    cohort: bool = Field(True, description="whether cohort.html is written, one page a run")
    alpha: float = Field(0.45, gt=0, le=1, description="opacity of the colours")
    colours: Literal["viridis", "cividis", "magma", "inferno", "plasma"] = Field(
        "viridis", description="from low to high; each is safe for colour-blind readers"
    )
    top: int = Field(8, ge=1, le=100, description="patches on each half of the contact sheet")
    overlay_mpp: float = Field(
        2.0, ge=0.05, le=1000, description="um per px of the OME-TIFF of slide and colours"
    )
    score_pixels: Literal["float32", "uint8"] = Field(
        "float32", description="numbers in the OME-TIFF of scores; uint8: 0 is no patch"
    )
    style: Literal["patches", "contours", "both"] = Field(
        "patches", description="GeoJSON: a feature a patch, or merged areas above each threshold"
    )
    thresholds: Annotated[tuple[float, ...], AfterValidator(_rising)] = Field(
        (0.2, 0.4, 0.6, 0.8), description="GeoJSON: cuts of the shown score, 0 to 1"
    )
    origin: Literal["qupath", "slide"] = Field(
        "qupath", description="GeoJSON counts from the scanned bounds, as QuPath, or the slide"
    )
    regions: tuple[str, ...] = Field((), description="classes that --truth outlines; none: all")
    html_mpp: float = Field(
        1.0,
        ge=0.05,
        le=1000,
        description="um per px of the HTML page's picture; small slides finer",
    )
    html_patches: int = Field(
        500, ge=0, description="patches the HTML page keeps at full size, the highest and lowest"
    )
    html_file_mb: float = Field(
        25, ge=1, le=1000, description="how large one HTML file may be; its picture is made to fit"
    )
    formats: tuple[HeatmapFormat, ...] = Field(("png", "geojson"), description="files to write")


class Config(Section):
    """One recipe."""

    slides: tuple[str, ...] = Field((), description="slide files or folders (wsikit run)")
    cohort: str | None = Field(None, description="CSV of slides and labels (wsikit run)")
    labels: str | None = Field(
        None, description="CSV of slide_id and label, where not the cohort's (wsikit run)"
    )
    split: str | None = Field(
        None, description="a run or split.csv whose split is used again (wsikit run, train, search)"
    )
    output: str | None = Field(None, description="folder for store and run (wsikit run)")
    seed: int = Field(0, ge=0, lt=2**31, description="of everything random")
    tile: TileConfig = TileConfig()
    extract: ExtractConfig = ExtractConfig()
    graph: GraphConfig = GraphConfig()
    pretrain: PretrainConfig = PretrainConfig()
    train: TrainConfig = TrainConfig()
    heatmap: HeatmapConfig = HeatmapConfig()


def load_config(path: Path | None = None, sets: Sequence[str] = ()) -> Config:
    """Read a YAML recipe and apply overrides.

    Args:
        path: a YAML file; None means all defaults.
        sets: overrides, each `key.path=value`, the value read as YAML.

    Raises:
        ConfigError: the file is absent or no YAML mapping, a key is unknown, a value out of range.
    """
    content: dict[str, Any] = {} if path is None else _read_yaml(path)
    for override in sets:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {override}: no value given", "write --set key=value")
        _assign(content, key.strip().split("."), _parse(value, f"--set {key}"), override)
    return build_config(Config, content, str(path) if path else "command line")


def build_config(model: type[M], content: Mapping[str, Any], where: str) -> M:
    """Check a mapping against a section; see `load_config`.

    Args:
        model: the section.
        content: its keys and values.
        where: the file or flag the values came from, for messages.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(*_explain(model, error, where)) from None


def packaged_config(name: str) -> Path:
    """Return a recipe that comes with wsikit, from the wheel or from a checkout."""
    installed = Path(str(files("wsikit"))) / "configs" / f"{name}.yaml"
    return (
        installed if installed.exists() else Path(__file__).parents[1] / "configs" / f"{name}.yaml"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be read ({reason})", "check the path") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a YAML mapping of keys to values")
    return content


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error


def _assign(content: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    *parents, last = keys
    for key in parents:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {override}: '{key}' is a value, not a group of keys")
    content[last] = value


def _explain(model: type[Section], error: ValidationError, where: str) -> tuple[str, str]:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        return f"{where}: unknown key '{key}'", nearest(path[-1], known)
    if first["type"] == "literal_error":
        valid = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{where}: {key} is {first['input']!r}", nearest(str(first["input"]), valid)
    said = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict | None) or "Config" in said:
        said = "give its keys below it"
    return f"{where}: {key} is {first['input']!r}", said


def _keys_at(model: type[Section], path: Sequence[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, Section)):
            return []
        model = inner
    return list(model.model_fields)
