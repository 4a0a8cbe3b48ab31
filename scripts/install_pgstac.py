"""Makes `.venv-pgstac` beside the project: stac-fastapi-pgstac, and PostGIS for it from Debian.

It is a STAC API that others wrote, and needs packages in other versions than ours. Where it cannot
be had, this says what is missing, and the test of it skips. Run again, it has nothing to do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import environments
import install_postgresql
from debian_packages import install
from environments import PROJECT

ENVIRONMENT = PROJECT / ".venv-pgstac"
CONSTRAINTS = Path(__file__).with_name("pgstac-constraints.txt")
PACKAGES = ("stac-fastapi.pgstac", "pypgstac[psycopg]", "uvicorn")


def main() -> int:
    """Install what is missing.

    Returns:
        0 if all is there by the end, or may be missing; 1 if it is missing and required.
    """
    parser = argparse.ArgumentParser(description="Install a STAC API to test with.")
    parser.add_argument("--directory", type=Path, default=ENVIRONMENT)
    parser.add_argument("--require", action="store_true", help="fail where it cannot be had")
    options = parser.parse_args()
    problem = _have_postgis() or _have_environment(options.directory)
    if problem is None:
        print(f"stac-fastapi-pgstac is there: {options.directory}")
        return 0
    print(f"No STAC API to test with: {problem}. Its test is left out.", file=sys.stderr)
    return 1 if options.require else 0


def is_ready(directory: Path = ENVIRONMENT) -> bool:
    """Whether the server, and PostGIS below it, are there in the versions wanted."""
    return environments.is_ready(directory, _wanted()) and _has_postgis()


def program(name: str, directory: Path = ENVIRONMENT) -> Path:
    """A program of the environment."""
    return directory / "bin" / name


def _has_postgis() -> bool:
    programs = install_postgresql.programs()
    if programs is None:
        return False
    version = programs.parent.name
    return Path(f"/usr/share/postgresql/{version}/extension/postgis.control").is_file()


def _have_postgis() -> str | None:
    """Install PostgreSQL with PostGIS; what stands in the way, None where nothing did."""
    if _has_postgis():
        return None
    programs = install_postgresql.programs()
    package = "postgresql-postgis"
    if programs is not None:
        package = f"postgresql-{programs.parent.name}-postgis-3"
    problem = install("PostgreSQL with PostGIS", install_postgresql.PACKAGE, package)
    if problem is None and not _has_postgis():
        problem = "it was installed, and is not there"
    return problem and f"{problem}. As root: apt-get install {package}"


def _have_environment(directory: Path) -> str | None:
    """Make the environment; what stands in the way, None where nothing did."""
    if is_ready(directory):
        return None
    print(f"Making the environment {directory.name} (a minute or two) ...", flush=True)
    pinned = ["--constraint", str(CONSTRAINTS)]
    return environments.make(directory, _wanted(), [*pinned, *PACKAGES])


def _wanted() -> str:
    return CONSTRAINTS.read_text("utf-8")


if __name__ == "__main__":
    sys.exit(main())
