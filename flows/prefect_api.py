"""The Prefect API that an ad hoc run reports to: the one that is configured, or one of our own."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.local_server import local_server
from mlhub_core.exceptions import Interrupted, InvalidArgument, MLHubException, StorageError
from mlhub_core.net.clients import certificates, check_proxies, no_proxy
from mlhub_core.paths import user_path
from mlhub_core.redact import redact
from mlhub_core.workspace import check_directories

_API_URL = "PREFECT_API_URL"
_UI_URL = "PREFECT_UI_URL"

_QUIET = {
    "DO_NOT_TRACK": "1",
    # The console shows progress and, at the end, one line; Prefect's own lines and tracebacks
    # would come between. They are in the run's log.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}

_FIRST_ANSWER_SECONDS = 15.0
"""How long the configured API may take to say that it is there."""

_CA_FILE = "PREFECT_API_SSL_CERT_FILE"
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
"""What httpx knows, Prefect's client."""

_DRAIN_SECONDS = 10.0
"""How long the last log lines and states may take to reach the API."""


class PrefectError(MLHubException):
    """Prefect itself failed: its API cannot be reached, or refuses."""


@contextmanager
def prefect_api(say: Callable[[str], None], *, needs_ui: str = "") -> Iterator[None]:
    """Have a Prefect API for the length of the block.

    Prefect reads its settings when it is imported, so it must not have been imported before.

    Args:
        say: Gets a line before what takes long.
        needs_ui: What cannot be done without a UI, which a server of our own has not.

    Raises:
        ServerDidNotStart: if a server of our own does not come up.
        PrefectError: if the configured API does not answer.
        InvalidArgument: if a UI is needed, and none is there.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _surroundings(say):
        if os.environ.get(_API_URL):
            with _configured_api(say):
                yield
            return
        with _own_api(say, needs_ui):
            yield


@contextmanager
def _own_api(say: Callable[[str], None], needs_ui: str) -> Iterator[None]:
    say("Starting a Prefect API server (10 to 60 s) …")
    with local_server() as server:
        if server.url is None:
            with _configured_api(say):
                yield
            return
        if needs_ui:
            raise InvalidArgument(
                f"{needs_ui} needs a Prefect server with its UI, and none is configured: start one "
                "(`prefect server start`) and set PREFECT_API_URL=http://127.0.0.1:4200/api; or "
                "look at the plan first (--dry-run) and run it then (--plan)."
            )
        os.environ[_API_URL] = server.url
        ui = os.environ.get(_UI_URL)
        # Where `prefect server start` will show this run.
        os.environ.setdefault(_UI_URL, "http://127.0.0.1:4200")
        try:
            _import_flows()  # while the server starts
            server.wait_until_up()
            with _connected():
                yield
        finally:
            del os.environ[_API_URL]
            if ui is None:
                del os.environ[_UI_URL]


@contextmanager
def _surroundings(say: Callable[[str], None]) -> Iterator[None]:
    """Let Prefect's clients and its server go by the rules that all of ours go by.

    Raises:
        InvalidArgument: if a proxy or the certificates of the environment cannot be.
        StorageError: if Prefect's home cannot be written.
    """
    check_proxies(_PROXY_SCHEMES)
    trusted = certificates()
    with tempfile.TemporaryDirectory(prefix="mlhub-prefect-") as scratch:
        names = {"no_proxy": no_proxy(), "NO_PROXY": no_proxy()}
        # Dask's processes, and others that Prefect may start, import nothing of where we are.
        names["PYTHONSAFEPATH"] = "1"
        if trusted.variable and not os.environ.get(_CA_FILE):
            names[_CA_FILE] = trusted.path
            if trusted.is_directory:
                names[_CA_FILE] = os.path.join(scratch, "ca.pem")
                Path(names[_CA_FILE]).write_bytes(trusted.bundle())
        names["PREFECT_HOME"] = str(_home() or scratch)
        if names["PREFECT_HOME"] == scratch:
            say("There is no home that can be written: Prefect forgets this run when it ends.")
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _home() -> Path | None:
    """The place of Prefect's own files, None where there can be none.

    Raises:
        StorageError: if it is named and cannot be.
    """
    named = os.environ.get("PREFECT_HOME")
    try:
        home = user_path(named or "~/.prefect")
        home.mkdir(parents=True, exist_ok=True)
        check_directories(home)
    except (MLHubException, OSError) as error:
        if named:
            raise StorageError(f"PREFECT_HOME cannot be used: {error}") from error
        return None
    return home


@contextmanager
def _configured_api(say: Callable[[str], None]) -> Iterator[None]:
    say("Connecting to the Prefect API …")
    _import_flows()
    from prefect.settings import PREFECT_API_URL

    from flows.api_client import new_client

    with new_client(_FIRST_ANSWER_SECONDS) as client:
        error = client.api_healthcheck()
    if error is not None:
        url = redact(PREFECT_API_URL.value())
        raise PrefectError(
            f"The Prefect API at {url} does not answer ({redact(error) or type(error).__name__}): "
            "start it, or unset PREFECT_API_URL, or use `mlhub download`, which needs none."
        ) from error
    with _connected():
        yield


def _import_flows() -> None:
    """Import Prefect and the flow.

    Nearly all that comes into being stays, so looking through it for garbage, again and again while
    it grows, takes a tenth of the time for nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        import flows.download_dataset  # noqa: F401
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def _connected() -> Iterator[None]:
    """Map what Prefect raises by itself; what a step of ours raises passes through.

    At the end, however it comes, everything that Prefect has still to send is sent, while there is
    an API to send it to. Prefect would try that when the process exits.
    """
    import httpx
    from prefect.exceptions import CancelledRun, PrefectException

    try:
        yield
    except CancelledRun as error:
        raise Interrupted(str(error)) from error
    except (httpx.HTTPError, PrefectException) as error:
        reason = redact(error).strip().splitlines() or [type(error).__name__]
        raise PrefectError(
            f"Prefect failed in the middle of the run: {reason[0]} What is finished is kept; the "
            "same command goes on there, and so does `mlhub download`, which needs no Prefect."
        ) from error
    finally:
        drain()


def drain() -> None:
    """Send what Prefect still has to send: states of tasks and lines of the log."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=_DRAIN_SECONDS)
