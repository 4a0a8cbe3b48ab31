"""Installs PostgreSQL from Debian, for Prefect's database and for the test of it.

Where there is no apt, or no right to use it, this says what to do and changes nothing. Run again,
it has nothing to do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from debian_packages import install

PACKAGE = "postgresql"
_VERSIONS = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each version apart, out of the search path."""


def main() -> int:
    """Install what is missing.

    Returns:
        0 if it is there by the end, else 1.
    """
    if programs() is None:
        problem = install("PostgreSQL", PACKAGE)
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


if __name__ == "__main__":
    sys.exit(main())
