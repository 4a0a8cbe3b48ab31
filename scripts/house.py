"""Measures how large ``mlhub_core`` is and how its modules hang together.

``make house`` prints the figures of the working tree; ``make house REVISION=e8c0d9b`` sets those of
a git revision, or of several, beside them.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

import grimp

ROOT = Path(__file__).parent.parent
PACKAGE = "mlhub_core"
COMPLEX = 10
"""McCabe complexity from which on a function counts as complex, exclusive."""

_NO_CODE = frozenset(
    (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
) | {tokenize.ENDMARKER}


class Lines(NamedTuple):
    """Lines of one module: all, those of code, and those of docstrings."""

    all: int
    code: int
    docstrings: int


def main() -> None:
    """Print the figures of the revisions that are named, and of the working tree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="a git revision")
    columns = {}
    for revision in parser.parse_args().revisions:
        with tempfile.TemporaryDirectory() as scratch:
            check_out(revision, Path(scratch))
            columns[revision] = measure(Path(scratch))
    columns["now"] = measure(ROOT)
    print(f"{PACKAGE:34}" + "".join(f"{name:>12}" for name in columns))
    for label in columns["now"]:
        print(f"{label:34}" + "".join(f"{figures[label]:>12}" for figures in columns.values()))


def check_out(revision: str, directory: Path) -> None:
    """Write the package as it was at a revision into a directory."""
    command = ["git", "-C", str(ROOT), "archive", revision, PACKAGE, "pyproject.toml"]
    archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")


def measure(root: Path) -> dict[str, str]:
    """All figures of the package in a directory, as text by their names."""
    lines = [
        count_lines(path.read_text("utf-8")) for path in sorted((root / PACKAGE).rglob("*.py"))
    ]
    total = Lines(*(sum(column) for column in zip(*lines, strict=True)))
    return {
        "modules": f"{len(lines):,}",
        "lines": f"{total.all:,}",
        "code lines": f"{total.code:,}",
        "median lines of a module": f"{statistics.median(one.all for one in lines):g}",
        "docstrings": f"{total.docstrings / total.all:.1%}",
        f"functions of complexity > {COMPLEX}": str(count_complex(root / PACKAGE)),
        **measure_imports(root),
    }


def count_lines(source: str) -> Lines:
    """Count the lines of a module; code is what is neither blank, nor comment, nor docstring."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if _is_docstring(node):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return Lines(len(source.splitlines()), len(code - docstrings), len(docstrings))


def _is_docstring(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether something is a text that stands by itself: those of attributes count, too."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def count_complex(package: Path) -> int:
    """Count functions of a high McCabe complexity, as ruff sees them."""
    limit = f"lint.mccabe.max-complexity={COMPLEX}"
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero"]
    command += ["--select", "C901", "--config", limit, "--output-format", "json", str(package)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return len(json.loads(found))


def measure_imports(root: Path) -> dict[str, str]:
    """How the modules import each other, inside of functions and for types alone included."""
    sys.path.insert(0, str(root))
    try:
        graph = grimp.build_graph(PACKAGE, cache_dir=None)
    finally:
        sys.path.remove(str(root))
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    circles = find_circles(imports)
    return {
        "import edges": f"{graph.count_imports():,}",
        "most imports of one module": str(max(map(len, imports.values()))),
        "longest import chain": str(longest_chain(imports, circles)),
        "circles of imports": str(len(set(circles.values()))),
    }


def find_circles(imports: dict[str, set[str]]) -> dict[str, frozenset[str]]:
    """The circle of each module that is in one: all that it imports that also import it."""
    reached = {module: _reached_from(module, imports) for module in imports}
    circles = {
        module: frozenset(other for other in reached[module] if module in reached[other])
        for module in imports
    }
    return {module: circle for module, circle in circles.items() if circle}


def _reached_from(module: str, imports: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    left = [module]
    while left:
        new = imports[left.pop()] - reached
        reached |= new
        left += new
    return reached


def longest_chain(imports: dict[str, set[str]], circles: dict[str, frozenset[str]]) -> int:
    """Modules in the longest chain of imports; a circle counts as one."""

    @cache
    def length(module: str) -> int:
        together = circles.get(module, frozenset({module}))
        below = {other for one in together for other in imports[one]} - together
        return 1 + max(map(length, below), default=0)

    return max(map(length, imports))


if __name__ == "__main__":
    main()
