"""The caps on archives can be set on the command line, and say so when they are met."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.hub.server import DemoHub


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--max-members", "ArchiveLimits.max_members (--max-members)"),
        ("--max-bytes", "ArchiveLimits.max_bytes (--max-bytes)"),
        ("--max-json-bytes", "ArchiveLimits.max_json_bytes (--max-json-bytes)"),
    ],
)
def test_a_cap_that_is_met(
    option: str,
    setting: str,
    at_demo_hub: DemoHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["download", "demo_crops", "--output-dir", str(tmp_path), "-q"]
    assert main([*words, option, "100"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert setting in line


def test_caps_that_are_not_met(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    words = ["download", "demo_crops", "--output-dir", str(tmp_path), "-q"]
    assert main([*words, "--max-members", "100"]) == 3
    caps = [f"--max-{what}=100000000" for what in ("members", "bytes", "json-bytes")]
    assert main([*words, *caps, "--collection", "demo_crops_plots=labels"]) == 0


def test_a_cap_of_nothing(
    at_demo_hub: DemoHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["download", "demo_crops", "--output-dir", str(tmp_path / "new"), "--max-members", "0"]
    assert main(words) == 2
    assert "max_members is 0" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
