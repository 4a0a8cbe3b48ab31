"""Commands that were started with standard streams closed, as some supervisors do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlhub_core.hub.server import DemoHub

CLOSED = {"error": "2>&-", "output": ">&-", "all": "<&- >&- 2>&-"}
EACH = pytest.mark.parametrize(
    "closed",
    [pytest.param(CLOSED[name], marks=pytest.mark.slow, id=name) for name in ("error", "output")]
    + [pytest.param(CLOSED["all"], id="all")],
)


def run(closed: str, cwd: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    code = f"import sys; from mlhub_core.cli import main; sys.exit(main({list(words)!r}))"
    started = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code]
    return subprocess.run(started, cwd=cwd, capture_output=True, timeout=300)


@EACH
def test_a_download_works(at_demo_hub: DemoHub, tmp_path: Path, closed: str) -> None:
    words = ("download", "demo_crops", "--output-dir", "out", "--limit", "20")
    done = run(closed, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out" / "demo_crops" / "mlhub_stac_assets.parquet").read_bytes()
    assert table[:4] == table[-4:] == b"PAR1"
    assert b"Traceback" not in done.stdout + done.stderr


@EACH
def test_the_status_tells_what_nobody_hears(
    at_demo_hub: DemoHub, tmp_path: Path, closed: str
) -> None:
    done = run(closed, tmp_path, "download", "demo_crop", "--output-dir", "out")
    assert done.returncode == 2
    assert b"Traceback" not in done.stdout + done.stderr


def test_processes_that_a_command_starts_have_them(tmp_path: Path) -> None:
    child = "import sys; sys.exit(None in (sys.stdin, sys.stdout, sys.stderr))"
    code = (
        "import subprocess, sys; from mlhub_core.console import have_standard_streams; "
        f"have_standard_streams(); sys.exit(subprocess.call([sys.executable, '-c', {child!r}]))"
    )
    started = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(started, cwd=tmp_path, timeout=300).returncode == 0


def test_the_library_shows_no_progress_where_there_is_no_standard_error(
    at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    code = "from mlhub_core import Dataset; Dataset.fetch('demo_crops').download('out', limit=3)"
    started = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(started, cwd=tmp_path, timeout=300).returncode == 0
    assert any((tmp_path / "out" / "demo_crops").rglob("*.tif"))
