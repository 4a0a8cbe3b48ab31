"""One Prefect server for all tests of flows, and a dataset on a server that misbehaves."""

from __future__ import annotations

from tests import prefect_home  # isort: skip  # before Prefect is imported

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local_server import local_server
from flows.prefect_api import drain
from mlhub_core.hub.server import DemoHub
from tests.faultserver import Fault, FaultServer, stall
from tests.foreign import fill, ran_in
from tests.prefect_site import Site, prefect_site


@pytest.fixture(scope="package")  # it is busy even when nobody asks
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prefect API; this process uses it as well.

    It is started in a directory of foreign modules, none of which it takes for its own.
    """
    foreign = fill(tmp_path_factory.mktemp("foreign"))
    with ExitStack() as stack:
        with contextlib.chdir(foreign):
            server = stack.enter_context(local_server())
        assert server.url is not None
        server.wait_until_up()
        with temporary_settings({PREFECT_API_URL: server.url}):
            yield server.url
        assert ran_in(foreign) == ""


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """End what Prefect leaves running: its websocket draws from `random` every 20 seconds.

    Hypothesis takes that for a strategy that does, whichever test it hits.
    """
    yield
    drain()


@pytest.fixture(scope="session")
def database() -> Path:
    """Prefect's database, with what is not yet written into its main file beside it."""
    return prefect_home.HOME / "prefect.db"


@pytest.fixture(scope="session")
def site(demo_hub: DemoHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A machine with a Prefect server, its UI and a worker, whose runs ask the demo hub."""
    hub = {"MLHUB_ROOT_URL": demo_hub.url, "MLHUB_PROFILE": "__anonymous__"}
    # So that a schedule made in a test has its runs soon, and not within a minute.
    often = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
    with prefect_site(tmp_path_factory.mktemp("site"), **hub, **often) as made:
        yield made


PATIENCE = 300.0
"""Seconds until a process counts as hung. A slow machine starts a Prefect server in sixty."""


@dataclass
class Mirror:
    """The assets of the demo dataset, on a server that can be told to misbehave."""

    server: FaultServer
    prefix: str
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def mirrors(self) -> dict[str, str]:
        """For the parameter of that name."""
        return {self.prefix: self.server.url("")}

    def heal(self) -> None:
        """Answer well from now on, and forget what was asked."""
        for path in self.files:
            self.server.always(path, Fault())
        self.server.forget()


@pytest.fixture
def mirror(at_demo_hub: DemoHub, server: FaultServer) -> Mirror:
    root = at_demo_hub.directory / "assets"
    made = Mirror(server, at_demo_hub.asset_base_url)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            name = f"/{path.relative_to(root).as_posix()}"
            made.files[name] = path.read_bytes()
            server.put(name, made.files[name])
    return made


@pytest.fixture
def stalled(mirror: Mirror) -> Callable[[], None]:
    """The assets stop coming after some hundreds; gives a function that waits for that."""
    reached = threading.Semaphore(0)
    slow = [path for path in mirror.files if path.endswith("B08.tif")]
    for path in slow:
        mirror.server.always(path, stall(10))
        mirror.server.when_asked(path, reached.release)

    def wait() -> None:
        for _ in range(8):  # of the 32 connections
            assert reached.acquire(timeout=PATIENCE), "the download did not begin"

    return wait


class Gate:
    """Where some of the files wait until a test lets them pass."""

    def __init__(self, mirror: Mirror) -> None:
        self._reached = threading.Semaphore(0)
        self._opened = threading.Event()
        for path in mirror.files:
            if path.endswith("B08.tif"):
                mirror.server.when_asked(path, self._pass)

    def _pass(self) -> None:
        self._reached.release()
        self._opened.wait(PATIENCE)

    def wait(self) -> None:
        """Wait until so many of the 32 connections stand before it."""
        for _ in range(8):
            assert self._reached.acquire(timeout=PATIENCE), "the download did not begin"

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(mirror: Mirror) -> Iterator[Gate]:
    made = Gate(mirror)
    yield made
    made.open()


Files = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def files_of() -> Files:
    def read(directory: Path) -> dict[str, bytes]:
        """All files below a directory, ours in ``.mlhub`` apart, by their paths."""
        return {
            path.relative_to(directory).as_posix(): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file() and ".mlhub" not in path.parts
        }

    return read
