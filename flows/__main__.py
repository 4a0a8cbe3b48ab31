"""The process of the ``mlhub-flows`` command, and of ``python -m flows``."""

from __future__ import annotations

import sys

from mlhub_core.unsupported import why_not


def run() -> int:
    """Run the command, where that can be."""
    if reason := why_not():
        print(f"mlhub-flows: {reason}", file=sys.stderr)
        return 2
    from flows.console import run_and_exit

    run_and_exit()


if __name__ == "__main__":
    sys.exit(run())
