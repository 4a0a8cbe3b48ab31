"""Serves files from disk: an ASGI application over a few directories.

Written for many small files: a file of one chunk is read in the event loop, because handing it to
a thread costs more than reading it does. Longer ones are read in threads, so that a slow disk does
not hold up everybody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mlhub_core.hub.conditional import Answer, FileState, decide

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
        self._digests: dict[str, tuple[FileState, str]] = {}
        self._digest_locks: dict[str, asyncio.Lock] = {}

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
            info = os.fstat(handle)
            file = FileState(info.st_size, info.st_mtime_ns)
            answer = decide(scope["method"], _header_map(scope), file)
            folder, path = located
            md5 = await self._md5(path, file) if folder in self._digested else None
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

    async def _md5(self, path: str, file: FileState) -> str | None:
        """Content-MD5 of a file, computed once for each of its states."""
        async with self._digest_locks.setdefault(path, asyncio.Lock()):
            known = self._digests.get(path)
            if known is None or known[0] != file:
                digest = await asyncio.to_thread(_compute_md5, path, file)
                if digest is None:
                    return None
                known = self._digests[path] = (file, digest)
            return known[1]


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


def _compute_md5(path: str, file: FileState) -> str | None:
    """Digest a file; None where it changed meanwhile, or cannot be read."""
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
            info = os.fstat(stream.fileno())
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error.strerror)
        return None
    if FileState(info.st_size, info.st_mtime_ns) != file:
        return None
    return b64encode(digest.digest()).decode("ascii")


def _header_map(scope: Scope) -> dict[str, str]:
    result: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        result[name] = f"{result[name]}, {value}" if name in result else value
    return result


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
    if answer.length <= CHUNK:
        body = os.read(handle, answer.length)
        if len(body) == answer.length:
            await send({"type": "http.response.body", "body": body})
            return
        logger.warning("%s became shorter while it was read.", path)
        return
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        left = answer.length
        # The server drops silently what is sent to a client that has gone: look for ourselves.
        while left and not gone.done():
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
