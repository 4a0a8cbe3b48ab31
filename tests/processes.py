"""Commands as processes of their own, marked so that whatever they leave behind is found."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "MLHUB_TEST_MARK"


class Command:
    """A running command; standard output and error go to files, which never fill up."""

    def __init__(self, words: list[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.mark = uuid.uuid4().hex
        self._files = [cwd / f".{self.mark}.{name}" for name in ("out", "err")]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=cwd,
                env={**os.environ, **env, _MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def interrupt_group(self, number: signal.Signals = signal.SIGINT) -> None:
        """What a terminal does on Ctrl-C."""
        os.killpg(self.process.pid, number)

    @property
    def out(self) -> str:
        return self._files[0].read_text("utf-8")

    @property
    def err(self) -> str:
        return self._files[1].read_text("utf-8")

    def survivors(self) -> list[int]:
        """Its processes, and theirs, that are alive."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{_MARK}={self.mark}".encode() in (directory / "environ").read_bytes():
                    found.append(int(directory.name))
        return found

    def all_end(self, seconds: float) -> bool:
        """Wait until nothing of it is alive, at most so many seconds; whether that is so."""
        for pid in self.survivors():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                if not poll.poll(seconds * 1000):
                    return False
            finally:
                os.close(handle)
        return not self.survivors()


@contextmanager
def command(words: list[str], cwd: Path, **env: str) -> Iterator[Command]:
    """Run a command for the length of the block, and end whatever is left of it then."""
    running = Command(words, cwd, env)
    try:
        yield running
    finally:
        for pid in running.survivors():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.process.wait()


def download_words(*options: str) -> list[str]:
    return [sys.executable, "-m", "flows.download_dataset", *options]
