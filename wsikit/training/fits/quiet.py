"""Run Lightning without its chatter and without its habits around signals."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("lightning.pytorch", "lightning.fabric")

# What these tell the user, the user cannot act on here:
_KNOWN = (
    # Lightning 2.6 asks torch's pytree in a way that torch 2.9 and later deprecate.
    r".*isinstance\(treespec, LeafSpec\).*",
    # Bags are kept in this process's memory; workers would each keep their own.
    r".*does not have many workers.*",
    # A teacher is in evaluation mode from the start, and meant to be.
    r"Found \d+ module\(s\) in eval mode at the start of training.*",
    # The user chose the CPU.
    r".*GPU available but not used.*",
    # One process on a login node or in a job of its own is what was asked for.
    r".*`srun` command is available on your system but is not used.*",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence device tables, tips and the known warnings; let Ctrl-C be a KeyboardInterrupt.

    Any other warning passes. Levels, filters and the interrupt handler are put back afterwards.
    (Lightning turns Ctrl-C into SystemExit and leaves further ones ignored.)
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        with warnings.catch_warnings():
            for message in _KNOWN:
                warnings.filterwarnings("ignore", message=message)
            yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from None
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
