"""A PostgreSQL server for the length of a block, in a directory of its own on a free port."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.prefect_site import free_port

ROOT = Path(__file__).parents[2]


def programs() -> Path:
    """Where its programs are; skips where there are none."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from install_postgresql import programs as find
    finally:
        sys.path.pop(0)
    found = find()
    if found is None:
        pytest.skip("no PostgreSQL: run scripts/install_postgresql.py")
    return Path(found)


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server.

    Yields:
        The URL of an empty database, as SQLAlchemy takes it.
    """
    binaries = programs()
    # It refuses to run as root, and the directories of tests are closed to all others.
    home = Path(tempfile.mkdtemp(prefix="mlhub-postgresql-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, port = str(home / "data"), free_port()

    def run(program: str, *words: str) -> None:
        command = [*as_user, str(binaries / program), *words]
        with (home / f"{program}.txt").open("ab") as said:
            subprocess.run(command, cwd=home, check=True, stdout=said, stderr=said, timeout=300)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
    try:
        # No fsync, and nobody but this machine: it lives for one test.
        run("initdb", "-D", data, "-U", "mlhub", "-A", "trust", "-N", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-o", f"{options} -F", "-w", "-l", str(home / "log"), "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlhub", "prefect")
            yield f"postgresql+asyncpg://mlhub@127.0.0.1:{port}/prefect"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
