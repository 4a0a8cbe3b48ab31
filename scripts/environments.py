"""Virtual environments beside the project, for packages that cannot live in its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def interpreter(directory: Path) -> Path:
    """The Python of an environment."""
    windows = sys.platform == "win32"
    return directory / ("Scripts/python.exe" if windows else "bin/python")


def is_ready(directory: Path, wanted: str) -> bool:
    """Whether an environment is complete, and of what is wanted now.

    Args:
        directory: The environment.
        wanted: As it was given to :func:`make`.
    """
    try:
        installed = _marker(directory).read_text("utf-8")
    except OSError:
        return False
    return installed == wanted and interpreter(directory).exists()


def make(
    directory: Path, wanted: str, *installs: Sequence[str], base: str = sys.executable
) -> str | None:
    """Make an environment anew.

    Args:
        directory: The environment.
        wanted: A text that tells it from one of other packages or versions.
        *installs: What pip is to install, one call after the other.
        base: The Python that it is made of.

    Returns:
        What stands in the way, None where nothing did.
    """
    pip = [str(interpreter(directory)), "-m", "pip", "install"]
    quiet = ["--quiet", "--disable-pip-version-check"]
    steps = [[base, "-m", "venv", "--clear", str(directory)]]
    steps += [[*pip, *quiet, *install] for install in installs]
    for step in steps:
        try:
            subprocess.run(step, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{' '.join(step[1:4])} failed ({error})"
    # Written last: an environment that was interrupted in the making is made anew.
    _marker(directory).write_text(wanted, "utf-8")
    return None


def _marker(directory: Path) -> Path:
    return directory / "installed.txt"
