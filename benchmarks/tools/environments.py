"""An environment for each tool: make it, find it, or say why there is none."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tools.calls import ToolError, call
from tools.catalogue import Tool


def install(tools: Sequence[Tool], envs: Path) -> None:
    """Make the environments that are not there yet; keep the reason where one cannot be made."""
    envs.mkdir(parents=True, exist_ok=True)
    for tool in {tool.environment: tool for tool in tools if tool.environment}.values():
        folder = envs / tool.environment
        if _made(folder).exists():
            continue
        _failed(folder).unlink(missing_ok=True)
        print(f"installing {tool.environment} ...", flush=True)
        try:
            _make(tool, folder)
        except ToolError as error:
            _failed(folder).write_text(f"not installable here: {error}\n")
            print(f"  not installable here: {error}")
        else:
            _made(folder).touch()


def _make(tool: Tool, folder: Path) -> None:
    python = tool.python or sys.executable
    call([python, "-m", "venv", "--clear", str(folder)])
    pip = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    call([*pip, *tool.requires])
    if tool.without_pins:
        call([*pip, "--no-deps", *tool.without_pins])


def interpreter(tool: Tool, envs: Path | None) -> Path:
    """Return the Python that runs a tool's script.

    Args:
        tool: the tool.
        envs: the folder of environments; None: use the one this process runs in.

    Raises:
        ToolError: there is none.
    """
    if tool.command and shutil.which(tool.command) is None:
        raise ToolError(f"the command '{tool.command}' is not installed")
    if not tool.environment:
        return Path(sys.executable)
    if envs is None:
        if all(find_spec(name) for name in tool.modules):
            return Path(sys.executable)
        raise ToolError("not in this Python; see --install and --envs")
    folder = envs / tool.environment
    if _failed(folder).exists():
        raise ToolError(_failed(folder).read_text().strip())
    if not _made(folder).exists():
        raise ToolError("not installed; see --install")
    return _python(folder)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _made(folder: Path) -> Path:
    return folder / "made"


def _failed(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.failed")
