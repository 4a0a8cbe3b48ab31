"""The memory of a process and of all that it started: together, or of each."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

_SAMPLE_SECONDS = 0.05
_SHOWN = 60
"""Characters of a command line that are enough to tell what it is."""


class Peak:
    """Watches a process and its children for the length of the block.

    What counts is the sum of the peaks of those that live at the same time. Memory that they share
    counts for each, so it is rather too much than too little.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.kilobytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        self.kilobytes = max(self.kilobytes, sum(map(_peak_of, tree(self._pid))))


class Processes(Peak):
    """Watches a process and its children for the length of the block, each by itself.

    Args:
        pid: The process.
        names: What to call one, by a part of its command line; others go by the end of theirs.

    Attributes:
        peaks: Kilobytes at most, by name; of several of one name, those of the largest.
    """

    def __init__(self, pid: int, names: dict[str, str]) -> None:
        super().__init__(pid)
        self._names = names
        self.peaks: dict[str, int] = {}

    def _look(self) -> None:
        for pid in tree(self._pid):
            peak = _peak_of(pid)
            if peak and (words := _command_of(pid)):
                known = (name for part, name in self._names.items() if part in words)
                name = next(known, words[-_SHOWN:])
                self.peaks[name] = max(peak, self.peaks.get(name, 0))


def tree(pid: int) -> list[int]:
    """A process and all that it started, as far as they live."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def _peak_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _command_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace").strip()
