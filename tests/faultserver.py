"""A web server on the loopback interface that misbehaves on purpose.

::

    with FaultServer() as server:
        server.put("/a.tif", b"...")                     # what is true
        server.script("/a.tif", truncate(400), status(503))   # the first two answers
        server.always("/b.tif", status(404))             # every answer
        ... fetch server.url("/a.tif") ...
        assert [r.path for r in server.requests] == ["/a.tif"] * 3

Without a fault it is a good server: keep-alive, Range, If-Range, If-Unmodified-Since, 416, ETag,
Last-Modified. It records every request and counts connections. Nothing in it sleeps.
"""

from __future__ import annotations

import gzip as gzip_module
import hashlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from types import TracebackType

_REASONS = {
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    404: "Not Found",
    416: "Range Not Satisfiable",
}
LONG_AGO = 1_600_000_000.0
_BETWEEN_DROPS = 0.02
"""Seconds between two bytes of an answer that drips."""


@dataclass(frozen=True)
class Fault:
    """How one answer differs from a good one. Combine fields freely; see the functions below."""

    status: int | None = None
    headers: tuple[tuple[str, str | None], ...] = ()  # None leaves a field out
    body: bytes | None = field(default=None, repr=False)
    cut: int | None = None  # bytes of the body sent before the connection ends
    reset: bool = False  # end it with RST instead of FIN
    raw: bytes | None = field(
        default=None, repr=False
    )  # these bytes in place of an answer, then the end of the connection
    silent: bool = False  # end it before the head
    stall: bool = False  # go quiet instead of ending it
    ignore_range: bool = False
    chunked: bool = False
    closes: bool = False  # end the connection behind a whole answer, of which the head said nothing
    unframed: bool = False  # no length at all: the end of the connection is the end of the file
    gzip: bool = False
    endless: bool = False  # the body again and again, until the client has gone
    drip: str = ""  # "body" or "head": a byte at a time from there on, until the client has gone
    then_put: bytes | None = field(default=None, repr=False)  # the file changes after this answer
    then: Callable[[], None] | None = field(default=None, repr=False)  # called after what is sent


def truncate(count: int) -> Fault:
    return Fault(cut=count)


def reset_before() -> Fault:
    return Fault(silent=True, reset=True)


def reset_within(count: int) -> Fault:
    return Fault(cut=count, reset=True)


def stall(count: int = 0) -> Fault:
    return Fault(cut=count, stall=True)


def status(code: int, retry_after: str | None = None) -> Fault:
    headers = (("Retry-After", retry_after),) if retry_after is not None else ()
    return Fault(status=code, headers=headers, body=b"error page " * 10, ignore_range=True)


def ignore_range() -> Fault:
    return Fault(ignore_range=True)


def wrong_content_range(value: str = "bytes 7-8/9") -> Fault:
    return Fault(status=206, headers=(("Content-Range", value),))


def chunked() -> Fault:
    return Fault(chunked=True)


def truncate_then_change(count: int, content: bytes) -> Fault:
    return Fault(cut=count, then_put=content)


def gzipped() -> Fault:
    return Fault(gzip=True)


def redirect(location: str, code: int = 302) -> Fault:
    return Fault(status=code, headers=(("Location", location),), body=b"", ignore_range=True)


def wrong_md5() -> Fault:
    return Fault(headers=(("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="),))


def endless(body: bytes = b"0" * 65536, **more: object) -> Fault:
    return Fault(body=body, unframed=True, endless=True, **more)  # type: ignore[arg-type]


def drip(where: str = "body") -> Fault:
    return Fault(body=b"0" * 1_000_000, drip=where)


def empty() -> Fault:
    return Fault(body=b"", ignore_range=True)


def html() -> Fault:
    page = b"<!doctype html><title>Please log in</title>"
    headers = (("Content-Type", "text/html; charset=utf-8"),)
    return Fault(body=page, headers=headers, ignore_range=True)


@dataclass
class File:
    content: bytes
    etag: str | None
    modified: float | None = LONG_AGO
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]  # names in lower case
    connection: int
    status: int | None  # None where no head was sent
    size: int = 0  # bytes of the body, as far as it was to be sent


def _is_open(connection: socket.socket) -> bool:
    """Whether the client has not closed a connection that its thread still waits on."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


class FaultServer:
    """The server; use it as a context manager.

    Attributes:
        requests: All requests so far, in order.
        connections: Connections accepted so far.
        most_open: The most that were open at one time.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.most_open = 0
        self._files: dict[str, File] = {}
        self._truths: dict[str, list[bytes]] = {}
        self._scripts: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._hooks: dict[str, Callable[[], None]] = {}
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"

    # What tests say

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def put(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = "",
        modified: float | None = LONG_AGO,
        headers: dict[str, str] | None = None,
    ) -> str:
        """Set what is true at a path; an empty etag means one made of the content."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:12]}"' if etag == "" else etag
        self._truths.setdefault(path, []).append(content)
        self._files[path] = File(content, tag, modified, dict(headers or {}))
        return self.url(path)

    def truths(self, path: str) -> list[bytes]:
        """What was true at a path at one time or another, the latest last."""
        return self._truths[path]

    def script(self, path: str, *faults: Fault) -> None:
        """Faults of the next answers at a path, one each."""
        with self._lock:
            self._scripts.setdefault(path, deque()).extend(faults)

    def always(self, path: str, fault: Fault) -> None:
        """A fault of every answer at a path, after its script."""
        self._always[path] = fault

    def when_asked(self, path: str, hook: Callable[[], None]) -> None:
        """Call something, in the server's thread, when a path is asked for."""
        self._hooks[path] = hook

    def paths(self) -> list[str]:
        """Paths asked for so far, in order."""
        with self._lock:
            return [request.path for request in self.requests]

    def count(self, path: str) -> int:
        return self.paths().count(path)

    def forget(self) -> None:
        """Forget requests and connections recorded so far, not the files."""
        with self._lock:
            self.requests.clear()
            self.connections = self.most_open = 0

    def wait_quiet(self) -> None:
        """Wait until all connections have ended, as they do with the process of the client."""
        with self._quiet:
            assert self._quiet.wait_for(lambda: not self._open, timeout=300)

    # Running

    def __enter__(self) -> FaultServer:
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.add(connection)
                self.most_open = max(self.most_open, sum(map(_is_open, self._open)))
                thread = threading.Thread(
                    target=self._serve, args=(connection, number), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    data = connection.recv(65536)
                    if not data:
                        return
                    pending += data
                head, _, pending = pending.partition(b"\r\n\r\n")
                if not self._answer(connection, number, head):
                    return
        except OSError:
            return
        finally:
            with self._lock:
                self._open.discard(connection)
                connection.close()
                self._quiet.notify_all()

    # Answering

    def _answer(self, connection: socket.socket, number: int, head: bytes) -> bool:
        """Answer one request; whether the connection goes on."""
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if path in self._hooks:
            self._hooks[path]()
        with self._lock:
            script = self._scripts.get(path)
            fault = script.popleft() if script else self._always.get(path, Fault())
            file = self._files.get(path)
            code, fields, body = self._compose(file, headers, fault)
            answer = None if fault.silent or fault.raw is not None else code
            size = 0 if fault.silent else len(body[: fault.cut])
            self.requests.append(Request(path, headers, number, answer, size))
            if fault.then_put is not None:
                self.put(path, fault.then_put)
        if fault.silent:
            self._end(connection, fault)
            return False
        if fault.raw is not None:
            connection.sendall(fault.raw)
            self._end(connection, fault)
            return False
        self._send(connection, code, fields, body, fault)
        if fault.then is not None:
            fault.then()
        if fault.stall:
            self._closing.wait()
            return False
        if fault.cut is not None or fault.unframed or fault.closes:
            self._end(connection, fault)
            return False
        return True

    def _compose(
        self, file: File | None, asked: dict[str, str], fault: Fault
    ) -> tuple[int, dict[str, str], bytes]:
        fields = {"Date": formatdate(usegmt=True), "Server": "FaultServer"}
        if file is None:
            code, body = 404, b"not here"
        else:
            code, body = self._honest(file, asked, fields, ignore_range=fault.ignore_range)
        if fault.body is not None:
            body = fault.body
            if fault.status is not None and fault.status >= 300:
                fields.pop("ETag", None)
        if fault.gzip:
            body = gzip_module.compress(body, mtime=0)
            fields["Content-Encoding"] = "gzip"
        if fault.chunked:
            fields["Transfer-Encoding"] = "chunked"
        elif fault.unframed:
            fields["Connection"] = "close"
        else:
            fields["Content-Length"] = str(len(body))
        for name, value in fault.headers:
            fields.pop(name, None)
            if value is not None:
                fields[name] = value
        return fault.status or code, fields, body

    @staticmethod
    def _honest(
        file: File, asked: dict[str, str], fields: dict[str, str], *, ignore_range: bool
    ) -> tuple[int, bytes]:
        fields["Accept-Ranges"] = "bytes"
        fields["Content-Type"] = "application/octet-stream"
        if file.etag:
            fields["ETag"] = file.etag
        modified = formatdate(file.modified, usegmt=True) if file.modified is not None else ""
        if modified:
            fields["Last-Modified"] = modified
        fields.update(file.headers)
        if file.etag and asked.get("if-none-match") == file.etag:
            return 304, b""
        since = asked.get("if-unmodified-since")
        changed = file.modified or 0.0
        if since and not ignore_range and changed > parsedate_to_datetime(since).timestamp():
            return 412, b"changed"
        if_range = asked.get("if-range")
        fits = if_range is None or if_range in (file.etag, modified)
        if "range" not in asked or ignore_range or not fits:
            return 200, file.content
        total = len(file.content)
        first, _, last = asked["range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, total - int(last))
        end = min(int(last) + 1, total) if first and last else total
        fields.pop("Content-MD5", None)
        if start >= total:
            fields["Content-Range"] = f"bytes */{total}"
            return 416, b"nothing there"
        fields["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
        return 206, file.content[start:end]

    def _send(
        self,
        connection: socket.socket,
        code: int,
        fields: dict[str, str],
        body: bytes,
        fault: Fault,
    ) -> None:
        reason = _REASONS.get(code, "Something")
        head = f"HTTP/1.1 {code} {reason}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        if fault.chunked:
            pieces = [body[i : i + 5000] for i in range(0, len(body), 5000)]
            wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            wire += b"0\r\n\r\n"
        else:
            wire = body
        if fault.cut is not None:
            wire = wire[: fault.cut]
        begin = head.encode("latin-1") + (b"X-Padding: " if fault.drip == "head" else b"\r\n")
        if fault.drip:
            connection.sendall(begin if fault.drip == "body" else b"HTTP/1.1 ")
            for byte in wire if fault.drip == "body" else begin[9:] + wire:
                connection.sendall(bytes((byte,)))
                if self._closing.wait(_BETWEEN_DROPS):
                    return
        connection.sendall(begin + wire)
        while fault.endless and not self._closing.is_set():
            connection.sendall(wire)

    @staticmethod
    def _end(connection: socket.socket, fault: Fault) -> None:
        if fault.reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
