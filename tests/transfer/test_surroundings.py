"""What comes from the environment: proxies, CA bundles, limits."""

from __future__ import annotations

import resource
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlhub_core.net.http import most_transfers
from tests.faultserver import FaultServer
from tests.transfer.kit import Kit


@pytest.fixture(autouse=True)
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_transfers_stay_within_the_limit_on_open_files() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (264, limits[1]))
        assert most_transfers() == 50
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment(
    kit: Kit, server: FaultServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, server.url(""))
    for number in range(20):  # of which the last ones come after it is known how the host answers
        url = f"http://assets.invalid/{number}.tif"
        server.put(url, b"by proxy")
        kit.want(f"/{number}.tif", href=url)
    assert kit.run().fetched == 20
    assert kit.final("/19.tif").read_bytes() == b"by proxy"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(path), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def https_port(certificate: Path) -> Iterator[int]:
    """A server that answers every connection once, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls")
            except OSError:  # the client does not trust us
                plain.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_certificate_that_nobody_vouches_for(kit: Kit, https_port: int) -> None:
    kit.want("/a.tif", href=f"https://127.0.0.1:{https_port}/a.tif")
    result = kit.run()
    assert kit.errors(result)["a.tif"].startswith("TLS certificate not trusted")
    assert result.requests == 1


def test_a_certificate_of_the_bundle(
    kit: Kit, https_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    kit.want("/a.tif", href=f"https://127.0.0.1:{https_port}/a.tif")
    assert kit.run().fetched == 1
    assert kit.final("/a.tif").read_bytes() == b"tls"
