"""Kinds of sources that other packages ship: imported where they are named, and only then."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.sources import open_source
from mlhub_core.sources.base import SourceSpec

MODULE = """
class Source:
    def __init__(self, text):
        self.text = text

    @classmethod
    def open(cls, spec, api_key, profile):
        return cls(spec.text)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that a package of somebody else's has."""
    name = "somebodys_kind_of_source"
    (tmp_path / f"{name}.py").write_text(MODULE)
    about = tmp_path / "somebodys-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[mlhub_core.sources]\nsomebodys = {name}:Source\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_one_that_is_named(installed: str) -> None:
    source = open_source(SourceSpec("anything", "somebodys"))
    assert type(source).__module__ == installed
    sys.modules.pop(installed)


def test_one_that_is_not(
    installed: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for text in ("somebodys", "somebodys://x", "http://127.0.0.1:9/x", str(tmp_path / "x.tar")):
        assert main(["download", text, "--output-dir", str(tmp_path / "out"), "-q"]) != 0
        assert installed not in sys.modules
    with pytest.raises(InvalidArgument, match="use one of"):
        open_source(SourceSpec("x", "nobodys"))
