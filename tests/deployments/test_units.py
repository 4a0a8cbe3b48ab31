"""The units for systemd: well formed, and about programs that there are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deployments" / "systemd"
BIN = Path(sys.executable).parent


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    copies = []
    for unit in sorted(UNITS.glob("*.service")):
        text = unit.read_text("utf-8")
        assert "/opt/mlhub/.venv/bin/prefect" in text
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(text.replace("/opt/mlhub/.venv/bin", str(BIN)), "utf-8")
    assert len(copies) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, copies)], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "mlhub" in line]
    assert (done.returncode, ours) == (0, [])
