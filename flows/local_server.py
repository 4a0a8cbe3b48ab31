"""A Prefect API server of our own, for ad hoc runs where none is configured.

Prefect would start one by itself. That one gives up after 20 seconds, which slow machines need
more of; it is left behind when its parent is killed; and it prints tracebacks as it ends. So the
server runs in a child process that listens on a port it has bound itself, ends when the pipe to
its parent closes (however the parent ended), and keeps what it prints in a file that is shown only
if it does not come up.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import requests

from mlhub_core.exceptions import MLHubException

START_TIMEOUT = 180.0
"""Seconds until the server must answer. On a slow machine it takes a minute."""

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
    # What an ephemeral server is for Prefect: no UI, no scheduler, no other services.
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class ServerDidNotStart(MLHubException):
    """The Prefect API server did not come up."""


@contextmanager
def prefect_server() -> Iterator[str]:
    """Run a Prefect API server for the length of the block.

    It uses Prefect's own database (``PREFECT_HOME``), so that ``prefect server start`` shows the
    runs later.

    Yields:
        The URL of its API.

    Raises:
        ServerDidNotStart: if it does not answer in time.
    """
    with tempfile.TemporaryFile("w+", prefix="mlhub-prefect-") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.local_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            # Where `flows` is found again, whatever lies in the current directory.
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **_QUIET},
            text=True,
            # Ctrl-C goes to the whole process group; the server has to outlive the flow.
            start_new_session=True,
        )
        try:
            yield _wait_until_up(process, output)
        finally:
            _end(process)


def _wait_until_up(process: subprocess.Popen[str], output: IO[str]) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT
    port = process.stdout.readline().strip()  # bound before anything slow is imported
    url = f"http://127.0.0.1:{port}/api"
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/health", timeout=5).status_code == 200:
                return url
        except requests.RequestException:
            pass  # not up yet: that is what is being waited for
        time.sleep(0.2)
    _end(process)
    output.seek(0)
    last = "\n".join(output.read().strip().splitlines()[-15:])
    raise ServerDidNotStart(
        f"The Prefect API server did not start within {START_TIMEOUT:.0f} s. Start one yourself "
        "(`prefect server start`), set PREFECT_API_URL=http://127.0.0.1:4200/api, and try again; "
        f"or use `mlhub download`, which needs none. It said:\n{last or '(nothing)'}"
    )


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _serve() -> None:
    """The child: serve until standard input closes."""
    # Whoever stops the parent by Ctrl-C or SIGTERM must find the server up to the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on"
    )
    uvicorn.Server(config).run(sockets=[listener])


def _end_with_parent() -> None:
    sys.stdin.read()
    # At once: an orderly end takes seconds and prints the tracebacks of cancelled consumers. The
    # database is SQLite in WAL mode, or a server of its own; neither minds.
    os._exit(0)


if __name__ == "__main__":
    _serve()
