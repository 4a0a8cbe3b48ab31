"""Fixtures for all tests: an environment without the machine's settings, and a hub to ask."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from mlhub_core.hub.server import DemoHub
from tests.faultserver import FaultServer

_IN_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30


def _room() -> Path | None:
    """Memory, where there is much of it: a run writes 70,000 files.

    Whoever sets TMPDIR has them there. Programs are built and run, too, so not where none may be.
    """
    with suppress(OSError, AttributeError):
        allowed = not os.statvfs(_IN_MEMORY).f_flag & os.ST_NOEXEC
        if allowed and shutil.disk_usage(_IN_MEMORY).free > _ROOM and "TMPDIR" not in os.environ:
            return _IN_MEMORY
    return None


def _have_a_directory() -> None:
    """Have temporary files in a directory of this run, which goes with it.

    Two runs on one machine, or killed processes of an earlier one, touch nothing of each other.
    `--basetemp` keeps what tests wrote.
    """
    ours, pid = tempfile.mkdtemp(prefix="mlhub-tests-", dir=_room()), os.getpid()
    os.chmod(ours, 0o711)  # servers that run as another user have their files below it
    os.environ["TMPDIR"] = ours
    tempfile.tempdir = None  # which was found out before
    atexit.register(lambda: os.getpid() == pid and shutil.rmtree(ours, ignore_errors=True))


if "PYTEST_XDIST_WORKER" not in os.environ:  # they have that of the run
    _have_a_directory()
# Or each of a hundred commands compiles all that it imports, and pytest each test anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_SETTINGS = ("MLHUB_API_KEY", "MLHUB_PROFILE", "MLHUB_ROOT_URL", "MLHUB_SERVE_API_KEY")
# A machine that is busy, or imports something first, fails no test by that; and the same examples
# each time, so that what is green stays green: few of them here, more in `make test-slow`.
# `--hypothesis-profile search` looks for others. A test of costly examples takes a part of
# `settings.default.max_examples`.
_PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("patient", derandomize=True, max_examples=50, **_PATIENT)
hypothesis.settings.register_profile("thorough", derandomize=True, max_examples=300, **_PATIENT)
hypothesis.settings.register_profile("search", max_examples=1000, **_PATIENT)
hypothesis.settings.load_profile("patient")

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def pytest_configure() -> None:
    """Take Ctrl-C even in the background, where shells have it ignored, which children inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps together what shares expensive fixtures when two processes run the tests.

    Tests of flows share a Prefect server, the others what their module makes. Marks of groups
    would say so too, but xdist 3.8 loses them with pytest 9.2 (pytest-dev/pytest-xdist#1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "prefect" if module.startswith("tests/flows/") else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Give the tests to the processes by what they share, whatever ``--dist`` says."""
    return Together(config, log)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directories one after the other; pytest looks at all that are there to number the next."""
    root = tmp_path_factory.mktemp("homes")
    return (root / str(number) for number in count())


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> None:
    """No key, profile, hub or proxy of whoever runs the tests."""
    for name in (*_SETTINGS, *_PROXIES, *map(str.upper, _PROXIES)):
        monkeypatch.delenv(name, raising=False)
    home = next(homes)
    home.mkdir(mode=0o700)
    monkeypatch.setenv("MLHUB_HOME", str(home))


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Commands set the level of our loggers; the next test must find them as they were."""
    logger = logging.getLogger("mlhub_core")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture(scope="session")
def demo_hub() -> Iterator[DemoHub]:
    """The demo hub, for the whole session; tests only read from it."""
    with DemoHub() as hub:
        yield hub


@pytest.fixture
def at_demo_hub(demo_hub: DemoHub, monkeypatch: pytest.MonkeyPatch) -> DemoHub:
    """The environment points at the demo hub."""
    monkeypatch.setenv("MLHUB_ROOT_URL", demo_hub.url)
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    return demo_hub


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that misbehaves as the test asks."""
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded responses; skips where there is none."""
    place = os.environ.get("MLHUB_RECORDED")
    if not place:
        pytest.skip("MLHUB_RECORDED is unset")
    return Path(place)
