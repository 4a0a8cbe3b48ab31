"""What an href of the catalog says: where an asset's bytes come from, and which file they are.

The fingerprint of an asset tells one state of it in the catalog from the next. It covers the URL
with its query, ``file:size``, ``file:checksum`` and when asset and item were updated. Of a URL,
what changes though the file does not is left out: signatures and the host, which may be a mirror,
but for the bucket of an object store. Download, sync and verify go by it; a sync, which holds two
catalogs side by side, counts a move to another host as well.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from mlhub_core.net.checksums import parse_checksum
from mlhub_core.net.clients import CLIENTS
from mlhub_core.paths import https_url, is_ours
from mlhub_core.redact import remember
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.names import index_batches

if TYPE_CHECKING:
    from mlhub_core.selection.partition import Asset
    from mlhub_core.transfer.ledger import Entry

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_PLAIN = re.compile(r"[\x21-\x7e]+")
_USUAL = re.compile(r"https?://([a-z0-9.-]+(?::(?:[1-5][0-9]{4}|[1-9][0-9]{0,3}))?)/[\x21-\x7e]*")
"""URLs that need no reading, as are most: nothing in them to encode or to fold."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_PATH_SAFE = "/-_.~!$&'()*+,;=:@"

_VERSION = "2"
"""Before the digest. The first edition recorded :func:`path_digest`, without a mark."""
_LEGACY_LENGTH = 16

# fmt: off
_SIGNATURES = frozenset({
    "__gda__", "__token__", "access-token", "access_key", "access_token", "accesskeyid", "acl",
    "api-key", "api_key", "apikey", "auth", "auth-token", "auth_key", "auth_token", "authkey",
    "authorization", "awsaccesskeyid", "bearer", "credential", "credentials", "edl_token",
    "expiration", "expire", "expires", "expiry", "googleaccessid", "hdnea", "hdntl", "hdnts",
    "hmac", "id_token", "job_token", "jwt", "key-pair-id", "keyname", "kid", "ossaccesskeyid",
    "policy", "private_link", "private_token", "sas", "sas_token", "secret", "security-token",
    "session_token", "sig", "sign", "signature", "sigv", "sso_token", "subscription-key",
    "temp_url_expires", "temp_url_ip_range", "temp_url_prefix", "temp_url_sig", "tempauth",
    "ticket", "token", "token_path", "ttl", "urlprefix", "verify", "wssecret", "wstime",
})
# fmt: on
"""Parameters that sign a URL or say who asks, in lower case. What is in doubt is none of them: to
fetch once more is better than to keep what is another file."""
_FAMILIES = (
    *("x-amz-", "x-goog-", "x-oss-", "x-cos-", "x-obs-", "x-bce-", "x-ms-", "response-"),
    *("q-sign", "q-ak", "q-key-time", "q-header-list", "q-url-param-list"),
)
"""Beginnings of the parameters of AWS and what speaks like it, Google, Alibaba, Tencent, Huawei,
Baidu and Azure, and of those by which S3 is told how to dress its answer."""
# fmt: off
_AZURE = frozenset({
    "rscc", "rscd", "rsce", "rscl", "rsct", "saoid", "scid", "sdd", "se", "ses", "si", "sip",
    "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt", "ss", "st", "suoid",
    "sv",
})
# fmt: on
"""Parameters of a shared access signature: short, so they are that only beside ``sig``."""
_TIMED = frozenset({"e", "exp", "h", "md5", "s", "st", "t", "ts", "timestamp", "until"})
"""What links of limited life have: only beside a limit or a signature, and with such a value."""
_LIMITS = frozenset({"exp", "expires", "expire", "hmac", "sig", "sign", "signature", "token"})
_PASSING = re.compile(r"[A-Za-z0-9_=%+/:.-]{16,}|\d{9,}")
_KEYS = frozenset({"code", "key"})
_SECRET = re.compile(r"[A-Za-z0-9_=%+-]{40,}")
"""A value of ``code`` or ``key`` that is a secret, and no name."""
_LOOPBACK = re.compile(r"(127(?:\.\d+){3}|localhost|\[::1\])(?::\d+)?")
_DEFAULT_PORTS = re.compile(r":(?:80|443)?$")
_STORES = re.compile(
    r"([^/:]+)\.(?:s3[.-].*amazonaws\.com.*|storage\.googleapis\.com|(?:blob|dfs)\.core\..*"
    r"|oss-.*\.aliyuncs\.com|cos\..*\.myqcloud\.com|obs\..*\.myhuaweicloud\.com)"
)
"""Hosts that begin with the name of a bucket or an account."""


PREFIX = "a prefix of many files, such as a Zarr store: only single files are fetched"
_PREFIX = re.compile(r"[^?#]*(?:/|\.zarr)/?(?:[?#]|$)", re.IGNORECASE)
_PACKED_ZARR = re.compile(r"\.(?:zip|tar|json|parquet|kerchunk)[^/?#]*(?:[?#]|$)", re.IGNORECASE)
"""A store in one file, or a reference to one."""


class Remote(NamedTuple):
    """A URL to fetch; ``host`` is host and port, what connections are counted by."""

    url: str
    host: str


@dataclass(frozen=True, slots=True)
class InCatalog:
    """A file of this machine: one that the catalog holds, by its place once unarchived.

    Attributes:
        path: The place.
        where: Where it should be, in words.
    """

    path: Path
    where: str = "in the catalog archive"


@dataclass(frozen=True, slots=True)
class Unusable:
    """An href that leads nowhere, and why."""

    cause: str


def hrefs_of(asset: Asset, preferred: Sequence[str]) -> list[str]:
    """Where an asset is, in the order in which to try: the preferred, its own, the other ones.

    Args:
        asset: The asset.
        preferred: Names of alternates; the first that the asset has goes first.
    """
    if asset.alternates is None:
        return [asset.href]
    try:
        pairs = [(str(name), str(href) or asset.href) for name, href in loads(asset.alternates)]
    except ValueError:  # as somebody else wrote it
        return [asset.href]
    first = (href for wanted in preferred for name, href in pairs if name == wanted)
    others = [href for _, href in pairs]
    return list(dict.fromkeys([next(first, asset.href), asset.href, *others]))


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
    href: str,
    output_dir: Path,
    catalog_dir: Path,
    settings: TransferSettings,
    origin: Path | None = None,
) -> Remote | InCatalog | Unusable:
    """Find out where an href leads.

    Args:
        href: As the asset index has it.
        output_dir: What hrefs without a scheme are relative to.
        catalog_dir: The unarchived catalog; such hrefs must stay within it.
        settings: Mirrors and S3 endpoint.
        origin: Where the catalog's files lie instead, where it is not unarchived.
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
        return _in_catalog(href, output_dir, catalog_dir, origin)
    rewritten = https_url(href, settings.s3_endpoint)
    url = _mirrored(href, rewritten, settings) or rewritten
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if name == "file":
        return _local(url, settings)
    if name not in CLIENTS:
        return Unusable(f"URL scheme {name}: is not fetched")
    return _remote(url)


def is_prefix(href: str, media_type: str | None) -> bool:
    """Whether an asset is no file but a directory of many, such as a Zarr store."""
    if media_type is not None and "zarr" in media_type and not _PACKED_ZARR.search(href):
        return True
    return _PREFIX.match(href) is not None


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


def _local(url: str, settings: TransferSettings) -> InCatalog | Unusable:
    if not settings.allow_local_files:
        return Unusable(
            "URL scheme file: is not fetched; of a source that lies on this machine, "
            "--allow-local-files copies it"
        )
    try:
        parts = urlsplit(url)
        if parts.hostname not in (None, "localhost"):
            return Unusable("a file of another machine")
        return InCatalog(Path(url2pathname(parts.path)), "on this machine")
    except ValueError:
        return Unusable("malformed URL")


def _in_catalog(
    href: str, output_dir: Path, catalog_dir: Path, origin: Path | None
) -> InCatalog | Unusable:
    try:
        path, root = output_dir / href, (origin or catalog_dir).resolve()
        if origin is not None:
            path = origin / os.path.relpath(os.path.normpath(path), os.path.normpath(catalog_dir))
        path = path.resolve()
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


def fingerprint(href: str, file_size: int | None, checksum: str | None, updated: str | None) -> str:
    """The fingerprint of an asset, by what the catalog says of it."""
    text = f"{identity_of(href)}\n{file_size}\n{checksum}\n{updated}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    return _VERSION + digest.hexdigest()


def fingerprint_of(asset: Asset) -> str:
    """The fingerprint of an asset."""
    if asset.fingerprint is not None:
        return asset.fingerprint
    return fingerprint(asset.href, asset.file_size, asset.checksum, asset.updated)


def is_made_by(recorded: str, asset: Asset) -> bool:
    """Whether a recorded fingerprint, of whatever version, is that of an asset."""
    if len(recorded) == _LEGACY_LENGTH:
        return recorded == path_digest(asset.href)
    return recorded == fingerprint_of(asset)


def is_unchanged(entry: Entry, asset: Asset) -> bool | None:
    """Whether the catalog says of an asset what it said when its file was recorded.

    Returns:
        None where only the bytes can tell: the ledger is of the first edition, which recorded less,
        and the catalog has a checksum.
    """
    if entry.source == fingerprint_of(asset):
        return True
    checksum = parse_checksum(asset.checksum)
    if checksum is not None and checksum[0] == "sha256" and entry.sha256:
        return entry.sha256 == checksum[1]
    if asset.file_size not in (None, entry.size):
        return False
    if entry.source and not (
        len(entry.source) == _LEGACY_LENGTH and is_made_by(entry.source, asset)
    ):
        return False
    return None if checksum is not None else True


def identity_of(href: str) -> str:
    """What of an href names the file, wherever a mirror has it."""
    path, _, query = href.partition("#")[0].partition("?")
    mark = path.find("://")
    if mark >= 0:
        slash = path.find("/", mark + 3)
        slash = len(path) if slash < 0 else slash
        path = bucket_of(path[:slash]) + path[slash:]
    identifiers = _identifiers(query) if query else ""
    return f"{path}?{identifiers}" if identifiers else path


@lru_cache(maxsize=1024)
def bucket_of(origin: str) -> str:
    """What of ``scheme://host`` names a file as much as its path does: the bucket of a store."""
    scheme, _, host = origin.partition("://")
    if scheme.lower() not in ("http", "https"):
        return f"/{host}"
    store = _STORES.fullmatch(host.rpartition("@")[2].lower())
    return f"/{store[1]}" if store else ""


def host_of(href: str) -> str:
    """The host of an href, without passwords and the port of a server on this machine."""
    _, mark, rest = href.partition("://")
    if not mark:
        return ""
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].lower()
    host = _DEFAULT_PORTS.sub("", host)
    loopback = _LOOPBACK.fullmatch(host)
    return loopback[1] if loopback else host


def unsigned(href: str) -> str:
    """An href without what signs it or says who asks: what is left names the file to everybody."""
    path, _, query = href.partition("#")[0].partition("?")
    scheme, mark, rest = path.partition("://")
    if mark:
        host, slash, tail = rest.partition("/")
        path = f"{scheme}://{host.rpartition('@')[2]}{slash}{tail}"
    named = "&".join(part for _, part in _naming(query)) if query else ""
    return f"{path}?{named}" if named else path


def _identifiers(query: str) -> str:
    """The parameters of a query that name the file, in order of their names."""
    return "&".join(part for _, part in sorted(_naming(query)))


def _naming(query: str) -> list[tuple[str, str]]:
    """The parameters of a query that name the file, each with its name in lower case."""
    given = [(part.partition("=")[0].lower(), part) for part in query.split("&") if part]
    names = {name for name, _ in given}
    signs = _SIGNATURES | _AZURE if "sig" in names else _SIGNATURES
    timed = _TIMED if names & _LIMITS else frozenset[str]()

    def names_it(name: str, value: str) -> bool:
        if name in signs or name.startswith(_FAMILIES):
            return False
        if name in timed:
            return _PASSING.fullmatch(value) is None
        return name not in _KEYS or _SECRET.fullmatch(value) is None

    return [(name, part) for name, part in given if names_it(name, part[len(name) + 1 :])]


def path_digest(href: str) -> str:
    """What the first edition recorded: a short digest of the path of an href."""
    path = href.partition("#")[0].partition("?")[0]
    mark = path.find("://")
    if mark >= 0 and "/" not in path[:mark]:
        slash = path.find("/", mark + 3)
        path = path[slash:] if slash >= 0 else ""
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:16]
