"""Where a pool's workers come from."""

from __future__ import annotations


class Supply:
    """Say where the workers come from, and whether more may still come.

    Args:
        place: what to call it in a message, such as "the Dask scheduler at tcp://head:8786".
        advice: what the user can do when no worker is there.
        threads: how many threads there may be once all workers have come; 0: as many as there are.
        foreign: the workers may run in another environment than this process.
    """

    def __init__(self, place: str, advice: str, threads: int = 0, foreign: bool = True) -> None:
        self.place = place
        self.advice = advice
        self.threads = threads
        self.foreign = foreign

    def tend(self) -> None:
        """Do what must be done now and then to keep workers coming.

        Raises:
            PoolError: none will come.
        """

    def awaited(self) -> str:
        """Say what will bring workers without further help; empty where nothing will."""
        return ""
