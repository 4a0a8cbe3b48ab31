"""The child process of :mod:`flows.local_server`: a Prefect API server that ends with its parent.

It is run by its path and imports nothing of ours, because Python must not put the directory of
this file, nor the current one, on the module path; and it runs in the directory of whoever
started the command, where Prefect looks for a configuration of theirs.

What it says on standard output is one line: ``configured`` if Prefect's settings name an API
already, else the port that it has bound.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading


def serve() -> None:
    """Serve until standard input closes, unless an API is configured."""
    # Whoever stops the parent by Ctrl-C or SIGTERM must find the server up to the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        print("configured", flush=True)
        return
    # Alembic, which prepares the database, puts the current directory on the module path.
    os.chdir("/")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

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
    serve()
