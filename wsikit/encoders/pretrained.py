"""Find a backbone's ImageNet weights in the cache, fetch them, or soon say what to do instead."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import huggingface_hub
from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from wsikit.encoders.registry import EncoderSpec
from wsikit.errors import WeightsError

PROBE_SECONDS = 5.0
"""How long the hub may take to answer at all. Its own client would retry for most of a minute."""

WEIGHTS_FILE = "model.safetensors"


def pretrained_file(spec: EncoderSpec, repository: str | None) -> Path:
    """Return the file that holds a backbone's ImageNet weights, fetching it into the cache at need.

    Args:
        spec: the encoder.
        repository: where timm says its weights lie on the Hugging Face hub; None where nowhere.

    Raises:
        WeightsError: there are none, or they are not in the cache and cannot be fetched; raised
            within about `PROBE_SECONDS` where the hub cannot be reached.
    """
    if not repository:
        raise WeightsError(
            f"{spec.name}: timm has no ImageNet weights for '{spec.timm_name}'",
            "use --weights FILE.safetensors or --weights random",
        )
    cached = try_to_load_from_cache(repository, WEIGHTS_FILE)
    if isinstance(cached, str):
        return Path(cached)
    problem = _unreachable(repository)
    if problem:
        raise _not_at_hand(spec, repository, problem)
    try:
        return Path(hf_hub_download(repository, WEIGHTS_FILE, etag_timeout=PROBE_SECONDS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise _not_at_hand(spec, repository, _first_line(error)) from error


def _unreachable(repository: str) -> str:
    """Say why the hub does not answer; empty where it does.

    The question is asked in a thread of its own because looking up a name has no time limit.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    outcome = [f"no answer within {PROBE_SECONDS:g} s"]

    def ask() -> None:
        try:
            url = hf_hub_url(repository, WEIGHTS_FILE)
            huggingface_hub.get_session().head(url, timeout=PROBE_SECONDS)
        except Exception as error:  # whichever HTTP library it is: no answer is no answer
            outcome[0] = _first_line(error)
        else:
            outcome[0] = ""

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return outcome[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _not_at_hand(spec: EncoderSpec, repository: str, problem: str) -> WeightsError:
    folder = f"models--{repository.replace('/', '--')}"
    return WeightsError(
        f"{spec.name}: its ImageNet weights are not in the cache and cannot be fetched ({problem})",
        f"on a machine with a network get {WEIGHTS_FILE} of '{repository}' from the Hugging Face "
        f"hub and give it as --weights FILE.safetensors, or copy that machine's cache folder "
        f"{folder} into {constants.HF_HUB_CACHE}; --weights random needs no file",
    )
