"""Tell the user where to watch the work."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from wsikit.execution.watch import Say


def say_dashboard(client: Any, say: Say) -> None:
    """Say the dashboard's address, where there is a dashboard.

    A scheduler without bokeh gives an address, too, but shows nothing there.

    Args:
        client: a connected `distributed.Client`.
        say: told the address.
    """
    link = client.dashboard_link
    if link and _has_bokeh(client):
        say(f"dashboard: {link}")


def _has_bokeh(client: Any) -> bool:
    if client.cluster is not None:  # the scheduler is in this process
        return find_spec("bokeh") is not None
    try:
        found = client.sync(client.scheduler.versions, packages=["bokeh"], callback_timeout=10)
    except OSError:
        return False
    return found["packages"].get("bokeh") is not None
