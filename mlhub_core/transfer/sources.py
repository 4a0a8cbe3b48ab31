"""Where an asset's bytes come from: from the href of the catalog to a URL or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from mlhub_core.net.clients import CLIENTS
from mlhub_core.paths import https_url, is_ours
from mlhub_core.redact import remember
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.names import index_batches

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_PLAIN = re.compile(r"[\x21-\x7e]+")
_USUAL = re.compile(r"https?://([a-z0-9.-]+(?::(?:[1-5][0-9]{4}|[1-9][0-9]{0,3}))?)/[\x21-\x7e]*")
"""URLs that need no reading, as are most: nothing in them to encode or to fold."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PATH_SAFE = "/-_.~!$&'()*+,;=:@"


class Remote(NamedTuple):
    """A URL to fetch; ``host`` is host and port, what connections are counted by."""

    url: str
    host: str


@dataclass(frozen=True, slots=True)
class InCatalog:
    """A file that the catalog archive holds, by its place once unarchived."""

    path: Path


@dataclass(frozen=True, slots=True)
class Unusable:
    """An href that leads nowhere, and why."""

    cause: str


def with_logins(settings: TransferSettings) -> TransferSettings:
    """Settings whose mirrors say who logs in, where the netrc file of this machine knows."""
    if not settings.mirrors:
        return settings
    mirrors = tuple((prefix, _with_login(url)) for prefix, url in settings.mirrors)
    return replace(settings, mirrors=mirrors)


def _with_login(url: str) -> str:
    from requests.utils import get_netrc_auth

    try:
        known = None if "@" in urlsplit(url).netloc else get_netrc_auth(url)
    except ValueError:  # what is wrong with the URL is said of each file
        known = None
    if known is None:
        return url
    login, password = known
    remember(password)
    return url.replace("//", f"//{quote(login, safe='')}:{quote(password, safe='')}@", 1)


def locate(
    href: str, output_dir: Path, catalog_dir: Path, settings: TransferSettings
) -> Remote | InCatalog | Unusable:
    """Find out where an href leads.

    Args:
        href: As the asset index has it.
        output_dir: What hrefs without a scheme are relative to.
        catalog_dir: The unarchived catalog; such hrefs must stay within it.
        settings: Mirrors and S3 endpoint.
    """
    usual = None if settings.mirrors else _USUAL.fullmatch(href)
    if usual is not None:
        return Remote(href, usual[1])
    href = href.strip()
    if not href:
        return Unusable("no URL")
    if _CONTROL.search(href):
        return Unusable("malformed URL")
    scheme = _SCHEME.match(href)
    if scheme is None and not _mirrored(href, href, settings):
        return _in_catalog(href, output_dir, catalog_dir)
    rewritten = https_url(href, settings.s3_endpoint)
    url = _mirrored(href, rewritten, settings) or rewritten
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if name not in CLIENTS:
        return Unusable(f"URL scheme {name}: is not fetched")
    return _remote(url)


def _mirrored(href: str, rewritten: str, settings: TransferSettings) -> str | None:
    """The URL at the mirror with the longest prefix of the href, before or after rewriting."""
    best = ""
    url = None
    for prefix, replacement in settings.mirrors:
        if len(prefix) <= len(best):
            continue
        if rewritten.startswith(prefix):
            best, url = prefix, replacement + rewritten[len(prefix) :]
        elif href.startswith(prefix):
            # Only s3:// hrefs differ from their rewritten form, and their keys are not encoded.
            best, url = prefix, replacement + quote(href[len(prefix) :], safe=_PATH_SAFE)
    return url


def _remote(url: str) -> Remote | Unusable:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if not host:
            return Unusable("malformed URL")
        if not _PLAIN.fullmatch(url):
            if not host.isascii():
                ascii_host = host.encode("idna").decode("ascii")
                netloc = parts.netloc.lower().replace(host, ascii_host)
                url = parts._replace(netloc=netloc).geturl()
            # Browsers and servers take UTF-8, percent-encoded; what is encoded already stays.
            url = quote(url, safe=_PRINTABLE, errors="strict")
    except (ValueError, UnicodeError):
        return Unusable("malformed URL")
    return Remote(url, f"{host}:{port}" if port else host)


def _in_catalog(href: str, output_dir: Path, catalog_dir: Path) -> InCatalog | Unusable:
    try:
        path = (output_dir / href).resolve()
        root = catalog_dir.resolve()
        inside = path.is_relative_to(root)
        ours = inside and path != root and is_ours(path.relative_to(root).parts[0])
    except (OSError, RuntimeError, ValueError):  # a loop of links, an unencodable name
        return Unusable("malformed URL")
    if not inside:
        return Unusable("leads out of the catalog archive")
    if ours:
        return Unusable("leads to our own state")
    return InCatalog(path)


def asset_hosts(partitions: Iterable[Partition], settings: TransferSettings) -> set[str]:
    """The hosts, with their port where one is given, that partitions ask; mirrors are applied.

    Raises:
        StorageError: if a partition file cannot be read.
    """
    nowhere = Path("/")
    hosts: set[str] = set()
    for partition in partitions:
        for (hrefs,) in index_batches(partition.path, ("href",), StopFlag()):
            urls = (href for href in hrefs if settings.mirrors or "://" in href)
            found = (locate(url, nowhere, nowhere, settings) for url in urls)
            hosts |= {source.host for source in found if isinstance(source, Remote)}
    return hosts
