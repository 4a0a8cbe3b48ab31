"""Progress as typed messages: the work says how far it is, whoever listens decides how it looks.

A message carries absolute values, so that a lost or late one does no harm. The download runs in
several partitions at once; each reports under its own ``part``, and listeners add the parts up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """The steps of a run, in order; the value is what people read."""

    CATALOG = "catalog"
    UNARCHIVE = "unarchive"
    INDEX = "index"
    FILTER = "filter"
    VERIFY = "verify"
    DOWNLOAD = "download"
    STAC = "stac"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one part of one stage is.

    Attributes:
        stage: The step that reports.
        done: Units finished so far: documents of the catalog, members of the archive, rows, files.
        total: Units in all, None while unknown.
        bytes_done: Bytes moved so far.
        bytes_total: Bytes in all, None while unknown.
        failed: Units that failed for good.
        part: Which of several concurrent parts reports.
        finished: True in the last message of a part.
        here: Units of those finished for which nothing had to be done: they were here already.
        bytes_moved: Bytes of those moved that came now; None where all did.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    failed: int = 0
    part: int = 0
    finished: bool = False
    here: int = 0
    bytes_moved: int | None = None


ProgressSink = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """A sink for those who do not care."""


class Broadcast:
    """Hands every message to all current listeners. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sinks: tuple[ProgressSink, ...] = ()

    def __call__(self, message: Progress) -> None:
        """Pass a message on."""
        for sink in self._sinks:
            sink(message)

    @contextmanager
    def listen(self, sink: ProgressSink) -> Iterator[None]:
        """Send messages to ``sink`` for the length of the block."""
        with self._lock:
            self._sinks = (*self._sinks, sink)
        try:
            yield
        finally:
            with self._lock:
                self._sinks = tuple(other for other in self._sinks if other is not sink)
