"""What the machine around us is like: proxies, certificates, file systems, foreign directories."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.server import DemoHub, HubServer
from mlhub_core.net.clients import certificates, check_proxies, is_loopback
from mlhub_core.session import Session
from tests.faultserver import FaultServer
from tests.foreign import fill, ran_in
from tests.transfer.kit import Kit

PROXIES = [
    spelt for name in ("http_proxy", "https_proxy", "all_proxy") for spelt in (name, name.upper())
]
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
MLHUB = str(Path(sys.executable).with_name("mlhub"))


@pytest.fixture(autouse=True)
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


class Socks:
    """A SOCKS5 proxy that leads to one server, whatever name is asked for."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"socks5h://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            methods = client.recv(2)[1]
            client.recv(methods)
            client.sendall(b"\5\0")
            length = client.recv(5)[4]
            self.asked.append(client.recv(length + 2)[:-2])
            client.sendall(b"\5\0\0\1" + bytes(6))
            back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
            back.start()
            self._pass_on(client, server)
            back.join()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def keyed_hub(tmp_path: Path) -> Iterator[HubServer]:
    (tmp_path / "hub" / "datasets").mkdir(parents=True)
    (tmp_path / "hub" / "datasets" / "d.json").write_text('{"id": "d", "title": "A title"}')
    with HubServer(tmp_path / "hub", api_key="the-key") as hub:
        yield hub


def test_the_hub_is_asked_through_socks_with_the_key(
    keyed_hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    socks = Socks(keyed_hub.address)
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://hub.invalid/mlhub/v1/")
    monkeypatch.setenv("MLHUB_API_KEY", "the-key")
    monkeypatch.setenv("ALL_PROXY", socks.url)
    assert main(["datasets", "list"]) == 0
    assert "A title" in capsys.readouterr().out
    assert socks.asked[0] == b"hub.invalid"
    socks.close()


def test_files_are_fetched_through_socks(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Kit(tmp_path, server)
    socks = Socks(server.url(""))
    monkeypatch.setenv("all_proxy", socks.url)
    server.put("/a.tif", b"by socks")
    kit.want("/a.tif", href="http://assets.invalid/a.tif")
    assert kit.run().fetched == 1
    assert kit.final("/a.tif").read_bytes() == b"by socks"
    assert socks.asked == [b"assets.invalid"]
    socks.close()


def test_loopback_is_asked_directly(
    at_demo_hub: DemoHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    words = ["download", "demo_crops", "--output-dir", str(tmp_path), "--limit", "3", "-q"]
    assert main(words) == 0


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:s3cr3t@",
        "http://user:s3cr3t#x@proxy.example:3128",
        "http://user:s3cr3t@proxy.example:port",
        "http://user:s3cr3t@proxy.example:99999",
        "http://user:s3cr3t@proxy.example:0",
        "ftp://user:s3cr3t@proxy.example",
        "user:s3cr3t@[::1",
        "://",
        "http://a b:3128",
    ],
)
@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_is_refused_and_not_repeated(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    proxy: str,
    name: str,
) -> None:
    monkeypatch.setenv("MLHUB_API_KEY", "k")
    monkeypatch.setenv(name, proxy)
    assert main(["download", "d", "--output-dir", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert name.lower() in said
    assert "s3cr3t" not in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@given(st.text(st.characters(blacklist_characters="\0", codec="utf-8")))
def test_any_text_for_a_proxy_is_fine_or_refused(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", text)
        with suppress(InvalidArgument):
            check_proxies()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/", True),
        ("http://127.9.9.9/", True),
        ("https://[::1]/", True),
        ("http://LOCALHOST:80", True),
        ("http://localhost.example/", False),
        ("http://127.0.0.1.example/", False),
        ("http://10.0.0.1/", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_what_loopback_is(url: str, expected: bool) -> None:
    assert is_loopback(url) == expected


def certified(place: Path) -> Path:
    """A file, or a directory, with certificates that are certifi's."""
    default = Path(certificates().path).read_bytes()
    if place.suffix != ".pem":
        place.mkdir()
        place /= "0a775a30.0"
    place.write_bytes(default)
    return place if place.suffix == ".pem" else place.parent


@pytest.mark.parametrize("kind", ["ca.pem", "directory"])
@pytest.mark.parametrize("name", CA_VARIABLES)
def test_each_variable_may_name_a_file_or_a_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: str
) -> None:
    place = certified(tmp_path / kind)
    monkeypatch.setenv(name, str(place))
    found = certificates()
    assert (found.path, found.variable) == (str(place), name)
    assert b"BEGIN CERTIFICATE" in found.bundle()


def unusable(name: str, tmp_path: Path) -> Path:
    place = tmp_path / "ca.pem"
    if name == "empty":
        place.write_bytes(b"")
    elif name == "no certificate":
        place.write_bytes(b"<html>")
    elif name == "half of one":
        place.write_bytes(Path(certificates().path).read_bytes()[:700])
    elif name == "an empty directory":
        place.mkdir()
    return place


UNUSABLE = ("missing", "empty", "no certificate", "half of one", "an empty directory")


@pytest.mark.parametrize("what", UNUSABLE)
@pytest.mark.parametrize("name", CA_VARIABLES)
def test_certificates_that_cannot_be_used_are_named_with_their_variable(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    what: str,
) -> None:
    place = unusable(what, tmp_path)
    monkeypatch.setenv(name, str(place))
    monkeypatch.setenv("MLHUB_API_KEY", "k")
    assert main(["download", "d", "--output-dir", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert name in said
    assert str(place) in said
    assert said.count("\n") == 1


def test_a_list_of_directories_may_name_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = certified(tmp_path / "directory")
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}/gone{os.pathsep}{place}")
    assert certificates().path == str(place)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{place}")
    with pytest.raises(InvalidArgument, match="name one"):
        certificates()


def test_the_api_trusts_whom_the_files_trust(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate = tmp_path / "cert.pem"
    words = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout"]
    words += [str(tmp_path / "key.pem"), "-out", str(certificate), "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    hashed = subprocess.check_output(
        [openssl, "x509", "-hash", "-noout", "-in", str(certificate)], text=True
    )
    (tmp_path / "directory").mkdir()
    shutil.copy(certificate, tmp_path / "directory" / f"{hashed.strip()}.0")

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(65536)
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        for place in (certificate, tmp_path / "directory"):
            monkeypatch.setenv("SSL_CERT_DIR", str(place))
            with Session() as session:
                assert session.get(url).json() == {}
        thread.join(30)


_WITHOUT_LOCKS = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int flock(int fd, int how) { errno = atoi(getenv("NUMBER")); return -1; }
int fcntl64(int fd, int what, ...) {
    va_list rest;
    va_start(rest, what);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (what >= 5 && what <= 7) { errno = atoi(getenv("NUMBER")); return -1; }
    return syscall(SYS_fcntl, fd, what, argument);
}
int fcntl(int fd, int what, ...) {
    va_list rest;
    va_start(rest, what);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return fcntl64(fd, what, argument);
}
"""


@pytest.mark.slow
def test_a_file_system_without_locks_is_warned_of_and_used(
    at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler to make a file system without locks with")
    source, library = tmp_path / "locks.c", tmp_path / "locks.so"
    source.write_text(_WITHOUT_LOCKS)
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", library, source], check=True)
    for number, words in (
        (errno.ENOLCK, ["download", "demo_crops", "--limit", "3"]),
        (errno.EOPNOTSUPP, ["verify", "demo_crops"]),
        (errno.ENOSYS, ["verify", "demo_crops"]),
    ):
        done = subprocess.run(
            [MLHUB, *words, "-q"],
            cwd=tmp_path,
            env={**os.environ, "LD_PRELOAD": str(library), "NUMBER": str(number)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "has no locks" in done.stderr
        assert done.stderr.count("\n") == 1


APART = """
from mlhub_core.request import DownloadRequest
from mlhub_core.settings import RunSettings
from mlhub_core.pipeline import download
settings = RunSettings(workers=2, processes_from=0)
print(download(DownloadRequest("demo_crops", "out", settings=settings)).fetched)
"""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([MLHUB, "download", "demo_crops", "--limit", "3"], id="mlhub"),
        pytest.param(
            [sys.executable, "-P", "-c", APART], id="other processes", marks=pytest.mark.slow
        ),
        pytest.param(
            [sys.executable, "-m", "deployments.store_api_key", "--help"], id="deployments"
        ),
        pytest.param(
            [sys.executable, "-m", "flows.sync_dataset", "--help"],
            id="flows",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_nothing_of_the_current_directory_runs(
    at_demo_hub: DemoHub, tmp_path: Path, words: list[str]
) -> None:
    fill(tmp_path)
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert ran_in(tmp_path) == ""
