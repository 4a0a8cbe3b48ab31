"""Links to the files of a hub that has a key: signed, so that they need none, for a week or so.

Whoever downloads a catalog has shown the key; the assets that it names are then fetched by clients
that send no key outside of the API. So the hub signs the links that it hands out, those inside of
catalogs too.
"""

from __future__ import annotations

import gzip
import hmac
import io
import logging
import os
import re
import shutil
import tarfile
import tempfile
import time
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from mlhub_core.hub.files import OncePerState

log = logging.getLogger(__name__)

_DAY = 86_400
VALID_DAYS = 7
"""A link is good for so many days, up to one more: those of one day are the same, so that a catalog
does not change with every request."""
_MOST_JSON = 64 * 1024 * 1024
"""Longer members of a catalog are left as they are."""


class Signer:
    """Signs URLs of files, and tells whether a request has a signature.

    Args:
        key: The hub's key.
        files: Where the paths of files begin.
    """

    def __init__(self, key: bytes, files: str) -> None:
        self._secret = hmac.digest(key, b"links to files of an mlhub-flows hub", "sha256")
        where = re.escape(files.encode())
        self._link = re.compile(rb'"(https?://[^/"\\]+' + where + rb'[^"\\?#]+)"')

    def sign(self, url: str) -> str:
        """Add a signature to the URL of a file."""
        expires = (today() + VALID_DAYS + 1) * _DAY
        return f"{url}?expires={expires}&signature={self._signature(_path(url), str(expires))}"

    def sign_links(self, data: bytes) -> bytes:
        """Add signatures to all URLs of files that stand in JSON."""

        def signed(found: re.Match[bytes]) -> bytes:
            url = found[1].decode("utf-8", "surrogateescape")
            return b'"' + self.sign(url).encode("utf-8", "surrogateescape") + b'"'

        return self._link.sub(signed, data)

    def allows(self, path: str, query: bytes) -> bool:
        """Whether a request for a path has a signature that is good today."""
        fields = parse_qs(query.decode("latin-1"))
        expires, signature = (fields.get(name, [""])[-1] for name in ("expires", "signature"))
        if not re.fullmatch("[0-9]{1,12}", expires) or int(expires) < time.time():
            return False
        return hmac.compare_digest(signature.encode(), self._signature(path, expires).encode())

    def _signature(self, path: str, expires: str) -> str:
        text = f"{expires}\n{path}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, text, "sha256").hex()[:32]


def today() -> int:
    """The number of the day, in UTC."""
    return int(time.time()) // _DAY


def _path(url: str) -> str:
    return unquote(urlsplit(url).path)


class SignedCatalogs:
    """Catalogs whose links are signed: made when one is asked for, one a day.

    Attributes:
        directory: Where they lie, for as long as this object does.

    Args:
        sign_links: Signs what is in a document.
    """

    def __init__(self, sign_links: Callable[[bytes], bytes]) -> None:
        self._sign_links = sign_links
        self.directory = Path(tempfile.mkdtemp(prefix="mlhub-hub-"))
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        self._made = OncePerState(self._make)

    async def have(self, catalog: Path) -> str | None:
        """Make the signed copy of a catalog, unless it is there.

        Returns:
            Its name; None where the catalog names no file of this hub, or is no archive that can
            be read: it is served as it is.
        """
        return catalog.name if await self._made.get(catalog, today()) else None

    def _make(self, catalog: Path) -> bool:
        """Make the signed copy; False, and none, where there is nothing to sign."""
        target = self.directory / catalog.name
        part = target.with_name(target.name + ".part")
        status = catalog.stat()
        try:
            signed = self._copy(catalog, part)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            log.warning("%s is served as it is, links unsigned: %s", catalog, error)
            signed = False
        if signed:
            # Another ETag each day, the same one after a restart.
            second = status.st_mtime_ns // 10**9 * 10**9
            os.utime(part, ns=(status.st_atime_ns, second + today()))
            os.replace(part, target)
        else:
            part.unlink(missing_ok=True)
        return signed

    def _copy(self, catalog: Path, target: Path) -> bool:
        """Copy a catalog, its links signed; whether there was anything to sign."""
        signed = False
        with (
            tarfile.open(catalog, "r|*") as old,
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|") as new,
        ):
            for member in old:
                file = old.extractfile(member) if member.isfile() else None
                if file is None or not _is_json(member):
                    new.addfile(member, file)
                    continue
                before = file.read()
                data = self._sign_links(before)
                signed = signed or data != before
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
        return signed


def _is_json(member: tarfile.TarInfo) -> bool:
    return member.name.endswith((".json", ".geojson")) and member.size <= _MOST_JSON
