"""The command on a machine where everything takes long: what it says first, and that it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core.hub.server import DemoHub
from tests.processes import command, download_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SLOW_SECONDS = 60

# Python runs this before anything else, in the command and in its server.
CUSTOM = f"""
import importlib.abc, sys, time

SERVER = any("server_process.py" in word for word in sys.orig_argv)

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "prefect" and not SERVER:
            print("prefect is being imported", file=sys.stderr, flush=True)
        if name == "uvicorn" and SERVER:
            time.sleep({SLOW_SECONDS})

sys.meta_path.insert(0, Watch())
"""


def test_an_api_that_takes_a_minute_to_come_up(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    custom = tmp_path / "custom"
    custom.mkdir()
    (custom / "sitecustomize.py").write_text(CUSTOM)
    words = download_words("demo_crops", "--output-dir", "out", "--datetime", "2021-03")
    with command(words, tmp_path, PYTHONPATH=str(custom)) as running:
        assert running.wait(300) == 0, running.err
        assert running.all_end(300)
    first, second, *others = running.err.splitlines()
    assert first.startswith("Starting a Prefect API server")
    assert second == "prefect is being imported"
    assert second not in others
    assert "files are here" in running.out
