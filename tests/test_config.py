"""The configuration: what is accepted, and how a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from wsikit.config import Config, load_config, packaged_config
from wsikit.encoders.registry import encoder_spec
from wsikit.errors import ConfigError
from wsikit.execution.slurm_config import load_slurm_config
from wsikit.heads.registry import HEADS
from wsikit.methods import METHODS, PatchMethod

FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem not in ("slurm", "search"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_packaged_recipe_loads_and_names_things_that_exist(path: Path) -> None:
    config = load_config(path)
    method = METHODS[config.train.method]
    assert set(config.train.head) <= set(method.options())
    if isinstance(method, PatchMethod):
        assert encoder_spec(config.train.patch.encoder or method.encoder)
    else:
        assert method.head in HEADS


def test_the_packaged_slurm_file_is_one() -> None:
    assert load_slurm_config(FOLDER / "slurm.yaml").jobs


def test_there_are_recipes() -> None:
    assert {"default", "demo", "study"} <= {path.stem for path in CONFIGS}


def test_default_yaml_lists_every_key_with_its_default() -> None:
    content = yaml.safe_load(packaged_config("default").read_text())
    wanted = Config().model_dump(mode="json")
    for key in ("slides", "cohort", "labels", "split", "output"):  # a study's; see study.yaml
        wanted.pop(key)
    assert content == wanted


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tile.min_forground=0.5",
            "unknown key 'tile.min_forground': did you mean 'min_foreground'",
        ),
        ("tyle.size=512", "unknown key 'tyle': did you mean 'tile'"),
        ("tile.codec.name=jpg", "tile.codec.name is 'jpg': did you mean 'jpeg'"),
        ("tile.size=500.5", "tile.size is 500.5"),
        ("tile.size=100", "multiple of 8"),
        ("tile.filters=[rgbb]", "tile.filters.0 is 'rgbb': did you mean 'rgb'"),
        ("tile.min_foreground=.nan", "tile.min_foreground is nan"),
        ("tile.mpp=fast", "tile.mpp is 'fast': give um per px, 0.05 to 100, or 'native'"),
        ("tile.mpp=0", "tile.mpp is 0"),
        ("tile=5", "tile is 5: give its keys below it"),
        ("tile.size.x=1", "tile.size"),
        ("seed", "write --set key=value"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_one_line_that_helps(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("tile: {size: 256, mpp: native}\n")
    config = load_config(tmp_path / "a.yaml", ["tile.size=128", "train.head={depth: 3}"])
    assert (config.tile.size, config.tile.mpp, config.train.head) == (128, "native", {"depth": 3})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1, 2]", "not a YAML mapping"), (b"a: [", "not valid YAML"), (b"\xff\xfe\x00", "not text")],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_an_absent_file_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "empty.yaml").touch()
    assert load_config(tmp_path / "empty.yaml") == Config()


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("seed: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(path)
