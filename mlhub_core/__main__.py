"""The process of the ``mlhub`` command, from its first line to its end."""

from __future__ import annotations

import sys

from mlhub_core.signals import end_on_signals, ignore_signals


def run() -> int:
    """Run the command, and leave nothing that a signal could disturb."""
    end_on_signals()
    from mlhub_core.cli import main  # imports much: a signal may come meanwhile

    status = main()
    ignore_signals()
    return status


if __name__ == "__main__":
    sys.exit(run())
