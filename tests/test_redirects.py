"""Redirects from https to http are followed by nothing of ours; all others are."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mlhub_core.exceptions import APIError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import FileFetcher
from mlhub_core.session import Session
from tests.faultserver import FaultServer, redirect
from tests.transfer.kit import Kit


def certificate(path: Path) -> Path:
    """A certificate of this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    path.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class Redirecting:
    """A server over TLS that redirects each path to the URL that stands behind its ``?``."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with closing(plain):
                try:
                    with self._context.wrap_socket(plain, server_side=True) as connection:
                        self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection: ssl.SSLSocket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(65536)
        target = asked.split()[1].partition(b"?")[2]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        if target:
            head = b"HTTP/1.1 302 Found\r\nLocation: %b\r\n" % target
        body = b"" if target else b'"over TLS"'
        head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redirecting]:
    bundle = certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with closing(Redirecting(bundle)) as server:
        monkeypatch.setenv("MLHUB_ROOT_URL", f"{server.url}/")
        yield server


def test_an_asset(secure: Redirecting, server: FaultServer, tmp_path: Path) -> None:
    plain = server.put("/a.json", b'"without TLS"')
    server.put("/b.json", b"")
    server.always("/b.json", redirect(f"{secure.url}/b.json"))
    server.put("/c.json", b"")
    server.always("/c.json", redirect("/a.json"))
    kit = Kit(tmp_path, server)
    kit.want("/refused.json", href=f"{secure.url}/a.json?{plain}")
    kit.want("/twice.json", href=f"{secure.url}/b.json?{secure.url}/b.json?{plain}")
    kit.want("/within.json", href=f"{secure.url}/b.json?/c.json")
    kit.want("/b.json")
    kit.want("/c.json")

    result = kit.run()

    told = "redirected from https to http: to fetch it without TLS all the same, use --mirror"
    errors = kit.errors(result)
    assert sorted(errors) == ["refused.json", "twice.json"]
    assert all(error.startswith(told) for error in errors.values())
    assert kit.final("/within.json").read_bytes() == b'"over TLS"'
    assert kit.final("/b.json").read_bytes() == b'"over TLS"'
    assert kit.final("/c.json").read_bytes() == b'"without TLS"'
    assert server.count("/a.json") == 1


def test_the_hub(secure: Redirecting, server: FaultServer) -> None:
    plain = server.put("/datasets", b'"without TLS"')
    with Session() as session:
        assert session.get_json(f"datasets?{secure.url}/datasets") == "over TLS"
        with pytest.raises(APIError, match="redirects from https to http, which is not followed"):
            session.get_json(f"datasets?{plain}")
    assert server.requests == []


def test_the_archive(secure: Redirecting, server: FaultServer, tmp_path: Path) -> None:
    plain = server.put("/d.tar.gz", b'"without TLS"')
    with Session() as session:
        fetcher = FileFetcher(session, f"d?{plain}", tmp_path / "d.tar.gz", tmp_path / "state")
        with pytest.raises(APIError, match="redirects from https to http"):
            fetcher.run(DownloadIfExistsOpts.resume)
    assert server.requests == []
    assert not (tmp_path / "d.tar.gz").exists()
