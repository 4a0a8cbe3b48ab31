"""Shows progress: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlhub_core.console import say
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.plan import format_bytes
from mlhub_core.threads import can_have_threads, start_thread

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_LINE_INTERVAL = 10.0
"""Seconds between two plain lines of one stage. A log that is watched wants one in 30 s."""

_MOVING_BYTES = (Stage.CATALOG, Stage.VERIFY, Stage.DOWNLOAD)
"""Stages whose bytes a person wants to see; the others read an archive that is here."""

_UNITS = {
    Stage.CATALOG: "",
    Stage.UNARCHIVE: "files",
    Stage.INDEX: "assets",
    Stage.FILTER: "assets",
    Stage.VERIFY: "files",
    Stage.DOWNLOAD: "files",
}


@dataclass(slots=True)
class StageTotal:
    """A stage's parts, added up.

    Attributes:
        started: When its first message came, by the monotonic clock.
        parts: The latest message of each part.
    """

    started: float = field(default_factory=time.monotonic)
    parts: dict[int, Progress] = field(default_factory=dict)

    @property
    def done(self) -> int:
        """Units finished."""
        return sum(part.done for part in self.parts.values())

    @property
    def failed(self) -> int:
        """Units that failed for good."""
        return sum(part.failed for part in self.parts.values())

    @property
    def total(self) -> int | None:
        """Units in all, None while a part does not know."""
        totals = [part.total for part in self.parts.values()]
        return None if None in totals else sum(total or 0 for total in totals)

    @property
    def bytes_done(self) -> int:
        """Bytes moved."""
        return sum(part.bytes_done for part in self.parts.values())

    @property
    def bytes_total(self) -> int | None:
        """Bytes in all, None while a part does not know."""
        totals = [part.bytes_total for part in self.parts.values()]
        return None if None in totals else sum(total or 0 for total in totals)

    @property
    def finished(self) -> bool:
        """Whether every part that reported so far has finished."""
        return all(part.finished for part in self.parts.values())

    def fraction(self) -> tuple[float, float | None]:
        """What a bar shows: units where there is more than one, else bytes."""
        total = self.total
        if total is not None and total > 1:
            return self.done, total
        return self.bytes_done, self.bytes_total

    def line(self, stage: Stage) -> str:
        """One line for people: count, bytes, rate, and time left."""
        seconds = max(time.monotonic() - self.started, 1e-3)
        pieces = []
        done, total = self.fraction()
        if unit := _UNITS[stage]:
            of = f" of {self.total:,}" if self.total is not None else ""
            pieces.append(f"{self.done:,}{of} {unit}")
            pieces.append(f"{self.done / seconds:,.0f} {unit}/s")
        if self.bytes_done and stage in _MOVING_BYTES:
            pieces.append(f"{format_bytes(self.bytes_done)}")
            pieces.append(f"{format_bytes(int(self.bytes_done / seconds))}/s")
        if self.failed:
            pieces.append(f"{self.failed:,} failed")
        if total and 0 < done < total:
            pieces.append(f"{_clock(seconds * (total - done) / done)} left")
        elif self.finished:
            pieces.append(f"in {_clock(seconds)}")
        return f"{stage.value}: " + ", ".join(pieces or ["started"])


class PlainLines:
    """Writes a line when a stage ends, and one now and then while it runs.

    Args:
        write: Takes a line.
        interval: Seconds between two lines of a stage that runs.
    """

    def __init__(
        self, write: Callable[[str], None] = say, interval: float = _LINE_INTERVAL
    ) -> None:
        self._write = write
        self._interval = interval
        self._lock = threading.Lock()
        self._stages: dict[Stage, StageTotal] = {}
        self._ended: set[Stage] = set()
        self._stop = threading.Event()
        # A ticker of its own: a stage that stalls sends no messages, and is the one to hear of.
        # It runs in the context of whoever made it: the log of a flow run is found by that.
        self._ticker = threading.Thread(
            target=copy_context().run, args=(self._tick,), name="mlhub-progress", daemon=True
        )
        self._ticks = False

    def __call__(self, message: Progress) -> None:
        """Take a message in."""
        with self._lock:
            total = self._stages.setdefault(message.stage, StageTotal())
            total.parts[message.part] = message
            self._end_earlier(message.stage)

    def _end_earlier(self, current: Stage) -> None:
        order = list(Stage)
        for stage, total in self._stages.items():
            over = order.index(stage) < order.index(current) or stage is not Stage.DOWNLOAD
            if over and total.finished and stage not in self._ended:
                self._ended.add(stage)
                self._write(total.line(stage))

    def _tick(self) -> None:
        while not self._stop.wait(self._interval):
            with self._lock:
                for stage, total in self._stages.items():
                    if stage not in self._ended and not total.finished:
                        self._write(total.line(stage))

    def __enter__(self) -> PlainLines:
        self._ticks = start_thread(self._ticker)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._ticks:
            self._ticker.join()
        with self._lock:
            for stage, total in self._stages.items():
                if stage not in self._ended:
                    self._write(total.line(stage))


class TerminalBars:
    """One bar for each stage that has begun."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._lock = threading.Lock()
        self._stages: dict[Stage, StageTotal] = {}
        self._tasks: dict[Stage, TaskID] = {}
        self._bars: Bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
            refresh_per_second=8,
        )

    def __call__(self, message: Progress) -> None:
        """Take a message in and move the bar."""
        with self._lock:
            total = self._stages.setdefault(message.stage, StageTotal())
            total.parts[message.part] = message
            if message.stage not in self._tasks:
                self._tasks[message.stage] = self._bars.add_task(
                    message.stage.value, total=None, text=""
                )
            done, whole = total.fraction()
            if total.finished and message.stage is not Stage.DOWNLOAD:
                whole = done = max(done, 1)
            self._bars.update(
                self._tasks[message.stage],
                completed=done,
                total=whole,
                text=_short(message.stage, total),
            )

    def __enter__(self) -> TerminalBars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


@contextmanager
def showing_progress(wanted: bool = True) -> Iterator[ProgressSink]:
    """Show progress for the length of the block, in the way that suits standard error.

    Args:
        wanted: False to show nothing.

    Yields:
        The sink to report to.
    """
    if not wanted:
        yield ignore
        return
    at_terminal = sys.stderr is not None and sys.stderr.isatty()
    can_move = at_terminal and can_have_threads()  # as bars do, to move
    with TerminalBars() if can_move else PlainLines() as sink:
        yield sink


def _short(stage: Stage, total: StageTotal) -> str:
    seconds = max(time.monotonic() - total.started, 1e-3)
    pieces = []
    if unit := _UNITS[stage]:
        of = f"/{total.total:,}" if total.total is not None else ""
        pieces.append(f"{total.done:,}{of} {unit}")
        if stage is Stage.DOWNLOAD:
            pieces.append(f"{total.done / seconds:,.0f}/s")
    if total.bytes_done and stage in _MOVING_BYTES:
        pieces.append(format_bytes(total.bytes_done))
        pieces.append(f"{format_bytes(int(total.bytes_done / seconds))}/s")
    if total.failed:
        pieces.append(f"{total.failed:,} failed")
    return "  ".join(pieces)


def _clock(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


# One number for a whole run

_SHARES = {
    Stage.CATALOG: (0.0, 4.0),
    Stage.UNARCHIVE: (4.0, 7.0),
    Stage.INDEX: (7.0, 10.0),
    Stage.FILTER: (10.0, 12.0),
    Stage.DOWNLOAD: (12.0, 99.0),
}
"""Where each stage begins and ends, in percent. Nobody knows beforehand how long each takes; the
files are nearly always most of it. The last percent is for what comes after them."""


class Overview:
    """Takes progress messages in, from any thread, and says how far the run is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[Stage, StageTotal] = {}
        self._ended: dict[Stage, str] = {}
        self._reached = 0.0

    def __call__(self, message: Progress) -> None:
        """Take a message in."""
        with self._lock:
            total = self._stages.setdefault(message.stage, StageTotal())
            total.parts[message.part] = message
            self._ended.pop(message.stage, None)
            if message.finished and total.finished:
                # Said now: the clock goes on, and the stage does not.
                self._ended[message.stage] = total.line(message.stage)

    def percent(self) -> float:
        """How far the run is, from 0 to 99. It never goes back."""
        with self._lock:
            for stage, total in self._stages.items():
                first, last = _SHARES.get(stage, (0.0, 0.0))
                self._reached = max(self._reached, first + (last - first) * _fraction(stage, total))
            return round(self._reached, 1)

    def lines(self) -> list[str]:
        """A line for each stage that has begun: count, bytes, rate, and time left."""
        with self._lock:
            return [
                self._ended.get(stage) or self._stages[stage].line(stage)
                for stage in Stage
                if stage in self._stages
            ]


def _fraction(stage: Stage, total: StageTotal) -> float:
    if stage is not Stage.DOWNLOAD and total.finished:
        return 1.0
    done, whole = total.fraction()
    # Parts that have not begun are not in the whole: the first partition alone is not everything.
    return min(done / whole, 1.0) if whole else 0.0
