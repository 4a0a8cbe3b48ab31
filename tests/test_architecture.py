"""The map for people who carry on names files that are there, and every package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
_PATH = re.compile(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:py|md|toml|txt))`")
_NOT_OURS = {".mlhub/", ".mlhub/log/", "mlhub_stac_assets.parquet"}


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_the_files_that_it_names_are_there(name: str) -> None:
    named = set(_PATH.findall((PROJECT / name).read_text("utf-8"))) - _NOT_OURS
    assert len(named) > 5
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_it_names_every_package() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text("utf-8")
    packages = [path.parent.name for path in (PROJECT / "mlhub_core").glob("*/__init__.py")]
    assert [name for name in packages if f"`mlhub_core/{name}/`" not in text] == []
