"""Runs a hub: in the background for the length of a block, or until Ctrl-C."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import uvicorn

from mlhub_core.console import show
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.app import FILES_PATH, ROOT_PATH, create_app, export_lines
from mlhub_core.hub.connections import Connections, HubProtocol, raise_limit
from mlhub_core.hub.demo import write_demo
from mlhub_core.hub.store import HubStore
from mlhub_core.signals import stopping_on_signals

_GRACE_SECONDS = 1.0
"""How long responses under way may go on when the hub is stopped; then they are broken off."""

_BACKLOG = 2048
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class HubServer:
    """A hub that answers for the length of a ``with`` block, in a thread of its own.

    It touches no signal handlers and no logging configuration.

    Args:
        directory: What to serve; see :mod:`mlhub_core.hub.store`. None makes one, and removes it
            when the hub stops.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        api_key: The key that clients must send, None for none.
        demo: Whether to write the demo dataset into the directory first.
        connections: How many there may be, and how long each may take; the defaults when None.
    """

    def __init__(
        self,
        directory: str | Path | None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        demo: bool = False,
        connections: Connections | None = None,
    ) -> None:
        self._directory = directory
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._host = host
        self._port = port
        self._api_key = api_key or None
        self._demo = demo
        self._connections = connections or Connections()
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._store: HubStore | None = None

    def start(self) -> None:
        """Read the directory and begin to answer.

        Raises:
            InvalidArgument: if the port cannot be had, or the directory cannot be served.
            StorageError: if the disk refuses.
        """
        if self._thread is not None:
            raise InvalidArgument("This hub runs already: make another one.")
        self._socket = _bind(self._host, self._port)
        try:
            if self._directory is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="mlhub-demo-")
            if self._demo:
                write_demo(self.directory, self.asset_base_url)
            self._store = HubStore.load(self.directory)
            config = uvicorn.Config(
                create_app(self._store, self._api_key),
                log_config=None,
                access_log=False,  # the hub has its own, at DEBUG and without keys
                server_header=False,
                lifespan="off",
                ws="none",
                loop="asyncio",
                http=cast(Any, partial(HubProtocol, self._connections)),
            )
            self._server = uvicorn.Server(config)
        except BaseException:
            self._close()
            raise
        # The socket listens already: requests that come before the thread is up wait their turn.
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="mlhub-hub", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop answering. Doing so twice does no harm."""
        if self._thread is None or self._server is None:
            return
        self._server.should_exit = True
        self._thread.join(_GRACE_SECONDS)
        while self._thread.is_alive():
            self._break_off(self._server)
            self._thread.join(_GRACE_SECONDS)
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._temporary is not None:
            self._temporary.cleanup()
        self._thread = self._server = self._socket = self._temporary = None

    @staticmethod
    def _break_off(server: uvicorn.Server) -> None:
        """Drop the connections that are left, so that an endless download does not keep us."""
        for connection in list(server.server_state.connections):
            if isinstance(connection, HubProtocol):
                connection.loop.call_soon_threadsafe(connection.abort)

    @property
    def directory(self) -> Path:
        """What it serves."""
        made = None if self._temporary is None else self._temporary.name
        return Path(made or self._directory or "")

    @property
    def address(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        if self._socket is None:
            raise InvalidArgument("This hub does not run: use it in a with block.")
        host, port = self._socket.getsockname()[:2]
        host = _ANY_ADDRESS.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def url(self) -> str:
        """The root of its API, for ``MLHUB_ROOT_URL``."""
        return self.address + ROOT_PATH

    @property
    def asset_base_url(self) -> str:
        """The URL of its ``assets`` directory, without a slash at the end."""
        return f"{self.address}{FILES_PATH}assets"

    @property
    def store(self) -> HubStore:
        """What it serves."""
        if self._store is None:
            raise InvalidArgument("This hub does not run: use it in a with block.")
        return self._store

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class DemoHub(HubServer):
    """A hub with the demo dataset, made for the length of a ``with`` block and then removed.

    Args:
        api_key: The key that clients must send, None for none.
    """

    def __init__(self, *, api_key: str | None = None) -> None:
        super().__init__(None, api_key=api_key, demo=True)


def serve(
    directory: str | Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    api_key: str | None = None,
    demo: bool = False,
    write_only: bool = False,
) -> None:
    """Serve a directory until Ctrl-C or SIGTERM.

    Args:
        directory: What to serve. None takes a temporary directory, with ``demo`` only.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        api_key: The key that clients must send, None for none.
        demo: Whether to write the demo dataset into the directory first.
        write_only: Whether to stop then: the directory is an example of one that can be served.

    Raises:
        InvalidArgument: if the directory is missing or has nothing to serve, or the port cannot
            be had.
        StorageError: if the disk refuses.
    """
    if write_only and (directory is None or not demo):
        raise InvalidArgument("--write makes an example of a hub: give DIR and --demo with it.")
    if directory is None and not demo:
        raise InvalidArgument("No directory is given: name one, or ask for the demo.")
    raise_limit()
    with (
        stopping_on_signals("Stopped."),
        HubServer(directory, host=host, port=port, api_key=api_key, demo=demo) as hub,
    ):
        if hub.store.is_empty:
            raise InvalidArgument(
                f"{hub.directory} has nothing to serve: put datasets/*.json there, "
                "or ask for the demo."
            )
        if write_only:
            show(f"{hub.directory} can be served at {hub.address}.")
            return
        with suppress(KeyboardInterrupt):
            _announce(hub, needs_key=bool(api_key))
            while hub.is_running:
                time.sleep(0.5)
    show("Stopped.")


def _announce(hub: HubServer, *, needs_key: bool) -> None:
    store = hub.store
    counts = ", ".join(
        f"{len(entries)} {kind}{'' if len(entries) == 1 else 's'}"
        for kind, entries in (
            ("dataset", store.datasets),
            ("collection", store.collections),
            ("model", store.models),
        )
    )
    show(f"Serving {counts} from {hub.directory}")
    show(f"  {hub.url}")
    show("Point a client at it:")
    for line in export_lines(hub.url, needs_key=needs_key):
        show(f"  {line}")
    show("Ctrl-C stops it.")


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: a
    # response is two small writes, and the second would wait 40 ms for the first to be confirmed.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option lets two servers take one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgument(
            f"port {port} on {host!r} cannot be had ({reason}): name another one, or 0 for any "
            "free one."
        ) from error
    return listener
