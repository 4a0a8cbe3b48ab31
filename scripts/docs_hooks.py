"""What the site has beyond its pages: parts that come from the code, and no page from elsewhere.

MkDocs calls these functions by their names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_UPWARDS = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)]*)\)")
# What a browser fetches by itself; a link that a reader follows may lead elsewhere.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*"
    r"|<link\b(?![^>]*\brel=[\"']?canonical)[^>]*\bhref=[\"']?(?:https?:)?//[^>]*"
)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what is generated in its place; what a link out of ``docs/`` leads to is only named."""
    source = ROOT / "docs" / page.file.src_path

    def within(found: re.Match[str]) -> str:
        target = (source.parent / found[2].partition("#")[0]).resolve()
        if target == ROOT / "README.md":
            home = "../" * page.file.src_path.count("/")
            return f"[{found[1]}]({home}index.md)"
        return found[0] if target.is_relative_to(ROOT / "docs") else found[1]

    markdown = _UPWARDS.sub(within, markdown)
    return _MARK.sub(lambda found: _GENERATED[found[1]](), markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a site that fetches anything from another host.

    Raises:
        SystemExit: naming the first page that does.
    """
    for path in sorted(Path(config["site_dir"]).rglob("*.html")):
        if found := _FETCHED.search(path.read_text("utf-8")):
            raise SystemExit(f"{path} fetches from another host: {found[0]}")


def commands() -> str:
    """The help of every command, a section each."""
    import os

    os.environ["COLUMNS"] = "100"
    from flows.console import build_parser as flows_parser
    from mlhub_core.cli import build_parser
    from mlhub_core.cli.help import without_common

    pieces = []
    for parser in [*_parsers(build_parser()), *_parsers(flows_parser())]:
        pieces.append(f"## {parser.prog}\n\n```text\n{without_common(parser.format_help())}\n```\n")
    return "\n".join([*pieces, "## Of all commands\n", environment()])


def environment() -> str:
    """Exit statuses and the environment's variables."""
    from mlhub_core.cli.help import COMMON

    return f"```text\n{COMMON}\n```\n"


def decisions() -> str:
    """A line for each decision."""
    lines = []
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        title = path.read_text("utf-8").splitlines()[0].lstrip("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines)


def _parsers(parser: Any) -> list[Any]:
    import argparse

    parser.complete()
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += _parsers(below)
    return found


_GENERATED = {"commands": commands, "environment": environment, "decisions": decisions}
