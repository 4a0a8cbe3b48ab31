"""The process of the ``mlhub`` command, from its first line to its end."""

from __future__ import annotations

import sys

from mlhub_core.signals import end_on_signals, ignore_signals
from mlhub_core.unsupported import why_not


def run() -> int:
    """Run the command, and leave nothing that a signal could disturb."""
    if reason := why_not():
        print(f"mlhub: {reason}", file=sys.stderr)
        return 2
    end_on_signals()
    from mlhub_core.cli import main  # imports much: a signal may come meanwhile

    status = main()
    ignore_signals()
    return status


if __name__ == "__main__":
    sys.exit(run())
