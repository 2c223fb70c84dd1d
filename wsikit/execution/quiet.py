"""Keep Dask's own log lines off the user's screen: what matters is said in wsikit's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from distributed.utils import silence_logging_cmgr


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the logs of Dask in this process.

    When a worker dies, Dask also drops asyncio tasks of its own that ended in an error, and asyncio
    then writes a traceback of each.
    """
    with ExitStack() as stack:
        for name in ("distributed", "asyncio", "bokeh"):
            stack.enter_context(silence_logging_cmgr(level="CRITICAL", root=name))
        yield
