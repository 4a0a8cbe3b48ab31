"""What an asset's href points at: pure functions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

from mlhub_core.sources.members import BEYOND

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Two characters at least: one is a drive letter."""

_NEARBY = re.compile(r"(?:\./)?([\w~-][\w.~-]*(?:/[\w~-][\w.~-]*)*)", re.ASCII)
"""The usual relative hrefs, which need no more than to be put behind their directory."""
_DECODED = re.compile("[%?#]")
_API_ITEM = re.compile("/(collections/[^/?#]+/items/[^/?#]+)/?(?:[?#].*)?$")
"""How a STAC API calls an item."""


_GDAL = re.compile(r"/vsi([a-z0-9]+?)(?:_streaming)?([/?].*)", re.DOTALL)
"""How GDAL calls a file by the way that it is read."""
_GDAL_STORES = {"s3": "s3://", "gs": "gs://", "oss": "oss://", "az": "az://", "adls": "abfs://"}
_GDAL_ARCHIVES = {"zip": (".zip", ".kmz"), "tar": (".tar.gz", ".tgz", ".tar"), "7z": (".7z",)}
_GDAL_CONTAINERS = frozenset({*_GDAL_ARCHIVES, "gzip", "sparse", "cached", "crypt", "rar"})


class Relative(NamedTuple):
    """A relative href, as far as it is known before the whole archive has been read.

    Attributes:
        candidates: Where in the archive its file may be, best first; relative to the dataset's
            directory.
        url: What it is next to the item's own URL, or on the machine that made the catalog; None
            where that is unknown.
    """

    candidates: tuple[str, ...]
    url: str | None

    @property
    def identity(self) -> str:
        """What two of them share exactly when they point at the same file."""
        return f"{self.candidates[0]}\0{self.url or ''}"


def plain_href(href: str) -> str:
    """An href as a URL or a path, whatever of Windows or of GDAL it was written for.

    GDAL's ``/vsicurl/`` and its like stand for the URL behind them; ``/vsizip/`` for the archive as
    a whole, since what is fetched is files.
    """
    href = href.strip()
    found = _GDAL.fullmatch(href)
    if found is None:
        return href if "\\" not in href or is_absolute(href) else href.replace("\\", "/")
    kind, rest = found[1], found[2]
    if kind == "curl":
        return _behind_curl(rest)
    if kind in _GDAL_STORES:
        return _GDAL_STORES[kind] + rest[1:]
    if kind in _GDAL_CONTAINERS:
        return plain_href(_container(rest[1:], _GDAL_ARCHIVES.get(kind, ())))
    return href


def _behind_curl(rest: str) -> str:
    """The URL behind ``/vsicurl/``, or among what is asked of ``/vsicurl?``."""
    if rest.startswith("?"):
        return next(iter(parse_qs(rest[1:]).get("url", ())), rest)
    return rest[1:]


def _container(rest: str, endings: tuple[str, ...]) -> str:
    """The archive in ``archive.zip/inside.tif`` or ``{archive}/inside.tif``."""
    if rest.startswith("{"):
        return rest[1:].partition("}")[0]
    for ending in endings:
        at = rest.lower().find(f"{ending}/")
        if at >= 0:
            return rest[: at + len(ending)]
    return rest


def is_absolute(href: str) -> bool:
    """Whether an href is a URL by itself."""
    return _SCHEME.match(href) is not None


def resolve(
    href: str, directory: str, self_url: str | None, base: str | None = None
) -> str | Relative:
    """Find out what an href points at.

    Args:
        href: As the catalog has it.
        directory: Where the file that holds it lies, relative to the dataset's directory.
        self_url: The absolute URL that the file gives itself, None where unknown.
        base: Where the file came from, if it is no file of an archive: it is next to that.

    Returns:
        A URL, or where to look once it is known what the archive holds.
    """
    if is_absolute(href):
        return href
    url = joined(base or self_url, href)
    if url is not None and base is not None:
        return url
    if href.startswith("//"):
        return url or "https:" + href
    if url is None and href.startswith("/"):
        url = f"file://{quote(href, errors='surrogatepass')}"
    return Relative(_candidates(href, directory), url)


def above_of(path: str) -> str:
    """The directories above the root that a path begins with, each with its slash."""
    return f"{BEYOND}/" * path.count(f"{BEYOND}/")


def linked_paths(href: str, directory: str) -> tuple[str, ...]:
    """Where in the archive the file behind a link may be; none of a URL."""
    href = plain_href(href)
    if is_absolute(href) or href.startswith("//"):
        return ()
    return _candidates(href, directory)


def linked_items(href: str, path: str, self_url: str | None) -> tuple[str, ...]:
    """What an item behind a link may be called: by its path in the archive, or by a STAC API.

    Args:
        href: As the catalog has it.
        path: Where the file that holds it lies, relative to the dataset's directory.
        self_url: The absolute URL of that file, None where unknown.
    """
    if not is_absolute(href):
        return linked_paths(href, path.rpartition("/")[0])
    called = _API_ITEM.search(href)
    if called is not None:
        return (unquote(called[1], errors="replace"),)
    top = self_url.removesuffix(path) if self_url else href
    return linked_paths(href[len(top) :], "") if top != self_url and href.startswith(top) else ()


def linked_directory(href: str, directory: str) -> str | None:
    """The directory within the archive that a relative link leads into; None of an absolute one."""
    if not href or is_absolute(href) or href.startswith("/"):
        return None
    found = _beneath(directory, unquote(href)).rpartition("/")[0]
    return None if BEYOND in found else found


def linked_id(href: str) -> str:
    """The id of the item behind a link: the name of the file, without ``.json``.

    The file itself may lie anywhere in the archive and is not looked at.
    """
    try:
        path = urlsplit(href).path
    except ValueError:
        path = href
    last = unquote(path.rstrip("/").rpartition("/")[2], errors="replace")
    return last[:-5] if last.lower().endswith(".json") and len(last) > 5 else last


def _candidates(href: str, directory: str) -> tuple[str, ...]:
    candidates = [_beneath(directory, href)]
    if _DECODED.search(href) is None:
        return tuple(candidates)
    for other in (unquote(href), unquote(re.split("[?#]", href, maxsplit=1)[0])):
        candidate = _beneath(directory, other)
        if candidate not in candidates and "\0" not in candidate:
            candidates.append(candidate)
    return tuple(candidates)


def _beneath(directory: str, href: str) -> str:
    """Join and normalise. What leaves the top is spelled so that it is no file of the archive's.

    As a browser has it, it would stay at the top, and be whatever file has that name there.
    """
    parts = [] if href.startswith("/") else directory.split("/")
    result: list[str] = []
    for part in (*parts, *href.split("/")):
        if part == "..":
            if result and result[-1] != BEYOND:
                result.pop()
            else:
                result.append(BEYOND)
        elif part not in ("", "."):
            result.append(part)
    return "/".join(result)


def joined(base: str | None, href: str) -> str | None:
    """The URL of an href next to another one; None where that is not known, or none comes of it."""
    if base is None:
        return None
    try:
        nearby = _NEARBY.fullmatch(href)
        directory = _directory_of(base) if nearby else None
        return directory + nearby[1] if nearby and directory else urljoin(base, href)
    except ValueError:
        return None


@lru_cache(maxsize=16)
def _directory_of(base: str) -> str | None:
    """The URL of the directory that a document lies in; None where a URL has none."""
    found = urljoin(base, ".")
    return found if found.endswith("/") and "://" in found else None
