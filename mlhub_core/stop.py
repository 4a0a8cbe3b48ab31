"""A flag that asks running work to stop.

Ctrl-C in a thread pool, SIGTERM from a process manager and a cancelled flow run all end the same
way: somebody sets the flag, the loops that do the work look at it a few times a second, tidy up
and raise :class:`~mlhub_core.exceptions.Interrupted`.
"""

from __future__ import annotations

import threading

from mlhub_core.exceptions import Interrupted


class StopFlag:
    """Set from a signal handler or another thread, looked at by the work.

    Args:
        parent: Another flag that stops this one's work too; setting this one leaves it alone. With
            it one step can stop its own threads without stopping whoever called it.
    """

    def __init__(self, parent: StopFlag | None = None) -> None:
        self._event = threading.Event()
        self._parent = parent

    def set(self) -> None:
        """Ask everything that watches this flag to stop."""
        self._event.set()

    def clear(self) -> None:
        """Take the request back, before a new run in the same process."""
        self._event.clear()

    def is_set(self) -> bool:
        """Whether a stop has been asked for."""
        return self._event.is_set() or (self._parent is not None and self._parent.is_set())

    def check(self) -> None:
        """Raise if a stop has been asked for.

        Raises:
            Interrupted: if the flag is set.
        """
        if self.is_set():
            raise Interrupted("Stopped. What is finished is kept; the same command goes on there.")
