"""Ctrl-C and SIGTERM at any moment: one last line, no traceback, and nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mlhub_core.hub.server import DemoHub
from tests.faultserver import FaultServer, stall


def run(code: str, cwd: Path, *, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    begin = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " if ignored else ""
    return subprocess.run(
        [sys.executable, "-P", "-c", begin + code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_stopped(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "Stopped." in done.stderr.splitlines()[-1]


MOMENTS = [
    ("argparse", "SIGINT"),  # of the command itself
    pytest.param("mlhub_core.pipeline", "SIGTERM", marks=pytest.mark.slow),
    pytest.param("pyarrow.lib", "SIGINT", marks=pytest.mark.slow),
    ("pydantic.fields", "SIGINT"),  # while classes are built
]


@pytest.mark.parametrize(("module", "number"), MOMENTS)
def test_while_something_is_imported(
    at_demo_hub: DemoHub, tmp_path: Path, module: str, number: str
) -> None:
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        f"            os.kill(os.getpid(), signal.{number})\n"
        "sys.modules.pop('argparse', None)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv[1:] = ['download', 'demo_crops', '--limit', '3', '-q', '--output-dir', 'out']\n"
        "from mlhub_core.__main__ import run\n"
        "sys.exit(run())\n"
    )
    assert_stopped(run(code, tmp_path))


@pytest.mark.parametrize("gap", [0.0, pytest.param(0.25, marks=pytest.mark.slow)])
def test_ten_in_a_row_in_the_middle_of_a_download(
    server: FaultServer, at_demo_hub: DemoHub, tmp_path: Path, gap: float
) -> None:
    root = at_demo_hub.directory / "assets"
    asked = threading.Event()
    for path in root.rglob("*"):
        if path.is_file():
            name = f"/{path.relative_to(root).as_posix()}"
            server.put(name, path.read_bytes())
            server.always(name, stall(10))
            server.when_asked(name, asked.set)
    words = ["download", "demo_crops", "--output-dir", "out", "-q"]
    words += [f"--mirror={at_demo_hub.asset_base_url}={server.url('')}"]
    code = f"import sys; sys.argv[1:] = {words!r}; "
    code += "from mlhub_core.__main__ import run; sys.exit(run())"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert asked.wait(300)
    for _ in range(10):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        if gap:
            with suppress(subprocess.TimeoutExpired):
                process.wait(gap)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "Stopped." in said.splitlines()[-1]


RAISED_WRONGLY = {
    "where Python can raise nothing": """
class Odd:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        [None for _ in range(1000)]
def work():
    Odd()
    time.sleep(50)
""",
    "where a library makes another error of it": """
def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(50)
    except BaseException as error:
        raise RuntimeError("odd") from error
""",
}


@pytest.mark.parametrize("body", RAISED_WRONGLY.values(), ids=RAISED_WRONGLY)
def test_where_it_is_raised_wrongly(tmp_path: Path, body: str) -> None:
    code = (
        f"import os, signal, sys, time\n{body}"
        "from mlhub_core.cli.process import reporting_errors\n"
        "with reporting_errors('mlhub') as status:\n    work()\n"
        "sys.exit(status())\n"
    )
    assert_stopped(run(code, tmp_path))


def test_what_a_shell_has_ignored_stays_ignored(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom mlhub_core.cli.process import reporting_errors\n"
        "with reporting_errors('mlhub') as status:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(status())\n"
    )
    assert run(code, tmp_path, ignored=True).returncode == 0
