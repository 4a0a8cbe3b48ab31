"""Keeps Prefect in a directory of its own. Imported before Prefect is: that reads it then."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="mlhub-test-prefect-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]  # whoever runs the tests has settings of their own
os.environ["PREFECT_HOME"] = str(HOME)
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
