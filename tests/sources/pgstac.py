"""A STAC API that others wrote, stac-fastapi-pgstac, for the length of a block."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.postgresql import postgresql
from tests.prefect_site import free_port

ROOT = Path(__file__).parents[2]


def programs() -> Path:
    """Where its programs are; skips where there are none."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from install_pgstac import ENVIRONMENT, is_ready
    finally:
        sys.path.pop(0)
    if not is_ready():
        pytest.skip("no stac-fastapi-pgstac: run scripts/install_pgstac.py")
    return Path(ENVIRONMENT) / "bin"


class Server:
    """The server that runs.

    Args:
        process: It; its standard error is the log of requests.
        url: Its root.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.url = url
        self._process = process
        self._said: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)

    def close(self) -> None:
        """Let go of what it said, once it has ended."""
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for(self, text: str) -> str:
        """Wait until something is said, and give that line."""
        while text not in (line := self._said.get(timeout=300)):
            pass
        return line

    def searches(self) -> list[str]:
        """Searches since the last call, as they were answered."""
        self._said.put("END /search")
        found = []
        while "END" not in (line := self.wait_for("/search")):
            found.append(line.split('"')[1])
        return found


@contextmanager
def pgstac(directory: Path, collection: dict[str, Any], items: Iterable[Any]) -> Iterator[Server]:
    """Run a server with a collection.

    Args:
        directory: For its files.
        collection: The collection.
        items: What is in it.

    Yields:
        The server.
    """
    binaries = programs()
    with postgresql() as database:
        port = database.rpartition(":")[2].partition("/")[0]
        words = {"HOST": "127.0.0.1", "PORT": port, "USER": "mlhub", "DATABASE": "prefect"}
        clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        environment = {**clean, **{f"PG{name}": word for name, word in words.items()}}
        environment |= {"PGPASSWORD": "none"}

        def run(*command: str) -> None:
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

        loader = str(binaries / "pypgstac")
        run(loader, "migrate")
        for kind, documents in (("collections", [collection]), ("items", items)):
            file = directory / f"{kind}.ndjson"
            file.write_text("".join(json.dumps(one) + "\n" for one in documents))
            run(loader, "load", kind, str(file), "--method", "insert")
        counted = "UPDATE pgstac.pgstac_settings SET value = 'on' WHERE name = 'context'; ANALYZE"
        run("psql", "--quiet", "--command", counted)
        with _serving(binaries, environment) as server:
            yield server


@contextmanager
def _serving(binaries: Path, environment: dict[str, str]) -> Iterator[Server]:
    port = str(free_port())
    own = {
        "POSTGRES_USER": environment["PGUSER"],
        "POSTGRES_PASS": environment["PGPASSWORD"],
        "POSTGRES_HOST": environment["PGHOST"],
        "POSTGRES_HOST_READER": environment["PGHOST"],
        "POSTGRES_HOST_WRITER": environment["PGHOST"],
        "POSTGRES_PORT": environment["PGPORT"],
        "POSTGRES_DBNAME": environment["PGDATABASE"],
    }
    command = [str(binaries / "uvicorn"), "stac_fastapi.pgstac.app:create_app", "--factory"]
    process = subprocess.Popen(
        [*command, "--port", port],
        env={**environment, **own, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        server.wait_for("running on")
        yield server
    finally:
        process.terminate()
        process.wait(300)
        server.close()
