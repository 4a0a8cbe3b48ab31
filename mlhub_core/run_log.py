"""A run's log as JSON lines in ``.mlhub/log/``, for whoever has to find out later what went wrong.

Lines are held until it is known where the run works, and then written as they come: a run that is
killed leaves them, too. A log is worth no download: where it cannot be written, there is none.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlhub_core._version import __version__
from mlhub_core.console import ensure_handler
from mlhub_core.redact import redact, without_secrets
from mlhub_core.state import open_state

LOG_DIRECTORY = "log"
KEPT_LOGS = 10
_MOST_HELD = 1_000
_ENDING = ".jsonl"


class RunLog(logging.Handler):
    """Writes records of ``mlhub_core`` into a file of the run, INFO and above.

    Args:
        words: The command, as it was typed.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        super().__init__(logging.INFO)
        self._held: list[str] = []
        self._file: Any = None
        self._started = time.monotonic()
        self.note(
            event="begin",
            command=[plain(word) for word in words],
            version=__version__,
            python=platform.python_version(),
            platform=platform.platform(),
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in."""
        self.note(level=record.levelname, logger=record.name, message=plain(record.getMessage()))

    def note(self, **fields: Any) -> None:
        """Write a line with the time, and these fields."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields})
        if self._file is None:
            if len(self._held) < _MOST_HELD:
                self._held.append(line)
            return
        with suppress(OSError, ValueError):
            self._file.write(f"{line}\n")
            self._file.flush()

    def open(self, state_dir: Path) -> None:
        """Write from now on, and what is held, below a directory of state; older logs go.

        Args:
            state_dir: The dataset's ``.mlhub``.
        """
        if self._file is not None:
            return
        directory = state_dir / LOG_DIRECTORY
        name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ") + f"-{os.getpid()}{_ENDING}"
        with suppress(OSError):
            directory.mkdir(exist_ok=True)
            for path in logs(state_dir)[: -(KEPT_LOGS - 1)]:
                path.unlink()
            self._file = open_state(directory / name, "w")
            self._file.writelines(f"{line}\n" for line in self._held)
            self._file.flush()

    def end(self, error: BaseException | None) -> None:
        """Write how the run ended, and close the file.

        Args:
            error: What ended it, None where nothing did.
        """
        how = {"error": type(error).__name__, "message": plain(str(error))} if error else {}
        self.note(event="end", seconds=round(time.monotonic() - self._started, 3), **how)
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


def logs(state_dir: Path) -> list[Path]:
    """The logs of the last runs, the newest last.

    Args:
        state_dir: The dataset's ``.mlhub``.
    """
    directory = state_dir / LOG_DIRECTORY
    if directory.is_symlink():
        return []
    return sorted(path for path in directory.glob(f"*{_ENDING}") if path.is_file())


@contextmanager
def logging_run(words: Sequence[str]) -> Iterator[RunLog]:
    """Keep the log of a run for the length of the block.

    Args:
        words: The command, as it was typed.

    Yields:
        The log; it is written once it has been opened.
    """
    ensure_handler()  # which adds none where there is one: ours shows nothing
    log = RunLog(words)
    logger = logging.getLogger("mlhub_core")
    logger.addHandler(log)
    try:
        yield log
    except BaseException as error:
        log.end(error)
        raise
    else:
        log.end(None)
    finally:
        logger.removeHandler(log)


def plain(text: str) -> str:
    """A text without what is secret: keys that are known, logins and queries of URLs."""
    return redact(without_secrets(text))
