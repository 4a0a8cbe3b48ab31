"""``make dashboard``: a server, a worker and a run; and an end to all of it."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.processes import command

pytestmark = pytest.mark.slow


def test_it_says_where_it_is_and_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    words = [sys.executable, "-u", "-m", "deployments.dashboard", str(tmp_path / "dash")]
    with command(words, tmp_path) as running:
        while "Ctrl-C ends all of it" not in running.out:  # pytest's own time limit ends the wait
            assert running.process.poll() is None, running.err
            time.sleep(0.2)  # or asking would take the processor from what is asked about
        assert "http://127.0.0.1:" in running.out
        running.process.send_signal(signal.SIGINT)
        assert running.wait(120) == 0
        assert "Ended" in running.out
        assert running.all_end(300)
