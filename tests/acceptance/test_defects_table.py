"""The table of defects names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TABLE = (PROJECT / "docs" / "defects.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SECTIONS = ("Security", "Bytes", "Retries", "Filters", "Names", "API")


@cache
def _tests_of(path: str) -> frozenset[str]:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def _rows(section: str) -> list[str]:
    text = TABLE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_names_tests_that_exist(section: str) -> None:
    rows = _rows(section)
    assert len(rows) >= 3
    for row in rows:
        _, defect, tests, _ = row.split("|")
        named = NAMED.findall(tests)
        assert defect.strip()
        assert named
        assert NAMED.sub("", tests).strip() == "", f"not the name of a test: {tests}"
        for path, name in named:
            assert (PROJECT / path).is_file(), path
            assert name in _tests_of(path), f"{path} has no {name}"


def test_no_row_lies_outside_the_sections() -> None:
    rows = [line for line in TABLE.splitlines() if "::test_" in line and line.startswith("|")]
    assert len(rows) == sum(len(_rows(section)) for section in SECTIONS)
