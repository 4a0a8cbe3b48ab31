"""Fixtures for all tests: an environment without the machine's settings, and a hub to ask."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from mlhub_core.hub.server import DemoHub
from tests.faultserver import FaultServer

_SETTINGS = ("MLHUB_API_KEY", "MLHUB_PROFILE", "MLHUB_ROOT_URL", "MLHUB_SERVE_API_KEY")
# A machine that is busy, or imports something first, fails no test by that; and the same examples
# each time, so that what is green stays green. `--hypothesis-profile search` looks for others, and
# for more of them: a test of costly examples takes a part of `settings.default.max_examples`.
_PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("patient", derandomize=True, **_PATIENT)
hypothesis.settings.register_profile("search", max_examples=1000, **_PATIENT)
hypothesis.settings.load_profile("patient")

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def pytest_configure() -> None:
    """Take Ctrl-C even in the background, where shells have it ignored, which children inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares expensive fixtures when two processes run the tests.

    Tests of flows share a Prefect server, the others what their module makes.
    """
    for item in items:
        module = item.nodeid.partition("::")[0]
        group = "prefect" if module.startswith("tests/flows/") else module
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No key, profile, hub or proxy of whoever runs the tests."""
    for name in (*_SETTINGS, *_PROXIES, *map(str.upper, _PROXIES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLHUB_HOME", str(tmp_path_factory.mktemp("home")))


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
