"""Makes `.venv-reference` beside the project: the reference client in an environment of its own.

It needs packages too old to live beside ours, and Python 3.11, the last one that its shapely 1.8
has wheels for. Where that Python is missing, this says so and the tests that compare with the
reference client skip; with --require it fails instead. Run again, it has nothing to do.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import environments
from environments import PROJECT

REQUIREMENTS = ("radiant-mlhub==0.5.5", "shapely==1.8.5.post1")
_WANTED = "\n".join(REQUIREMENTS)
_IS_3_11 = "import sys; sys.exit(sys.version_info[:2] != (3, 11))"


def main() -> int:
    """Make the environment if it can be made.

    Returns:
        0 if it is there, or may be missing; 1 if it is missing and required.
    """
    parser = argparse.ArgumentParser(description="Make the reference client's environment.")
    parser.add_argument("--directory", type=Path, default=PROJECT / ".venv-reference")
    parser.add_argument("--require", action="store_true", help="fail where it cannot be had")
    options = parser.parse_args()
    if environments.is_ready(options.directory, _WANTED):
        return 0
    problem = make(options.directory)
    if problem is None:
        print("The reference client is there.")
        return 0
    print(f"No reference client: {problem}. Comparisons with it are left out.", file=sys.stderr)
    return 1 if options.require else 0


def make(directory: Path) -> str | None:
    """Make the environment anew.

    Returns:
        What stands in the way, None where nothing did.
    """
    base = find_python()
    if base is None:
        return "it needs Python 3.11, and no python3.11 is found"
    print(f"Making the reference client's environment in {directory.name} (a minute) ...")
    return environments.make(directory, _WANTED, REQUIREMENTS, base=base)


def find_python() -> str | None:
    """A Python 3.11 that runs: this one, or the first on the path."""
    for candidate in (sys.executable, shutil.which("python3.11"), shutil.which("python3")):
        # Version managers leave a python3.11 on the path that only says what is not installed.
        if candidate and _runs(candidate):
            return candidate
    return None


def _runs(candidate: str) -> bool:
    try:
        return subprocess.run([candidate, "-c", _IS_3_11], capture_output=True).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
