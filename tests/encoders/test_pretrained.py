"""The way to ImageNet weights, against caches and hubs made here: no network is needed or used."""

from __future__ import annotations

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

from wsikit.encoders import pretrained
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
    monkeypatch.setattr(pretrained, "PROBE_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        point_hub_at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be fetched" in failed(3)


def test_the_probe_itself_is_short() -> None:
    assert pretrained.PROBE_SECONDS < 8


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
def empty_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoSuchFile)
    thread = Thread(target=server.serve_forever)
    thread.start()
    point_hub_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("empty_hub")
def test_a_hub_without_the_file() -> None:
    assert "--weights random" in failed(8)


def test_a_backbone_nobody_trained() -> None:
    with pytest.raises(WeightsError, match="has no ImageNet weights"):
        build_encoder("timm:darknet17", "imagenet")
