"""Shows our log lines to people who have not configured logging, and leaves the others alone."""

from __future__ import annotations

import logging

from mlhub_core.say import say

_LOGGER = "mlhub_core"


class DefaultHandler(logging.Handler):
    """Writes to standard error as long as the root logger has no handler of its own.

    Args:
        always: Whether to write even then: somebody asked for the lines on the command line.
    """

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))
        self._always = always

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; looked up each time, because bars and tests replace ``sys.stderr``."""
        if logging.getLogger().handlers and not self._always:
            return  # somebody has configured logging by now: the line is shown there
        try:
            for line in self.format(record).split("\n"):
                say(line)
        except ValueError:  # the stream that somebody put there is closed
            self.handleError(record)


def ensure_handler() -> None:
    """Make INFO and above visible, if nobody has configured logging.

    Never ``basicConfig``: that is for applications.
    """
    logger = logging.getLogger(_LOGGER)
    if logging.getLogger().handlers or logger.handlers:
        return
    logger.addHandler(DefaultHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def set_verbosity(*, quiet: bool, verbose: bool) -> None:
    """Set the level of our own lines; those of other libraries stay as they are.

    Args:
        quiet: Warnings and errors only.
        verbose: Every request and file, on standard error whoever configures logging.
    """
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if verbose:
        # Prefect configures logging for itself; who asks for every request wants to see it here.
        logger.addHandler(DefaultHandler(always=True))
