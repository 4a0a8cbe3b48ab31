"""An nginx of our own: a directory served on a free port, near or far, with its counters."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_PROXY_SOURCE = Path(__file__).with_name("delay_proxy.c")
_START_SECONDS = 10.0

_CONFIG = """
{user}
daemon off;
worker_processes 2;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    types {{ image/tiff tif; application/json json; }}
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        {certificate}
        root {root};
        keepalive_requests 100000;
        location / {{ {rules} }}
    }}
    server {{
        listen 127.0.0.1:{status_port};
        location = /status {{ stub_status; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a server has seen so far."""

    connections: int
    requests: int


def is_there() -> bool:
    """Whether nginx is installed."""
    return _binary() is not None


def can_delay() -> bool:
    """Whether there is a C compiler, for the proxy that hands bytes on later."""
    return shutil.which("cc") is not None


class Nginx:
    """One server; use it in a ``with`` statement.

    Args:
        prefix: A directory of its own.
        root: What it serves.
        tls: Serve HTTPS and HTTP/2, by a certificate made for it.
        delay: Seconds of a round trip: every byte, those of TLS included, comes half of it later.
        rules: More of nginx's own, on which file answers which path.
    """

    def __init__(
        self, prefix: Path, root: Path, *, tls: bool = False, delay: float = 0.0, rules: str = ""
    ) -> None:
        prefix.mkdir(parents=True, exist_ok=True)
        self._prefix = prefix
        self._status_port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self._served_port = _free_port()
        self._delay = delay
        self._proxy: subprocess.Popen[bytes] | None = None
        self.port = _free_port() if delay else self._served_port
        self.ca_bundle = _certificate(prefix) if tls else None
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        certificate = ""
        if tls:
            certificate = f"ssl_certificate {prefix}/tls.pem; ssl_certificate_key {prefix}/tls.key;"
        (prefix / "nginx.conf").write_text(
            _CONFIG.format(
                # Started by root it would give up its rights, and with them our directory.
                user="user root;" if os.geteuid() == 0 else "",
                prefix=prefix,
                port=self._served_port,
                status_port=self._status_port,
                tls=" ssl http2" if tls else "",
                certificate=certificate,
                root=root,
                rules=rules,
            )
        )

    def __enter__(self) -> Nginx:
        binary = _binary()
        if binary is None:
            raise RuntimeError("nginx is not installed")
        self._process = subprocess.Popen(
            [binary, "-p", str(self._prefix), "-c", str(self._prefix / "nginx.conf")],
            stderr=subprocess.DEVNULL,
        )
        if self._delay:
            self._proxy = _delay_proxy(self._prefix, self.port, self._served_port, self._delay)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.counters()
                return self
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._prefix / "error.log"
                    said = log.read_text() if log.exists() else ""
                    raise RuntimeError(f"nginx does not start: {said[-500:]}") from error
                time.sleep(0.02)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in (self._proxy, self._process):
            if process is not None:
                process.terminate()
                process.wait()

    def counters(self) -> Counters:
        """What it has seen, these questions themselves left out."""
        link = http.client.HTTPConnection("127.0.0.1", self._status_port, timeout=5)
        try:
            link.request("GET", "/status")
            text = link.getresponse().read().decode()
        finally:
            link.close()
        found = re.search(r"(\d+) (\d+) (\d+)", text)
        if found is None:
            raise RuntimeError(f"no counters in {text!r}")
        self._asked += 1
        return Counters(int(found[2]) - self._asked, int(found[3]) - self._asked)


def _delay_proxy(prefix: Path, port: int, target: int, delay: float) -> subprocess.Popen[bytes]:
    program = prefix / "delay_proxy"
    subprocess.run(["cc", "-O2", "-o", str(program), str(_PROXY_SOURCE)], check=True)
    process = subprocess.Popen([program, str(port), str(target), f"{delay * 1000:g}"])
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process
        time.sleep(0.02)
    process.kill()
    raise RuntimeError("the proxy that delays does not start")


def _binary() -> str | None:
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _certificate(prefix: Path) -> Path:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(prefix / "tls.key"), "-out", str(prefix / "tls.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return prefix / "tls.pem"
