"""What a remote source leads to: never to this machine or its network, unless it lies there.

The public host is one that only a proxy knows, which is a server of ours, too.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.cli import main
from mlhub_core.net.addresses import Zone, zone_of
from tests.acceptance.kit import catalog_members, collection, item, publish, tar_gz
from tests.faultserver import FaultServer, redirect

PUBLIC = "http://public.example"
METADATA = "http://169.254.169.254/latest/meta-data/iam"
TOLD = "leads to a private address"


@pytest.fixture
def inner() -> Iterator[FaultServer]:
    """What only this machine reaches."""
    with FaultServer() as running:
        running.put("/a.tif", b"secret" * 100)
        running.put("/a.json", _json(item("inner", {}, "c")))
        yield running


@pytest.fixture
def public(server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FaultServer:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("MLHUB_ROOT_URL", f"{PUBLIC}/mlhub/v1/")
    monkeypatch.chdir(tmp_path)
    return server


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def catalog(server: FaultServer, asset: str, *links: str, host: str = PUBLIC) -> str:
    """A catalog with one item, whose asset lies where it is said to; returns its URL."""
    base = "" if host == server.url("") else host
    hrefs = [{"rel": "item", "href": href} for href in ("./i.json", *links)]
    root = {"type": "Catalog", "id": "guest", "stac_version": "1.0.0", "links": hrefs}
    server.put(f"{base}/catalog.json", _json(root))
    server.put(f"{base}/i.json", _json(item("i", {"image": asset}, "c")))
    return f"{host}/catalog.json"


def download(url: str, *more: str) -> int:
    return main(["download", url, "--output-dir", "out", "-q", *more])


def causes() -> list[str]:
    with Path("out/guest/err_report.csv").open(newline="") as file:
        return [" ".join(row) for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_an_asset_on_this_machine(public: FaultServer, inner: FaultServer, host: str) -> None:
    url = catalog(public, f"http://{host}:{inner.port}/a.tif")
    direct = "127.0.0.1,localhost,2130706433,0x7f.1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", direct)
        assert download(url) == 1
        assert TOLD in causes()[0]
        assert "--allow-private-hosts" in causes()[0]
        assert main(["retry", "out/guest", "-q"]) == 1
        assert inner.connections == 0
        if host != "[::1]":
            assert main(["retry", "out/guest", "-q", "--allow-private-hosts"]) == 0
            assert inner.paths() == ["/a.tif"]


def test_an_asset_that_is_redirected(public: FaultServer, inner: FaultServer) -> None:
    url = catalog(public, "./a.tif")
    public.always(f"{PUBLIC}/a.tif", redirect(inner.url("/a.tif")))
    assert download(url) == 1
    assert TOLD in causes()[0]
    assert inner.connections == 0
    assert download(url, "--allow-private-hosts") == 0


def test_a_mirror_is_the_users_own(public: FaultServer, inner: FaultServer) -> None:
    url = catalog(public, "./a.tif")
    assert download(url, "--mirror", f"{PUBLIC}/={inner.url('/')}") == 0
    assert inner.paths() == ["/a.tif"]


def test_documents(public: FaultServer, inner: FaultServer) -> None:
    public.put(f"{PUBLIC}/a.tif", b"x" * 100)
    public.always(f"{PUBLIC}/led.json", redirect(inner.url("/a.json")))
    url = catalog(public, "./a.tif", inner.url("/a.json"), "./led.json", "file:///etc/passwd")
    assert download(url, "--strict") == 1
    found = json.loads(Path("out/guest/.mlhub/index.json").read_text())
    assert found["missing"] == 3
    assert sum(TOLD in text for text in found["remarks"]) == 2
    assert any("file:///etc/passwd" in text for text in found["remarks"])
    assert inner.connections == 0
    assert download(url, "--strict", "--allow-private-hosts") == 1
    found = json.loads(Path("out/guest/.mlhub/index.json").read_text())
    assert (found["missing"], found["items"]) == (1, 3)


def test_an_index(public: FaultServer, inner: FaultServer) -> None:
    url = catalog(public, "./a.tif", inner.url("/a.json"))
    words = ["index", url, "--output", "i.parquet", "-q"]
    assert main([*words, "--strict"]) == 1
    assert inner.connections == 0
    assert main([*words, "--strict", "--allow-private-hosts"]) == 0
    assert main(["query", url, "-q"]) == 0
    assert inner.count("/a.json") == 1
    assert main(["query", url, "-q", "--allow-private-hosts"]) == 0
    assert inner.count("/a.json") == 2


def test_a_root_that_is_redirected(
    public: FaultServer, inner: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    public.always(f"{PUBLIC}/catalog.json", redirect(inner.url("/a.json")))
    assert download(f"{PUBLIC}/catalog.json") == 3
    assert TOLD in capsys.readouterr().err
    assert inner.connections == 0


def test_a_source_on_this_machine_leads_to_its_neighbours_but_not_to_the_cloud(
    server: FaultServer, inner: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert download(catalog(server, inner.url("/a.tif"), host=server.url(""))) == 0
    assert inner.paths() == ["/a.tif"]
    assert download(catalog(server, METADATA, METADATA, host=server.url(""))) == 1
    assert TOLD in causes()[0]
    found = json.loads(Path("out/guest/.mlhub/index.json").read_text())
    assert any(TOLD in text for text in found["remarks"])


@pytest.mark.parametrize("ending", ["json", "tar.gz"])
def test_what_is_one_file(public: FaultServer, inner: FaultServer, ending: str) -> None:
    one = item("i", {"image": inner.url("/a.tif")}, "c")
    several = _json({"type": "FeatureCollection", "features": [one]})
    content = several if ending == "json" else tar_gz(catalog_members(one, dataset="guest"))
    public.put(f"{PUBLIC}/guest.{ending}", content)
    assert download(f"{PUBLIC}/guest.{ending}") == 1
    assert TOLD in causes()[0]
    public.always(f"{PUBLIC}/guest.{ending}", redirect(inner.url("/a.json")))
    assert download(f"{PUBLIC}/guest.{ending}", "--if-exists", "overwrite") == 3
    assert inner.requests == []  # hung up on before a word was said
    assert json.loads(Path("out/guest/.mlhub/source.json").read_text())["zones"] == []


def test_an_api(
    public: FaultServer, inner: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    core = "https://api.stacspec.org/v1.0.0/"
    conforms = [f"{core}core", f"{core}item-search", f"{core}collections"]
    links = [
        {"rel": "data", "href": f"{PUBLIC}/stac/collections"},
        {"rel": "search", "href": f"{PUBLIC}/stac/search", "type": "application/geo+json"},
    ]
    landing = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "links": links}
    public.put(f"{PUBLIC}/stac", _json({**landing, "conformsTo": conforms, "description": "x"}))
    public.put(f"{PUBLIC}/stac/", _json({**landing, "conformsTo": conforms, "description": "x"}))
    public.put(f"{PUBLIC}/stac/collections/c", _json(collection("c")))
    following = {"rel": "next", "href": inner.url("/a.json"), "method": "GET"}
    one = item("i", {"image": inner.url("/a.tif")}, "c")
    page = _json({"type": "FeatureCollection", "features": [one], "links": [following]})
    assert download(f"{PUBLIC}/stac/collections/c") != 0
    public.put(public.paths()[-1], page)  # as it was just asked for
    capsys.readouterr()
    assert download(f"{PUBLIC}/stac/collections/c") == 3
    assert TOLD in capsys.readouterr().err
    assert inner.requests == []  # hung up on before a word was said


def test_a_hub(
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    server.put("/a.tif", b"x" * 100)
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    assets = {"image": server.url("/a.tif"), "keys": METADATA}
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, item("i", assets)))
    assert main(["download", "tiny", "--output-dir", "out", "-q"]) == 1
    monkeypatch.delenv("MLHUB_ROOT_URL")
    assert main(["retry", "out/tiny", "-q"]) == 1
    assert TOLD in Path("out/tiny/err_report.csv").read_text()
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url("/mlhub/v1/"))
    server.always("/mlhub/v1/catalog/tiny", redirect(METADATA, 303))
    capsys.readouterr()
    assert main(["download", "tiny", "--output-dir", "other", "-q"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "169.254.169.254" in line
    assert "--allow-private-hosts" in line


@pytest.mark.parametrize(
    ("address", "zone"),
    [
        ("93.184.215.14", None),
        ("2606:2800:21f:cb07::1", None),
        ("127.0.0.1", Zone.LOOPBACK),
        ("127.8.9.10", Zone.LOOPBACK),
        ("0.0.0.0", Zone.LOOPBACK),
        ("::", Zone.LOOPBACK),
        ("::1", Zone.LOOPBACK),
        ("::ffff:127.0.0.1", Zone.LOOPBACK),
        ("169.254.169.254", Zone.LINK_LOCAL),
        ("64:ff9b::a9fe:a9fe", Zone.LINK_LOCAL),
        ("fe80::1%2", Zone.LINK_LOCAL),
        ("10.1.2.3", Zone.PRIVATE),
        ("172.31.0.1", Zone.PRIVATE),
        ("192.168.0.1", Zone.PRIVATE),
        ("100.64.0.1", Zone.PRIVATE),
        ("fd00:ec2::254", Zone.PRIVATE),
        ("2002:a00:1::1", Zone.PRIVATE),
        ("239.1.1.1", Zone.PRIVATE),
        ("255.255.255.255", Zone.PRIVATE),
    ],
)
def test_zones(address: str, zone: Zone | None) -> None:
    assert zone_of(address) is zone
