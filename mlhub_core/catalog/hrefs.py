"""What an asset's href points at: pure functions."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Two characters at least: one is a drive letter."""

_PLAIN_LINK = re.compile(r"[.]{1,2}/(?:[a-zA-Z0-9_./-]*/)?([a-zA-Z0-9_.-]+)[.]json")
"""A relative link to an item, with nothing in it to decode."""


class Relative(NamedTuple):
    """A relative href, as far as it is known before the whole archive has been read.

    Attributes:
        candidates: Where in the archive its file may be, best first; relative to the dataset's
            directory.
        url: What it is next to the item's own URL, None where that is unknown.
    """

    candidates: tuple[str, ...]
    url: str | None


def is_absolute(href: str) -> bool:
    """Whether an href is a URL by itself."""
    return _SCHEME.match(href) is not None


def resolve(href: str, directory: str, self_url: str | None) -> str | Relative:
    """Find out what an href points at.

    Args:
        href: As the catalog has it.
        directory: Where the file that holds it lies, relative to the dataset's directory.
        self_url: The absolute URL of that file, None where unknown.

    Returns:
        A URL, or where to look once it is known what the archive holds.
    """
    if is_absolute(href):
        return href
    url = _join(self_url, href)
    if href.startswith("//"):
        return url or "https:" + href
    literal = _beneath(directory, href)
    candidates = [literal]
    for other in (unquote(href), unquote(re.split("[?#]", href, maxsplit=1)[0])):
        candidate = _beneath(directory, other)
        if candidate not in candidates and "\0" not in candidate:
            candidates.append(candidate)
    return Relative(tuple(candidates), url)


def linked_directory(href: str, directory: str) -> str | None:
    """The directory within the archive that a relative link leads into; None of an absolute one."""
    if not href or is_absolute(href) or href.startswith("/"):
        return None
    return _beneath(directory, unquote(href)).rpartition("/")[0]


def linked_id(href: str) -> str:
    """The id of the item behind a link: the name of the file, without ``.json``.

    The file itself may lie anywhere in the archive and is not looked at.
    """
    plain = _PLAIN_LINK.fullmatch(href)
    if plain is not None:
        return plain[1]
    try:
        path = urlsplit(href).path
    except ValueError:
        path = href
    last = unquote(path.rstrip("/").rpartition("/")[2], errors="replace")
    return last[:-5] if last.lower().endswith(".json") and len(last) > 5 else last


def _beneath(directory: str, href: str) -> str:
    """Join and normalise; what would leave the top stays at the top, as in a browser."""
    parts = [] if href.startswith("/") else directory.split("/")
    result: list[str] = []
    for part in (*parts, *href.split("/")):
        if part == "..":
            if result:
                result.pop()
        elif part not in ("", "."):
            result.append(part)
    return "/".join(result)


def _join(base: str | None, href: str) -> str | None:
    if base is None:
        return None
    try:
        return urljoin(base, href)
    except ValueError:
        return None
