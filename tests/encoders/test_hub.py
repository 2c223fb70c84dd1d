"""The way to published weights, against caches and hubs made here: no network is needed or used."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from wsikit.encoders import hub
from wsikit.encoders.encoder import build_encoder, encoder_id
from wsikit.errors import WeightsError

SMALL = "timm:test_resnet"
REPOSITORY = "models--timm--test_resnet.r160_in1k"
VIT_REPOSITORY = "models--timm--test_vit.r160_in1k"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def point_hub_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def put_into_cache(
    folder: Path, state: dict[str, torch.Tensor], repository: str = REPOSITORY
) -> None:
    """Lay a file out as the hub's client does."""
    snapshot = folder / repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(state, snapshot / "model.safetensors")
    refs = folder / repository / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)


def trained_state(name: str = "test_resnet") -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    return dict(timm.create_model(name, num_classes=1000).state_dict())


def failed(seconds: float) -> str:
    start = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        build_encoder(SMALL, "imagenet")
    assert time.perf_counter() - start < seconds
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_weights_in_the_cache_need_no_network(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    state = trained_state()
    put_into_cache(cache_folder, state)
    encoder = build_encoder(SMALL, "imagenet")
    loaded = encoder.backbone.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)
    assert encoder_id(encoder).startswith("timm-test_resnet-imagenet-")


def test_an_old_form_goes_through_timms_conversion(cache_folder: Path) -> None:
    # timm's first vision transformers cut patches by a linear layer: (channels, values of a patch).
    state = trained_state("test_vit")
    cut = "patch_embed.proj.weight"
    put_into_cache(cache_folder, state | {cut: state[cut].flatten(1)}, VIT_REPOSITORY)
    loaded = build_encoder("timm:test_vit", "imagenet").backbone.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)


def test_an_old_form_with_a_tensor_missing_is_refused(cache_folder: Path) -> None:
    state = trained_state("test_vit")
    cut = "patch_embed.proj.weight"
    state[cut] = state[cut].flatten(1)
    del state["blocks.1.attn.qkv.weight"]
    put_into_cache(cache_folder, state, VIT_REPOSITORY)
    with pytest.raises(WeightsError, match=r"1 missing: blocks\.1\.attn\.qkv\.weight"):
        build_encoder("timm:test_vit", "imagenet")


def test_a_wrong_file_in_the_cache_is_not_taken_for_trained(cache_folder: Path) -> None:
    put_into_cache(cache_folder, trained_state("test_convnext"))
    assert "not this encoder's" in failed(5)


def test_without_cache_or_network_it_says_what_to_do(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_hub_at(monkeypatch, f"http://127.0.0.1:{port}")
    message = failed(5)
    for part in ("timm/test_resnet.r160_in1k", "model.safetensors", "--weights FILE.safetensors"):
        assert part in message
    assert f"{REPOSITORY} into {cache_folder}" in message
    assert "--weights random" in message


def test_a_hub_that_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        point_hub_at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be fetched" in failed(3)


def test_the_probe_itself_is_short() -> None:
    assert hub.PROBE_SECONDS < 8


def test_offline_mode_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in failed(2)


class NoSuchFile(BaseHTTPRequestHandler):
    """A hub that is there and has nothing."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    local = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    thread = Thread(target=local.serve_forever)
    thread.start()
    point_hub_at(monkeypatch, f"http://127.0.0.1:{local.server_port}")
    yield
    local.shutdown()
    thread.join()
    local.server_close()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("server", [NoSuchFile], indirect=True)
def test_a_hub_without_the_file() -> None:
    assert "--weights random" in failed(8)


def test_a_backbone_nobody_trained() -> None:
    with pytest.raises(WeightsError, match="not on the hub"):
        build_encoder("timm:darknet17", "imagenet")


TINY = "hf-hub:tester/tiny"


def put_repository(
    folder: Path,
    config: object,
    state: dict[str, torch.Tensor] | None = None,
    name: str = "tester/tiny",
    file: str = "model.safetensors",
) -> None:
    """Lay out a timm repository as the hub's client does."""
    home = folder / f"models--{name.replace('/', '--')}"
    snapshot = home / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("1" * 40)
    (snapshot / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if state is not None and file.endswith(".safetensors"):
        save_file(state, snapshot / file)
    elif state is not None:
        torch.save(state, snapshot / file)


def vit_config(**changes: object) -> dict[str, object]:
    """As timm writes it."""
    return {
        "architecture": "test_vit",
        "num_classes": 0,
        "num_features": 64,
        "global_pool": "avg",
        "model_args": {
            "img_size": 96,
            "reg_tokens": 2,
            "global_pool": "avg",
            "num_classes": 0,
        },
        "pretrained_cfg": {
            "input_size": [3, 96, 96],
            "fixed_input_size": True,
            "mean": [0.7, 0.6, 0.5],
            "std": [0.1, 0.2, 0.3],
            "license": "mit",
            "num_classes": 0,
        },
    } | changes


def vit() -> torch.nn.Module:
    torch.manual_seed(12)
    return timm.create_model(
        "test_vit", num_classes=0, img_size=96, reg_tokens=2, global_pool="avg"
    ).eval()


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("name", [TINY, f"{TINY}@main"])
def test_a_repository_of_a_vision_transformer(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, name: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    network = vit()
    put_repository(cache_folder, vit_config(), network.state_dict(), file=file)
    encoder = build_encoder(name, "pretrained")
    assert encoder.features == 64
    assert (encoder.spec.input_px, encoder.spec.licence) == (96, "mit")
    assert encoder_id(encoder).startswith(
        name.replace(":", "-").replace("/", "-").replace("@", "-")
    )
    assert "-hub-" in encoder_id(encoder)
    patches = torch.randint(0, 256, (2, 3, 96, 96)).to(torch.uint8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.7, 0.6, 0.5), (0.1, 0.2, 0.3)))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(patches), network((patches / 255 - mean) / std))


def test_a_repository_of_a_resnet_in_timms_first_form(cache_folder: Path) -> None:
    config = {
        "architecture": "test_resnet",
        "num_classes": 1000,
        "input_size": [3, 64, 64],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "classifier": "fc",
    }
    put_repository(cache_folder, config, trained_state())
    encoder = build_encoder(TINY, "imagenet")
    assert (encoder.spec.input_px, encoder.spec.licence) == (64, "")
    state = trained_state()
    assert all(torch.equal(t, state[name]) for name, t in encoder.backbone.state_dict().items())


def test_a_repository_with_weights_from_elsewhere(cache_folder: Path, tmp_path: Path) -> None:
    put_repository(cache_folder, vit_config())
    save_file(vit().state_dict(), tmp_path / "w.safetensors")
    assert encoder_id(build_encoder(TINY, str(tmp_path / "w.safetensors"))).startswith(
        "hf-hub-tester-tiny-file-"
    )
    assert build_encoder(TINY, "random").features == 64


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ("", "config.json"),
        ("[1, 2", "config.json"),
        ("[" * 100_000, "config.json"),
        ([], "architecture"),
        ({"model_type": "vit"}, "architecture"),
        ({"architecture": "test_vit"}, "input_size"),
        (vit_config(pretrained_cfg={"input_size": [3, 96, 96]}), "mean"),
        (vit_config(pretrained_cfg={"input_size": [1, 96, 96]}), "1 channels"),
        (vit_config(pretrained_cfg={"input_size": [3, 96, 64]}), "64x96"),
        (vit_config(pretrained_cfg={"input_size": [3, 10**9, 10**9]}), "px"),
        (vit_config(pretrained_cfg=3), "input size"),
        (vit_config(model_args=[1]), "input size"),
        (vit_config(model_args={"img_size": 224}), "img_size 224"),
        (vit_config(model_args={"block_fn": {}}), "block_fn"),
        (vit_config(model_args={"checkpoint_path": "/x"}), "checkpoint_path"),
        (vit_config(architecture="no_such_net"), "timm has no backbone"),
        (vit_config(architecture="hf-hub:other/net"), "timm has no backbone"),
        (vit_config(model_args={"depth": 10**6}), "depth"),
        (vit_config(model_args={"global_pool": "nonsense"}), "cannot build"),
    ],
)
def test_a_config_that_makes_no_sense(cache_folder: Path, config: object, word: str) -> None:
    put_repository(cache_folder, config, vit().state_dict())
    with pytest.raises(WeightsError, match=word) as caught:
        build_encoder(TINY, "pretrained")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_repository_that_is_not_at_hand_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"its config\.json is not in the cache.*cache folder"):
        build_encoder(TINY, "pretrained")


def test_gated_weights_offline_say_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        build_encoder("virchow2", "pretrained")
    for part in ("hf auth login", "accept its licence", "paige-ai/Virchow2", "--weights FILE"):
        assert part in str(caught.value)


class Gate(BaseHTTPRequestHandler):
    """A hub that lets nobody in, and says so as the real one does."""

    code, word = 401, "GatedRepo"

    def do_HEAD(self) -> None:
        self.send_response(self.code)
        self.send_header("X-Error-Code", self.word)
        self.send_header("X-Error-Message", "Access to model is restricted.")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *args: object) -> None:
        pass


class Stranger(Gate):
    """A hub that knows of no such repository, or shows it to others only."""

    word = "RepoNotFound"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("server", [Gate], indirect=True)
@pytest.mark.parametrize("name", ["uni", "hf-hub:MahmoodLab/UNI", TINY])
def test_a_gated_repository_says_how_to_log_in(name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        build_encoder(name, "pretrained")
    message = str(caught.value)
    assert "is gated" in message
    assert "hf auth login" in message
    assert "accept its licence" in message
    assert "\n" not in message


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("server", [Stranger], indirect=True)
def test_a_repository_that_the_hub_does_not_show() -> None:
    with pytest.raises(WeightsError, match=r"no repository 'tester/tiny'.*hf auth login"):
        build_encoder(TINY, "pretrained")


class SecondForm(BaseHTTPRequestHandler):
    """A hub whose repository holds only the older form of the weights."""

    content = b""

    def do_HEAD(self) -> None:
        there = self.path.endswith("pytorch_model.bin")
        self.send_response(200 if there else 404)
        if there:
            self.send_header("ETag", '"' + "a" * 40 + '"')
            self.send_header("X-Repo-Commit", "1" * 40)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(self.content) if there else 0))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.endswith("pytorch_model.bin"):
            self.wfile.write(self.content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("server", [SecondForm], indirect=True)
def test_the_second_form_is_fetched_where_the_first_is_missing(
    cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = vit()
    torch.save(network.state_dict(), tmp_path / "w.bin")
    monkeypatch.setattr(SecondForm, "content", (tmp_path / "w.bin").read_bytes())
    put_repository(cache_folder, vit_config())
    encoder = build_encoder(TINY, "pretrained")
    state = network.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in encoder.backbone.state_dict().items())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert encoder_id(build_encoder(TINY, "pretrained")) == encoder_id(encoder)
