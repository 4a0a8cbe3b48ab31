"""Clients by scheme, and what each takes from the environment: proxies and trusted certificates.

Of proxies and certificates there is one rule for the API, for files and for Prefect, which
docs/surroundings.md explains. Nothing is read when this is imported.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.settings import AZURE_STORAGE_VERSION

LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")
"""This machine, as ``NO_PROXY`` writes it: no proxy leads to it."""

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


class Client(Protocol):
    """Makes requests of the URLs of a scheme.

    Attributes:
        signs: Whether its requests are signed, and expire: what is refused with 403 is then asked
            for once more, signed anew.
    """

    signs: bool

    def request(self, url: str, host: str) -> tuple[str, list[str]]:
        """URL and header lines of the next request for a file; asked for before each.

        Args:
            url: Of the file.
            host: Its host, and port where given.

        Returns:
            What libcurl is given. The lines must not be changed.
        """


class HttpClient:
    """Asks for a URL as it stands."""

    signs = False
    _LINES = ["Accept-Encoding: identity"]  # noqa: RUF012 - one and the same list for all requests
    _AZURE_LINES = [*_LINES, f"x-ms-version: {AZURE_STORAGE_VERSION}"]  # noqa: RUF012

    def request(self, url: str, host: str) -> tuple[str, list[str]]:
        """URL and header lines of the next request for a file."""
        is_azure = host.partition(":")[0].endswith(".blob.core.windows.net")
        return url, self._AZURE_LINES if is_azure else self._LINES


CLIENTS: dict[str, Client] = dict.fromkeys(("http", "https"), HttpClient())
"""Who asks for a URL, by its scheme. Another scheme is another client."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the certificates of those who are trusted lie.

    Attributes:
        path: A file with them one after the other, or a directory with a file for each, named by
            its hash.
        variable: The variable that says so; None where none does.
    """

    path: str
    variable: str | None = None

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return os.path.isdir(self.path)

    def bundle(self) -> bytes:
        """All of them in one text."""
        path = Path(self.path)
        return b"\n".join(file.read_bytes() for file in (_hashed(path) or [path]))


def certificates() -> Certificates:
    """The certificates of those who are trusted.

    The first of ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
    that is set; else certifi's, since the libcurl in pycurl's wheels looks where only some
    distributions keep theirs.

    Raises:
        InvalidArgument: if that variable names nothing with certificates in it.
    """
    for name in _CA_VARIABLES:
        given = os.environ.get(name, "").strip()
        if given:
            return Certificates(_checked(name, given), name)
    import certifi

    return Certificates(certifi.where())


def _checked(name: str, given: str) -> str:
    """A path that a variable names, if certificates are there."""
    # SSL_CERT_DIR may be a list, in which one or two places of other distributions stand.
    places = given.split(os.pathsep) if name == "SSL_CERT_DIR" else [given]
    there = [place for place in places if os.path.exists(place)]
    if len(there) != 1:
        what = "names several directories: name one" if there else "there is no such file"
        raise InvalidArgument(f"{name} is {given!r}: {what}. Correct or unset it.")
    path = Path(there[0])
    try:
        if path.is_dir():
            found = bool(_hashed(path))
        else:
            found = _holds_certificates(path, path.stat().st_mtime)
    except OSError as error:
        raise InvalidArgument(
            f"{name} is {given!r}: it cannot be read ({error.strerror}). Correct or unset it."
        ) from error
    if not found:
        how = " under their hashes, as `openssl rehash` names them" if path.is_dir() else ""
        raise InvalidArgument(
            f"{name} is {given!r}: there are no certificates in it{how}. Correct or unset it."
        )
    return str(path)


@lru_cache(maxsize=8)
def _holds_certificates(path: Path, changed: float) -> bool:
    """Whether a file holds some. To find out takes 50 ms, and every session asks."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _hashed(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if _HASHED.fullmatch(path.name))


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def without_login(url: str) -> str:
    """A URL without name and password."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def no_proxy() -> str:
    """The hosts that are asked directly, as ``NO_PROXY`` writes them: its own, and loopback."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return given if given.strip() == "*" else ",".join([*filter(None, [given]), *LOOPBACK])


def check_proxies(schemes: Collection[str] = _PROXY_SCHEMES) -> None:
    """Check the proxies of the environment, before anything is asked through one.

    Args:
        schemes: Those that whoever asks knows.

    Raises:
        InvalidArgument: if one cannot be; it is not repeated, as a password may be in it.
    """
    for kind, given in getproxies_environment().items():
        if kind in ("http", "https", "all") and (wrong := _wrong(given.strip(), schemes)):
            raise InvalidArgument(
                f"{kind}_proxy, or {kind.upper()}_PROXY, cannot be the URL of a proxy: {wrong}. "
                "Write it as in http://proxy.example:3128, or unset it."
            )


def _wrong(given: str, schemes: Collection[str]) -> str | None:
    """What is wrong with the URL of a proxy."""
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "its port is no number (is a sign in its password not percent-encoded?)"
    if parts.scheme.lower() not in schemes:
        return f"its scheme is none of {', '.join(schemes)}"
    if not re.fullmatch(r"[\w.:%-]+", host):
        return "it names no host"
    return "its port is 0" if port == 0 else None
