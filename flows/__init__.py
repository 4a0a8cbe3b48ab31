"""Prefect flows: they compose tasks. No logic here."""

import os
import sys

_RUN_BY_NAME = sys.argv[:1] == ["-m"]

if _RUN_BY_NAME and not sys.flags.safe_path and sys.path[0] != os.path.dirname(__path__[0]):
    # `python -m flows.…` looks for modules in the current directory first. What lies there is
    # somebody's data, and may be called json.py.
    del sys.path[0]

if _RUN_BY_NAME:
    from mlhub_core.signals import end_on_signals

    end_on_signals()
