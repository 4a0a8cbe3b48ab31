"""What a notebook shows of an object: one card of HTML that needs nothing else and asks nobody.

Titles and citations come from catalogs that anybody may have written: all text is escaped, cut to
a length, and freed of secrets. Colours are those of the page around it, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mlhub_core.redact import redact
from mlhub_core.views.map import data_url

MOST_ROWS = 50
"""Rows shown of a table; how many more there are is said."""
_LONGEST = 500
_CARD = (
    "border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:10px 14px;margin:4px 0;"
    "max-width:760px;color:inherit;background:transparent;font-size:13px;line-height:1.45"
)
_CELL = "padding:2px 14px 2px 0;text-align:left;vertical-align:top;color:inherit;border:none"
_ROW = "background:transparent;color:inherit"
_TABLE = "border-collapse:collapse;color:inherit"
_QUIET = "opacity:.65"

Pair = tuple[str, str | None]


def shown(text: object) -> str:
    """A text as HTML shows it as it stands, on one line and of a bounded length."""
    line = " ".join(redact(text).split())
    return escape(line if len(line) <= _LONGEST else line[:_LONGEST] + "…")


def card(title: object, *parts: str) -> str:
    """A card.

    Args:
        title: Its first line.
        *parts: HTML below it, such as of :func:`pairs`; empty ones are left out.
    """
    head = f'<div style="font-size:16px;font-weight:600;margin-bottom:6px">{shown(title)}</div>'
    return f'<div style="{_CARD}">{head}{"".join(filter(None, parts))}</div>'


def pairs(rows: Iterable[Pair]) -> str:
    """Names and what they are; those that are nothing are left out."""
    cells = "".join(
        f'<tr style="{_ROW}"><th style="{_CELL};font-weight:500;{_QUIET};'
        f'white-space:nowrap">{shown(name)}</th><td style="{_CELL}">{shown(value)}</td></tr>'
        for name, value in rows
        if value
    )
    return f'<table style="{_TABLE};margin:0 0 6px">{cells}</table>'


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; numbers are at the right. Nothing where it has no rows."""
    if not rows:
        return ""
    top = "".join(
        f'<th style="{_CELL};font-weight:500;{_QUIET}">{shown(head)}</th>' for head in heads
    )
    body = "".join(
        f'<tr style="{_ROW}">{"".join(map(_cell, row))}</tr>' for row in rows[:MOST_ROWS]
    )
    more = len(rows) - MOST_ROWS
    rest = note(f"and {more:,} more") if more > 0 else ""
    return (
        f'<table style="{_TABLE};margin:6px 0">'
        f'<thead><tr style="{_ROW}">{top}</tr></thead><tbody>{body}</tbody>'
        f"</table>{rest}"
    )


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td style="{_CELL};text-align:right">{value:,}</td>'
    return f'<td style="{_CELL}">{shown("" if value is None else value)}</td>'


def note(text: str) -> str:
    """A remark."""
    return f'<div style="{_QUIET};font-size:12px">{shown(text)}</div>'


def picture(svg: str) -> str:
    """A picture of :mod:`mlhub_core.views.map`: an image, in which no script can run."""
    return (
        f'<img src="{data_url(svg)}" alt="Map of footprints" '
        'style="max-width:100%;border-radius:4px;margin:6px 0">'
    )
