"""What ``make house`` counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import house

SOURCE = '''"""A docstring
of two lines."""

# A comment.
import os  # behind code

NAME = """a text
of two lines"""
"""What it is."""


def first():
    """Say nothing."""
    return os
'''


def test_lines_of_code_are_what_is_left_without_blanks_comments_and_docstrings() -> None:
    assert house.count_lines(SOURCE) == house.Lines(all=14, code=5, docstrings=4)


@pytest.mark.parametrize(
    ("imports", "circles", "chain"),
    [
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, 0, 3),
        ({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}, 1, 3),
    ],
)
def test_circles_and_the_longest_chain(
    imports: dict[str, set[str]], circles: int, chain: int
) -> None:
    found = house.find_circles(imports)

    assert len(set(found.values())) == circles
    assert house.longest_chain(imports, found) == chain


def test_the_working_tree_has_no_circles() -> None:
    # Modules that import each other cannot be read, tested or moved one by one.
    assert list(house.measure_imports(house.ROOT).values())[-1] == "0"


@pytest.mark.slow
def test_the_command_sets_a_revision_beside_the_working_tree() -> None:
    command = [sys.executable, "scripts/house.py", "HEAD"]

    printed = subprocess.run(
        command, cwd=house.ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.splitlines()

    assert printed[0].split() == ["mlhub_core", "HEAD", "now"]
    modules = len([*Path(house.ROOT, "mlhub_core").rglob("*.py")])
    assert printed[1].split()[0] == "modules"
    assert printed[1].split()[-1] == str(modules)
    assert {len(line.rsplit(maxsplit=2)) for line in printed} == {3}
