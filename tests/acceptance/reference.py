"""Runs the reference client, radiant-mlhub 0.5.5, unchanged in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
VARIABLE = "MLHUB_REFERENCE_PYTHON"


def find_reference() -> Path:
    """Its Python; skips where there is none."""
    given = os.environ.get(VARIABLE)
    folder = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python = Path(given) if given else PROJECT / ".venv-reference" / folder
    if not python.exists():
        pytest.skip(f"no reference client at {python}: run scripts/reference_venv.py")
    return python


class Reference:
    """The reference client, pointed at a hub."""

    def __init__(self, python: Path, home: Path, root_url: str) -> None:
        self._python = python
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "MLHUB_HOME": str(home),
            "MLHUB_ROOT_URL": root_url,
            "MLHUB_API_KEY": "anything",
        }

    def run(self, code: str, *arguments: str, cwd: Path) -> Any:
        """Run a script; what it puts into ``answer`` comes back."""
        script = "import json, sys\nimport radiant_mlhub\nfrom radiant_mlhub import *\n"
        script += 'assert radiant_mlhub.__version__ == "0.5.5"\n'
        script += f"answer = None\n{code}\nprint('\\n' + json.dumps(answer))\n"
        done = subprocess.run(
            [self._python, "-c", script, *arguments],
            env=self._environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
