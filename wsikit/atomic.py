"""Write files and folders whole or not at all: a killed job leaves nothing that looks finished."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from wsikit.errors import UsageError, WsikitError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` when the block succeeds.

    The temporary file lies in the same folder, so the rename is one step. If the block fails, it is
    removed and `path` stays as it was; what a killed process left behind is removed by the next
    one that writes there. Where the content is what `path` already holds, `path` is left untouched,
    so that doing nothing new changes nothing.

    Args:
        path: the file to write; its folder is made where absent.

    Yields:
        The path to write to.

    Raises:
        UsageError: the folder or file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        yield temporary
        _as_others_are(temporary)
        if not (path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
            temporary.replace(path)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}",
            "make room, then run the same command again"
            if full
            else "choose an output that can be written",
        ) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written holds nothing to remove
            temporary.unlink(missing_ok=True)


def _as_others_are(file: Path) -> None:
    """Give a file the rights that the user's files have; safetensors makes its own for one user."""
    if file.stat().st_mode & 0o777 == 0o600:
        file.chmod(0o666 & ~_umask())


@cache
def _umask() -> int:
    """Return the rights that this process withholds; they can only be read by setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@cache
def _host() -> str:
    """Return this machine's name, without the dots that part a temporary file's name."""
    return socket.gethostname().replace(".", "-")


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left half-written; looked at once a process."""
    for part in folder.glob(".*.part"):
        *_, host, owner, _ = part.name.rsplit(".", 3)
        if host == _host() and owner.isdecimal() and not _alive(int(owner)):
            part.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs under another user
        return True
    return True


@contextmanager
def locked(path: Path, busy: WsikitError) -> Iterator[None]:
    """Hold a lock for the length of a `with` block; it goes with the process, so none is stale.

    Args:
        path: the file to lock, made where absent; it stays, empty.
        busy: raised where another process holds it.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise busy from error
        yield


def ensure_folder(path: Path) -> None:
    """Make a folder where absent, and see that it can be written.

    Raises:
        UsageError: it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(
            f"{path}: cannot write here ({error.strerror or error})", "choose a writable folder"
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step and see it onto the disk.

    Raises:
        UsageError: the folder or file cannot be written.
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object in one step, keys in the order given.

    Raises:
        UsageError: the folder or file cannot be written.
    """
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def replace_folder(staged: Path, final: Path) -> None:
    """Move a finished folder to its place, replacing what was there.

    A kill between the two renames leaves `final` absent, which is read as "not done": the work is
    then repeated, never half believed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        old = staged.with_name(f"{staged.name}.{uuid.uuid4().hex}.old")
        final.rename(old)
        staged.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    else:
        staged.rename(final)
