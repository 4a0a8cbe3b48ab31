"""The list of a partition, and how it travels to the process that fetches it: a parcel at a time.

A list is read with Arrow, which takes a process a fifth of a second and 50 MB to load. One that
only fetches does without: the one that started it has Arrow, and nothing else to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

from mlhub_core.exceptions import StorageError
from mlhub_core.selection.partition import Asset, Columns, read_columns
from mlhub_core.stop import StopFlag

AHEAD = 2
"""Parcels under way or waiting, so that whoever fetches never waits for the next one."""


def parcels_of(path: Path) -> Iterator[Columns]:
    """Read a partition file, a parcel at a time.

    Raises:
        StorageError: if it cannot be read.
    """
    try:
        yield from read_columns(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise StorageError(
            f"Cannot read the partition {path}: {error}. Run the same command again: it plans anew."
        ) from error


def assets_of(path: Path) -> Iterator[Asset]:
    """Read a partition file; errors as for :func:`parcels_of`."""
    for parcel in parcels_of(path):
        yield from map(Asset, *parcel)


class Inbox:
    """Where parcels arrive, in the process that fetches.

    Args:
        ask: Asks for another parcel; so many as :data:`AHEAD` come unasked.
        stop: Set when no more will come, because somebody has gone or wants to end.
    """

    def __init__(self, ask: Callable[[], None], stop: StopFlag) -> None:
        self._ask = ask
        self._stop = stop
        self._parcels: SimpleQueue[Columns | None] = SimpleQueue()

    def put(self, parcel: Columns) -> None:
        """Take a parcel in; one without columns is the end."""
        self._parcels.put(parcel)

    def wake(self) -> None:
        """Have whoever waits look at the stop flag."""
        self._parcels.put(None)

    def assets(self) -> Iterator[Asset]:
        """What the parcels hold, as they come.

        Raises:
            Interrupted: if the stop flag was set.
        """
        while True:
            parcel = self._parcels.get()
            if parcel is None:
                self._stop.check()
                continue
            if not parcel:
                return
            self._ask()
            yield from map(Asset, *parcel)
