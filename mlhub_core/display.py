"""Shows progress: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mlhub_core.console import echo
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.selection.plan import format_bytes
from mlhub_core.threads import can_have_threads, start_thread

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_INTERVAL = 10.0
"""Seconds between two plain lines of one stage. A log that is watched wants one in 30 s."""

_NO_TIME = 0.5
"""Seconds within which nothing has a rate: a million assets a second are said of none."""

_NOTEBOOK_INTERVAL = 0.25
"""Seconds between two states of the bars of a notebook: each is a message to a browser."""

_MOVING_BYTES = (Stage.CATALOG, Stage.VERIFY, Stage.DOWNLOAD)
"""Stages whose bytes a person wants to see; the others read an archive that is here."""

_UNITS = {
    Stage.CATALOG: "documents",
    Stage.UNARCHIVE: "files",
    Stage.INDEX: "assets",
    Stage.FILTER: "assets",
    Stage.VERIFY: "files",
    Stage.DOWNLOAD: "files",
    Stage.STAC: "items",
    Stage.EXPORT: "samples",
}

_SHARES = {
    Stage.CATALOG: (0.0, 4.0),
    Stage.UNARCHIVE: (4.0, 7.0),
    Stage.INDEX: (7.0, 10.0),
    Stage.FILTER: (10.0, 12.0),
    Stage.DOWNLOAD: (12.0, 99.0),
}
"""Where each stage begins and ends, in percent. Nobody knows beforehand how long each takes; the
files are nearly always most of it. The last percent is for what comes after them."""


@dataclass(slots=True)
class StageProgress:
    """How far a stage is: its parts, and when it began.

    Attributes:
        stage: Which one.
        started: When its first message came, by the monotonic clock.
        parts: The latest message of each part.
    """

    stage: Stage
    started: float = field(default_factory=time.monotonic)
    parts: dict[int, Progress] = field(default_factory=dict)

    def added_up(self) -> Progress:
        """The parts as one; its totals are None while a part does not know its own."""
        parts = self.parts.values()
        return Progress(
            self.stage,
            sum(part.done for part in parts),
            _sum_of_known(part.total for part in parts),
            sum(part.bytes_done for part in parts),
            _sum_of_known(part.bytes_total for part in parts),
            sum(part.failed for part in parts),
            finished=all(part.finished for part in parts),
            here=sum(part.here for part in parts),
            bytes_moved=(
                None if all(part.bytes_moved is None for part in parts) else sum(map(_moved, parts))
            ),
        )

    def fraction(self) -> tuple[float, float | None]:
        """What a bar shows: units where there is more than one, else bytes."""
        whole = self.added_up()
        if whole.total is not None and whole.total > 1:
            return whole.done, whole.total
        return whole.bytes_done, whole.bytes_total

    def numbers(self, of: str = " of ", *, rates: bool = True) -> list[str]:
        """Count, bytes, rates and failures, as texts for people.

        Rates are of what is being done: what was here already, or has failed, is not in them. And
        there are none of what took no time.

        Args:
            of: What stands between a count and its total.
            rates: Whether to tell units a second of all stages, or of the download alone.
        """
        whole = self.added_up()
        seconds = time.monotonic() - self.started
        pieces = []
        unit = _UNITS.get(self.stage)
        if self.stage is Stage.CATALOG and max(whole.done, whole.total or 0) <= 1:
            unit = None  # it comes as one file
        if unit and (whole.done or whole.total):
            total = "" if whole.total is None else f"{of}{whole.total:,}"
            pieces.append(f"{whole.done:,}{total} {unit}")
            made = whole.done - whole.here - whole.failed
            if (rates or self.stage is Stage.DOWNLOAD) and (rate := _rate(made, seconds)):
                pieces.append(f"{rate:,} {unit}/s")
        if whole.bytes_done and self.stage in _MOVING_BYTES:
            pieces.append(format_bytes(whole.bytes_done))
            if rate := _rate(_moved(whole), seconds):
                pieces.append(f"{format_bytes(rate)}/s")
        if whole.failed:
            pieces.append(f"{whole.failed:,} failed")
        return pieces

    def time(self) -> str:
        """The time left, or taken; nothing where that cannot be told."""
        seconds = time.monotonic() - self.started
        whole = self.added_up()
        done, total = self.fraction()
        if total and done < total:
            in_units = whole.total is not None and whole.total > 1
            made = whole.done - whole.here if in_units else _moved(whole)
            return f"{_clock(seconds * (total - done) / made)} left" if made > 0 else ""
        return f"in {_clock(seconds)}" if whole.finished else ""

    def line(self) -> str:
        """One line for people: the numbers, and the time left or taken."""
        pieces = [*self.numbers(), self.time()]
        return f"{self.stage.value}: " + (", ".join(filter(None, pieces)) or "started")


class _Listener:
    """Takes progress messages in, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[Stage, StageProgress] = {}

    def __call__(self, message: Progress) -> None:
        """Take a message in."""
        with self._lock:
            stage = self._stages.setdefault(message.stage, StageProgress(message.stage))
            stage.parts[message.part] = message
            self._heard(stage)

    def _heard(self, stage: StageProgress) -> None:
        """Show what a message has changed; the lock is held."""
        raise NotImplementedError


class PlainLines(_Listener):
    """Writes a line when a stage ends, and one now and then while it runs.

    Args:
        write: Takes a line.
        interval: Seconds between two lines of a stage that runs.
    """

    def __init__(
        self, write: Callable[[str], None] = echo, interval: float = _LINE_INTERVAL
    ) -> None:
        super().__init__()
        self._write = write
        self._interval = interval
        self._ended: set[Stage] = set()
        self._stop = threading.Event()
        # A ticker of its own: a stage that stalls sends no messages, and is the one to hear of.
        # It runs in the context of whoever made it: the log of a flow run is found by that.
        self._ticker = threading.Thread(
            target=copy_context().run, args=(self._tick,), name="mlhub-progress", daemon=True
        )
        self._ticks = False

    def _heard(self, stage: StageProgress) -> None:
        order = list(Stage)
        for other in self._running():
            # More parts of a download may begin, as long as no later stage has.
            over = order.index(other.stage) < order.index(stage.stage)
            if (over or other.stage is not Stage.DOWNLOAD) and other.added_up().finished:
                self._ended.add(other.stage)
                self._write(other.line())

    def _running(self) -> list[StageProgress]:
        return [stage for name, stage in self._stages.items() if name not in self._ended]

    def _tick(self) -> None:
        while not self._stop.wait(self._interval):
            with self._lock:
                for stage in self._running():
                    if not stage.added_up().finished:
                        self._write(stage.line())

    def __enter__(self) -> Self:
        self._ticks = start_thread(self._ticker)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._ticks:
            self._ticker.join()
        with self._lock:
            for stage in self._running():
                self._write(stage.line())


class TerminalBars(_Listener):
    """One bar for each stage that has begun."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        super().__init__()
        self._tasks: dict[Stage, TaskID] = {}
        self._bars = progress.Progress(
            progress.SpinnerColumn(finished_text="✓"),
            progress.TextColumn("{task.description:<9}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.fields[text]}"),
            progress.TextColumn("{task.fields[time]}", style="progress.remaining"),
            console=Console(stderr=True),
            refresh_per_second=8,
        )

    def _heard(self, stage: StageProgress) -> None:
        name = stage.stage
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name.value, total=None, text="", time="")
        done, whole = stage.fraction()
        if stage.added_up().finished and name is not Stage.DOWNLOAD:
            whole = done = max(done, 1)
        text = "  ".join(stage.numbers("/", rates=False))
        self._bars.update(
            self._tasks[name], completed=done, total=whole, text=text, time=stage.time()
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class NotebookBars(_Listener):
    """Bars in a notebook: one output that is written anew, without widgets or what they need.

    Args:
        show: Shows HTML, and gives what puts other HTML in its place.
    """

    def __init__(self, show: Callable[[str], Any]) -> None:
        super().__init__()
        self._show = show
        self._handle: Any = None
        self._shown = -math.inf

    def _heard(self, stage: StageProgress) -> None:
        now = time.monotonic()
        if now - self._shown >= _NOTEBOOK_INTERVAL:
            self._shown = now
            self._draw()

    def _draw(self) -> None:
        rows = "".join(_bar(stage) for stage in self._stages.values())
        page = f'<table style="border-collapse:collapse;font-size:12px">{rows}</table>'
        if self._handle is None:
            self._handle = self._show(page)
        else:
            self._handle(page)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._stages:
                self._draw()


def _bar(stage: StageProgress) -> str:
    """A row of a table for a stage."""
    share = 100.0 * _share(stage)
    cell = "padding:1px 10px 1px 0;text-align:left;border:none"
    bar = (
        '<div style="width:180px;height:8px;border-radius:4px;background:rgba(128,128,128,.3)">'
        f'<div style="width:{share:.0f}%;height:8px;border-radius:4px;background:#e8842a"></div>'
        "</div>"
    )
    numbers = stage.line().partition(": ")[2]
    return (
        f'<tr style="background:transparent"><td style="{cell}">{stage.stage.value}</td>'
        f'<td style="{cell}">{bar}</td><td style="{cell}">{numbers}</td></tr>'
    )


def _notebook() -> Callable[[str], Any] | None:
    """What shows HTML in the notebook that this runs in; None where it runs in none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import HTML, display

    def show(page: str) -> Callable[[str], None]:
        handle = display(HTML(page), display_id=True)
        return lambda text: handle.update(HTML(text))

    return show


class Overview(_Listener):
    """Says how far the run is as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: dict[Stage, str] = {}
        self._reached = 0.0

    def _heard(self, stage: StageProgress) -> None:
        self._ended.pop(stage.stage, None)
        if stage.added_up().finished:
            # Said now: the clock goes on, and the stage does not.
            self._ended[stage.stage] = stage.line()

    def percent(self) -> float:
        """How far the run is, from 0 to 99. It never goes back."""
        with self._lock:
            for stage in self._stages.values():
                first, last = _SHARES.get(stage.stage, (0.0, 0.0))
                self._reached = max(self._reached, first + (last - first) * _share(stage))
            return round(self._reached, 1)

    def lines(self) -> list[str]:
        """A line for each stage that has begun: count, bytes, rate, and time left."""
        with self._lock:
            begun = [self._stages[name] for name in Stage if name in self._stages]
            return [self._ended.get(stage.stage) or stage.line() for stage in begun]


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
    show = _notebook()
    if show is not None:
        with NotebookBars(show) as bars:
            yield bars
        return
    at_terminal = sys.stderr is not None and sys.stderr.isatty()
    can_move = at_terminal and can_have_threads()  # as bars do, to move
    with TerminalBars() if can_move else PlainLines() as sink:
        yield sink


def _sum_of_known(numbers: Iterable[int | None]) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def _moved(part: Progress) -> int:
    """The bytes that came now."""
    return part.bytes_done if part.bytes_moved is None else part.bytes_moved


def _rate(count: int, seconds: float) -> int:
    """So many a second; 0 where there is none to speak of."""
    return round(count / seconds) if seconds >= _NO_TIME else 0


def _share(stage: StageProgress) -> float:
    """How much of a stage is done, from 0 to 1."""
    if stage.stage is not Stage.DOWNLOAD and stage.added_up().finished:
        return 1.0
    done, whole = stage.fraction()
    return min(done / whole, 1.0) if whole else 0.0


def _clock(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
