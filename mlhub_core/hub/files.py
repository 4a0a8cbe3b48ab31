"""Serves files from disk: an ASGI application over a few directories.

What is answered follows RFC 9110, sections 13 and 14. Headers that cannot be read count as absent,
as the RFC asks. Several ranges in one request are answered with the whole file, which it allows.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import stat
from base64 import b64encode
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mlhub_core.net.response import http_date, parse_http_date

logger = logging.getLogger(__name__)

CHUNK = 256 * 1024
"""Bytes read and sent at a time: what one connection holds in memory."""

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without O_NONBLOCK, opening a named pipe that somebody left here would stop the server."""

_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".geojson": "application/geo+json",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain; charset=utf-8",
}
"""Ours, not the system's list: that one differs from machine to machine. An archive is
``application/octet-stream`` as on the real hub, so that nobody unpacks it on the way."""

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'(W/)?("[^"]*")')
_MOST_DIGITS = 18
"""Longer numbers lie beyond every file; converting them is only work for an attacker to give."""

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class FileState:
    """What identifies one state of a file.

    Attributes:
        size: Bytes.
        mtime_ns: Time of last change, nanoseconds since the epoch.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """The state that a file's status tells of."""
        return cls(status.st_size, status.st_mtime_ns)

    @property
    def etag(self) -> str:
        """A strong ETag, in quotes."""
        return f'"{self.size:x}-{self.mtime_ns:x}"'

    @property
    def modified(self) -> int:
        """Time of last change in whole seconds, which is all that an HTTP date can say."""
        return self.mtime_ns // 1_000_000_000

    @property
    def last_modified(self) -> str:
        """Time of last change as an HTTP date."""
        return http_date(self.modified)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: the status, and which bytes of the file (none but with 200 and 206)."""

    status: int
    first: int = 0
    length: int = 0


def decide(method: str, headers: Mapping[str, str], file: FileState) -> Answer:
    """Decide how a GET or HEAD for an existing file is answered.

    Args:
        method: ``GET`` or ``HEAD``.
        headers: The request's headers by lower-case name; repeated ones joined by commas.
        file: The file's present state.
    """
    failed = _precondition(headers, file)
    if failed is not None:
        return Answer(failed)
    wanted = headers.get("range")
    # Ranges are defined for GET alone: a HEAD tells the length of the whole file.
    if method == "GET" and wanted is not None and _range_holds(headers.get("if-range"), file):
        return _cut(wanted, file.size)
    return Answer(200, 0, file.size)


def _precondition(headers: Mapping[str, str], file: FileState) -> int | None:
    """The status of the first precondition that decides, in the order the RFC lays down."""
    if not _is_expected(headers, file):
        return 412
    if (tags := headers.get("if-none-match")) is not None:
        return 304 if _matches(tags, file.etag, weak=True) else None
    moment = parse_http_date(headers.get("if-modified-since"))
    return 304 if moment is not None and file.modified <= moment else None


def _is_expected(headers: Mapping[str, str], file: FileState) -> bool:
    """Whether this is the state that the client asks for; tags come before dates."""
    if (tags := headers.get("if-match")) is not None:
        return _matches(tags, file.etag, weak=False)
    moment = parse_http_date(headers.get("if-unmodified-since"))
    return moment is None or file.modified <= moment


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in _ETAG.findall(header))


def _range_holds(if_range: str | None, file: FileState) -> bool:
    """Whether the client's part is of this state of the file; only exact equality counts."""
    return if_range is None or if_range.strip() in (file.etag, file.last_modified)


def _cut(header: str, size: int) -> Answer:
    match = _RANGE.fullmatch(header.strip())
    if not match or not (match[1] or match[2]):
        return Answer(200, 0, size)
    if not match[1]:
        wanted = min(_number(match[2]), size)
        if wanted == 0:
            # The last 0 bytes cannot be had; the last 5 of an empty file are the empty file.
            return Answer(416) if size or not _number(match[2]) else Answer(200)
        return Answer(206, size - wanted, wanted)
    first, last = _number(match[1]), _number(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return Answer(200, 0, size)
    if first >= size:
        return Answer(416)
    return Answer(206, first, min(last, size - 1) - first + 1)


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


class OncePerState(Generic[Made]):
    """What is made of files: in a thread, once for each state of a file, however many ask.

    Args:
        make: Makes it of a path; may raise, and is asked again then.
    """

    def __init__(self, make: Callable[[Path], Made]) -> None:
        self._make = make
        self._known: dict[Path, tuple[Hashable, asyncio.Future[Made]]] = {}

    async def get(self, path: Path, *more: Hashable) -> Made:
        """What is made of a file's present state; ``more`` counts as part of the state."""
        state = (FileState.of(path.stat()), *more)
        known = self._known.get(path)
        if known is None or known[0] != state:
            making = asyncio.ensure_future(asyncio.to_thread(self._make, path))
            known = self._known[path] = (state, making)
        try:
            return await asyncio.shield(known[1])
        except Exception:
            self._known.pop(path, None)
            raise


class FileApp:
    """Answers GET and HEAD for ``{prefix}{folder}/{path}``.

    Args:
        prefix: Where the URL path begins, with both slashes.
        folders: Directory by first path component. A directory may be a symbolic link; what lies
            in it must not lead out of it.
        digested: Those of the folders whose files come with Content-MD5.
    """

    def __init__(
        self, prefix: str, folders: Mapping[str, Path], digested: frozenset[str] = frozenset()
    ) -> None:
        self._prefix = prefix
        self._folders = {name: os.path.realpath(path) for name, path in folders.items()}
        self._digested = digested
        self._digests = OncePerState(_md5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            headers = {"allow": "GET, HEAD"}
            refusal = JSONResponse({"detail": "Method Not Allowed"}, 405, headers)
            return await refusal(scope, receive, send)
        located = self._locate(scope)
        handle = None if located is None else _open(located[1])
        if located is None or handle is None:
            refusal = JSONResponse({"detail": f"File {scope['path']} does not exist."}, 404)
            return await refusal(scope, receive, send)
        try:
            file = FileState.of(os.fstat(handle))
            answer = decide(scope["method"], Headers(scope=scope), file)
            folder, path = located
            md5 = await self._content_md5(path, file) if folder in self._digested else None
            start = {
                "type": "http.response.start",
                "status": answer.status,
                "headers": _headers(answer, file, path, md5),
            }
            await send(start)
            if scope["method"] == "HEAD" or not answer.length:
                await send({"type": "http.response.body", "body": b""})
            else:
                await _send_body(handle, answer, path, receive, send)
        finally:
            os.close(handle)

    def _locate(self, scope: Scope) -> tuple[str, str] | None:
        """The folder and the real path that a request names, None where it may not have it."""
        raw: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw.lower() or b"%5c" in raw.lower():
            return None  # a separator in disguise is never part of a name
        folder, _, rest = scope["path"].removeprefix(self._prefix).partition("/")
        root = self._folders.get(folder)
        parts = rest.split("/")
        if root is None or any(part in ("", ".", "..") or "\\" in part for part in parts):
            return None
        try:
            path = os.path.realpath(os.path.join(root, *parts))
        except (OSError, ValueError):  # a NUL, or characters that no file name has
            return None
        return (folder, path) if path.startswith(root.rstrip(os.sep) + os.sep) else None

    async def _content_md5(self, path: str, file: FileState) -> str | None:
        """Content-MD5 of one state of a file; None where it cannot be had."""
        try:
            digested, digest = await self._digests.get(Path(path))
        except OSError as error:
            logger.warning("%s cannot be read: %s", path, error.strerror)
            return None
        return digest if digested == file else None


def _open(path: str) -> int | None:
    try:
        handle = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        logger.warning("%s cannot be served: %s", path, error.strerror)
        return None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    return None


def _md5(path: Path) -> tuple[FileState | None, str]:
    """The MD5 of a file in base64, and of which state: None where it changed meanwhile."""
    with path.open("rb") as stream:
        before = FileState.of(os.fstat(stream.fileno()))
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        unchanged = before == FileState.of(os.fstat(stream.fileno()))
    return (before if unchanged else None), b64encode(digest.digest()).decode("ascii")


def _headers(
    answer: Answer, file: FileState, path: str, md5: str | None
) -> list[tuple[bytes, bytes]]:
    headers = {
        "accept-ranges": "bytes",
        "etag": file.etag,
        "last-modified": file.last_modified,
    }
    if answer.status in (200, 206):
        suffix = os.path.splitext(path)[1].lower()
        headers["content-type"] = _MEDIA_TYPES.get(suffix, "application/octet-stream")
    if answer.status != 304:
        headers["content-length"] = str(answer.length)
    if answer.status == 206:
        last = answer.first + answer.length - 1
        headers["content-range"] = f"bytes {answer.first}-{last}/{file.size}"
    elif answer.status == 416:
        headers["content-range"] = f"bytes */{file.size}"
    if md5 is not None:
        # Content-MD5 is of the bytes sent; for that of the whole file Azure has another name.
        headers["content-md5" if answer.status == 200 else "x-ms-blob-content-md5"] = md5
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _send_body(handle: int, answer: Answer, path: str, receive: Receive, send: Send) -> None:
    os.lseek(handle, answer.first, os.SEEK_SET)
    left = answer.length
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        # The server drops silently what is sent to a client that has gone: look for ourselves.
        while left and not gone.done():
            if answer.length <= CHUNK:
                body = os.read(handle, left)  # handing it to a thread takes longer than reading it
            else:  # a slow disk does not hold up everybody else
                body = await asyncio.to_thread(os.read, handle, min(CHUNK, left))
            if not body:
                # Not finishing the response makes the server break the connection off.
                logger.warning("%s became shorter while it was read.", path)
                return
            left -= len(body)
            await send({"type": "http.response.body", "body": body, "more_body": left > 0})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    message: Any = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
