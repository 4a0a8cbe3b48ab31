"""One number and a few lines that say how far a run is, out of the messages of all its steps."""

from __future__ import annotations

import threading

from mlhub_core.display import StageTotal
from mlhub_core.progress import Progress, Stage

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
