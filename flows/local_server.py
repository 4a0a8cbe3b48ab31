"""A Prefect API server of our own, for ad hoc runs where none is configured.

Prefect would start one by itself. That one gives up after 20 seconds, which slow machines need
more of; it is left behind when its parent is killed; and it prints tracebacks as it ends. So the
server runs in a child process that listens on a port it has bound itself, ends when the pipe to
its parent closes (however the parent ended), and keeps what it prints in a file that is shown only
if it does not come up.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import requests

from mlhub_core.exceptions import MLHubException

START_TIMEOUT = 300.0
"""Seconds until the server must answer. On a slow machine it takes a minute, on a busy one more."""

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
    # What an ephemeral server is for Prefect: no UI, no scheduler, no other services.
    "PREFECT_UI_ENABLED": "0",
    # Takes five seconds on a new database, and is done again by whatever needs it.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class ServerDidNotStart(MLHubException):
    """The Prefect API server did not come up."""


class LocalServer:
    """The server's process, from its start to its end.

    Attributes:
        url: Of its API; None if Prefect's settings name an API already, and there is no server.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self.url: str | None = None
        self._process = process
        self._output = output
        self._deadline = time.monotonic() + START_TIMEOUT

    def read_port(self) -> None:
        """Wait for the line that says where it listens; it comes before the server answers.

        Raises:
            ServerDidNotStart: if there is none in time.
        """
        pipe = self._process.stdout
        assert pipe is not None
        readable, _, _ = select.select([pipe], [], [], self._deadline - time.monotonic())
        said = pipe.readline().decode().strip() if readable else ""
        if said == "configured":
            return
        if not said.isdigit():
            raise self._failure()
        self.url = f"http://127.0.0.1:{said}/api"

    def wait_until_up(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerDidNotStart: if it does not in time.
        """
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between us and the loopback interface
            while self._process.poll() is None and time.monotonic() < self._deadline:
                try:
                    if session.get(f"{self.url}/health", timeout=5).status_code == 200:
                        return
                except requests.RequestException:
                    pass  # not up yet: that is what is being waited for
                time.sleep(0.1)
        raise self._failure()

    def end(self) -> None:
        """End the process, if it has not ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _failure(self) -> ServerDidNotStart:
        self.end()
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").strip().splitlines()
        last = lines[-1].strip() if lines else "nothing"
        return ServerDidNotStart(
            "The Prefect API server did not start. Start one yourself (`prefect server start`), "
            "set PREFECT_API_URL=http://127.0.0.1:4200/api, and try again; or use `mlhub download`,"
            f" which needs none. The last that it said: {last}"
        )


@contextmanager
def local_server() -> Iterator[LocalServer]:
    """Start a Prefect API server for the length of the block.

    It uses Prefect's own database (``PREFECT_HOME``), so that ``prefect server start`` shows the
    runs later. It does not answer yet when the block begins.

    Raises:
        ServerDidNotStart: if its process has nothing to say.
    """
    with tempfile.TemporaryFile(prefix="mlhub-prefect-") as output:
        process = subprocess.Popen(
            # Without -P, Python would look for modules beside the file first.
            [sys.executable, "-P", str(Path(__file__).with_name("server_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, **_QUIET},
            # Ctrl-C goes to the whole process group; the server has to outlive the flow.
            start_new_session=True,
        )
        server = LocalServer(process, output)
        try:
            server.read_port()
            yield server
        finally:
            server.end()
