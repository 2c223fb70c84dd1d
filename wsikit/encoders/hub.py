"""Find a file of the Hugging Face hub in the cache, fetch it, or soon say what to do instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import huggingface_hub
from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from wsikit.errors import WeightsError

CONFIG_FILE = "config.json"
"""What a timm repository says of its network."""

PROBE_SECONDS = 5.0
"""How long the hub may take to answer at all. Its own client would retry for most of a minute."""


def cached_file(repository: str, files: Sequence[str]) -> Path | None:
    """Return the first of a repository's files that lies in the cache; None where none does.

    Args:
        repository: `OWNER/NAME`, or `OWNER/NAME@REVISION`.
        files: names within it, the preferred one first.
    """
    name, _, revision = repository.partition("@")
    for file in files:
        found = try_to_load_from_cache(name, file, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def hub_file(encoder: str, repository: str, files: Sequence[str], gated: bool = False) -> Path:
    """Return a file of the hub, fetching it into the cache at need.

    Args:
        encoder: the encoder's name, for messages.
        repository: `OWNER/NAME`, or `OWNER/NAME@REVISION`.
        files: names within it; the first one that exists is taken.
        gated: whether it is known that the hub wants a login for it.

    Raises:
        WeightsError: it is neither in the cache nor to be had; raised within about `PROBE_SECONDS`
            where the hub cannot be reached.
    """
    cached = cached_file(repository, files)
    if cached:
        return cached
    problem = _unreachable(repository, files[0])
    if problem:
        raise _not_at_hand(encoder, repository, files, problem, gated)
    name, _, revision = repository.partition("@")
    for file in files:
        try:
            return Path(
                hf_hub_download(name, file, revision=revision or None, etag_timeout=PROBE_SECONDS)
            )
        except LocalEntryNotFoundError as error:
            raise _not_at_hand(encoder, repository, files, _first_line(error), gated) from error
        except EntryNotFoundError:
            continue
        except GatedRepoError as error:
            raise _login_wanted(encoder, name) from error
        except RepositoryNotFoundError as error:
            raise WeightsError(
                f"{encoder}: the hub shows no repository '{repository}'",
                f"check its name; if it is private or gated, {_login(name)}",
            ) from error
        except (HfHubHTTPError, OfflineModeIsEnabled, HFValidationError, OSError) as error:
            raise _not_at_hand(encoder, repository, files, _first_line(error), gated) from error
    raise _not_at_hand(encoder, repository, files, "the repository has no such file", gated)


def _unreachable(repository: str, file: str) -> str:
    """Say why the hub does not answer; empty where it does.

    The question is asked in a thread of its own because looking up a name has no time limit.
    """
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    outcome = [f"no answer within {PROBE_SECONDS:g} s"]

    def ask() -> None:
        try:
            url = hf_hub_url(repository.partition("@")[0], file)
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


def _login(repository: str) -> str:
    return (
        f"accept its licence on its page ({constants.ENDPOINT}/{repository}) and run `hf auth "
        "login` (or set HF_TOKEN)"
    )


def _login_wanted(encoder: str, repository: str) -> WeightsError:
    return WeightsError(
        f"{encoder}: '{repository}' is gated, and the hub does not know you or has not let you in",
        f"{_login(repository)}, then run the same command again",
    )


def _not_at_hand(
    encoder: str, repository: str, files: Sequence[str], problem: str, gated: bool
) -> WeightsError:
    name = repository.partition("@")[0]
    there = "on a machine with a network " + (f"{_login(name)}, then " if gated else "")
    folder = f"models--{name.replace('/', '--')}"
    copy = f"copy that machine's cache folder {folder} into {constants.HF_HUB_CACHE}"
    if files[0] == CONFIG_FILE:
        what, fix = f"its {CONFIG_FILE} is", f"{there}use the encoder once and {copy}"
    else:
        what = "its weights are"
        fix = (
            f"{there}get {' or '.join(files)} of '{repository}' from the Hugging Face hub and give "
            f"it as --weights FILE{Path(files[0]).suffix}, or {copy}; --weights random needs no "
            "file"
        )
    return WeightsError(
        f"{encoder}: {what} not in the cache and cannot be fetched ({problem})", fix
    )
