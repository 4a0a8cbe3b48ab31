"""The code in docs/ does what its pages say: each block is run as it stands, on the demo hub.

Blocks of a console, which begin with ``$``, need a network or a terminal, and are only read.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.console import build_parser as flows_parser
from mlhub_core.cli import build_parser

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md")), DOCS / "troubleshooting.md"]
_BLOCK = re.compile(r"^```(bash|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL_ENDS = ("|", "||", ">", "&&", "#")


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page: their language, and their text."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text("utf-8"))]


def lines(text: str) -> Iterator[list[str]]:
    """The commands of a block as words, up to what the shell does with them."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        ends = [number for number, word in enumerate(words) if word in _SHELL_ENDS]
        yield words[: ends[0]] if ends else words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_understood(page: Path) -> None:
    for language, text in blocks(page):
        for words in lines(text) if language != "python" else ():
            for name, parser in (("mlhub", build_parser), ("mlhub-flows", flows_parser)):
                if words[:1] == [name]:
                    parser().parse_args(words[1:])


def test_the_page_on_hubs_is_true(tmp_path: Path) -> None:
    run(DOCS / "how-to" / "a-hub-of-your-own.md", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    run(page, tmp_path)


def run(page: Path, directory: Path) -> None:
    """Run the blocks of a page in turn: those of Python as one program, as a notebook would."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    cells = [text for language, text in blocks(page) if language == "python"]
    for language, text in blocks(page):
        if language == "bash":
            finish(["bash", "-euo", "pipefail", "-c", text], directory, env)
    if cells:
        finish([sys.executable, "-c", "\n".join(cells)], directory, env)


def finish(command: list[str], directory: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=directory, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
