"""Installs PostgreSQL from Debian, for Prefect's database and for the test of it.

Where there is no apt, or no right to use it, this says what to do and changes nothing. Run again,
it has nothing to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "postgresql"
_VERSIONS = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each version apart, out of the search path."""


def main() -> int:
    """Install what is missing.

    Returns:
        0 if it is there by the end, else 1.
    """
    if programs() is None:
        problem = install()
        if problem is not None or programs() is None:
            print(f"PostgreSQL is missing ({problem}). As root: apt-get install {PACKAGE}")
            return 1
    print(f"PostgreSQL is there: {programs()}")
    return 0


def programs() -> Path | None:
    """Where ``initdb`` and ``pg_ctl`` of the newest version are; None where there is none."""
    found = [path.parent for path in _VERSIONS.glob("*/bin/initdb")]
    found.sort(key=lambda path: [int(part) for part in path.parent.name.split(".")])
    on_path = shutil.which("initdb")
    return found[-1] if found else Path(on_path).resolve().parent if on_path else None


def install() -> str | None:
    """Install the package.

    Returns:
        What stands in the way, None where nothing did.
    """
    if not shutil.which("apt-get"):
        return "no apt-get on this system"
    rights = []
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            return "neither root nor sudo"
        rights = ["sudo", "--non-interactive"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    installing = [*rights, "apt-get", "install", "-y", "--no-install-recommends", PACKAGE]
    print("Installing PostgreSQL ...", flush=True)
    for command in (installing, [*rights, "apt-get", "update"], installing):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
        except OSError as error:
            return str(error)
        if command is installing and done.returncode == 0:
            return None
    return (done.stderr.strip().splitlines() or ["apt-get failed"])[-1]


if __name__ == "__main__":
    sys.exit(main())
