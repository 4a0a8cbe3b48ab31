"""What a new catalog calls changed is fetched anew by the next download, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.paths import DownloadPaths
from mlhub_core.repair import verify
from mlhub_core.transfer.sources import path_digest
from mlhub_core.workspace import tidy_state
from tests.acceptance.conftest import QUICK
from tests.acceptance.kit import DATASET, Json, catalog_members, collection, item
from tests.faultserver import FaultServer


def truth(version: int, name: str) -> bytes:
    return f"version {version} of {name}".encode()


def sums(version: int, name: str) -> dict[str, str]:
    """Checksums of a file, in the ways of catalogs."""
    content = truth(version, name)
    sha256 = hashlib.sha256(content)
    return {
        "md5": f"md5:{hashlib.md5(content).hexdigest()}",
        "sha1": f"1114{hashlib.sha1(content).hexdigest()}",
        "sha512": f"1340{hashlib.sha512(content).hexdigest()}",
        "sha3": f"1620{hashlib.sha3_256(content).hexdigest()}",
        "base64": base64.b64encode(b"\x12\x20" + sha256.digest()).decode(),
        "unknown": f"blake3:{sha256.hexdigest()}",
    }


def changing(server: FaultServer, version: int) -> list[Json]:
    """Items of which the catalog says something else in each version."""
    made = {
        name: {"href": server.put(f"/{name}.csv", truth(version, name)), "file:checksum": text}
        for name in sums(1, "")
        for text in [sums(version, name)[name]]
    }
    href = server.put(f"/file?id={version}&sig={version}", truth(version, "query"))
    made["query"] = {"href": href}
    made["own"] = {
        "href": server.put("/own.csv", truth(version, "own")),
        "updated": f"202{version}",
    }
    longer = truth(version, "size") + b"!" * version
    made["size"] = {"href": server.put("/size.csv", longer), "file:size": len(longer)}
    items = [item(name, {"data": asset}) for name, asset in made.items()]
    dated = {"datetime": "2020-06-01T12:00:00Z", "updated": f"202{version}"}
    of_item = server.put("/of_item.csv", truth(version, "of_item"))
    return [*items, item("of_item", {"data": of_item}, properties=dated)]


def staying(server: FaultServer, version: int) -> list[Json]:
    """Items that are written anew in each version, though their files stay."""
    same = sums(1, "same")
    signed = server.put(f"/signed?X-Amz-Signature={version}&id=7", truth(1, "signed"))
    respelled = {1: f"md5:{hashlib.md5(truth(1, 'same')).hexdigest()}", 2: same["sha512"]}
    vouched = {"href": f"{server.put('/same.csv', truth(1, 'same'))}", "updated": f"202{version}"}
    dated = {"datetime": "2020-06-01T12:00:00Z", "updated": f"202{version}"}
    common = server.put("/readme.txt", b"read me")
    return [
        item("signed", {"data": signed, "documentation": common}, properties=None),
        item("vouched", {"data": {**vouched, "file:checksum": same["base64"]}}),
        item("respelled", {"data": {**vouched, "file:checksum": respelled[version]}}),
        item("common", {"documentation": common}, properties=dated),
    ]


def test_what_the_catalog_changes_is_fetched_anew(
    download: Any, files: Any, server: FaultServer
) -> None:
    download(*changing(server, 1), *staying(server, 1))
    server.forget()
    documents = [*changing(server, 2), *staying(server, 2)]
    report = download(*documents)
    assert report.fetched == len(changing(server, 2))
    found = {name.split("/")[1]: content for name, content in files().items() if "/data" in name}
    changed = [one["id"] for one in changing(server, 2)]
    assert {name: found[name][:9] for name in changed} == dict.fromkeys(changed, b"version 2")
    asked = [path for path in server.paths() if not path.startswith(("/mlhub", "/archives"))]
    assert len(asked) == len(changed)
    assert download().kept == report.files


def as_first_edition(directory: Path) -> None:
    """Let a ledger say as little as those of the first edition."""
    tidy_state(DownloadPaths.of(directory.name, directory.parent))
    table = directory / ".mlhub" / "ledger" / "ledger.sqlite"
    with closing(sqlite3.connect(table)) as connection, connection:
        paths = [path for (path,) in connection.execute("SELECT path FROM files")]
        for path in paths:
            href = f"http://h.test/{path.split('/')[1]}.csv"
            connection.execute(
                "UPDATE files SET source = ? WHERE path = ?", (path_digest(href), path)
            )


def test_a_ledger_of_the_first_edition_is_continued_and_learns(
    download: Any, files: Any, server: FaultServer, tmp_path: Path
) -> None:
    names = [*sums(1, ""), "own", "size", "of_item"]
    first = [one for one in changing(server, 1) if one["id"] in names]
    download(*first)
    as_first_edition(tmp_path / "out" / DATASET)
    server.forget()
    report = download()
    assert (report.kept + report.adopted, report.fetched) == (len(first), 0)
    assert [path for path in server.paths() if path.endswith(".csv")] == []
    second = [one for one in changing(server, 2) if one["id"] in names]
    assert download(*second).fetched == len(second)
    assert all(content.startswith(b"version 2") for content in files().values())


def test_verify_tells_what_the_catalog_has_changed(
    download: Any, files: Any, server: FaultServer, tmp_path: Path
) -> None:
    download(*changing(server, 1), *staying(server, 1))
    download(
        *changing(server, 2),
        *staying(server, 2),
        collection_filter={"pictures": ["documentation"]},
    )
    report = verify(tmp_path / "out" / DATASET)
    assert report.outdated == len(changing(server, 2))
    with pytest.raises(DownloadIncomplete, match="not as it should be"):
        report.raise_for_findings()
    assert any("outdated: pictures/md5/data.csv" in line for line in report.summary().splitlines())
    repaired = verify(tmp_path / "out" / DATASET, repair=True)
    assert repaired.wrong == 0
    assert verify(tmp_path / "out" / DATASET).wrong == 0
    changed = [one["id"] for one in changing(server, 2)]
    for name, content in files().items():
        if name.split("/")[1] in changed:
            assert content.startswith(b"version 2")


@pytest.mark.parametrize("unarchive", [True, False], ids=["unarchived", "archived"])
@pytest.mark.parametrize("apart", [True, False], ids=["elsewhere", "in place"])
def test_what_the_archive_carries_changes_with_it(
    download: Any, files: Any, tmp_path: Path, unarchive: bool, apart: bool
) -> None:
    """Neither URL nor size nor anything else in the catalog tells: its bytes do."""
    documents = [item("i0", {"notes": {"href": "./notes.txt"}, "kept": {"href": "./kept.txt"}})]
    settings = replace(QUICK, unarchive=unarchive)
    options: dict[str, Any] = {"settings": settings}
    if apart:
        options["asset_output_dir"] = tmp_path / "assets"
    root = (tmp_path / "assets" if apart else tmp_path / "out") / DATASET / "pictures" / "i0"
    for text in (b"one", b"two", b"two"):
        members = catalog_members(*documents, collection())
        members |= {"tiny/pictures/n0/notes.txt": text, "tiny/pictures/n0/kept.txt": b"kept"}
        report = download(members=members, **options)
        assert report.failed == 0
        assert (root / "notes.txt").read_bytes() == text
        assert (root / "kept.txt").read_bytes() == b"kept"
    assert report.kept == 2
    assert verify(root.parent.parent).wrong == 0


def test_verify_finds_pages_that_earlier_versions_took_for_files(
    download: Any, files: Any, server: FaultServer, tmp_path: Path
) -> None:
    page, truth = b"<!DOCTYPE html><title>Log in</title>", b"a,b\n1,2\n"
    server.put("/a.csv", page)
    href = {"href": server.url("/a.csv"), "type": "text/html"}
    download(item("a", {"data": href, "page": href}))
    server.put("/a.csv", truth)
    directory = tmp_path / "out" / DATASET
    index = directory / "mlhub_stac_assets.parquet"
    table = pq.read_table(index)
    kinds = ["text/csv" if key == "data" else "text/html" for key in table["asset_key"].to_pylist()]
    at = table.schema.get_field_index("media_type")
    pq.write_table(table.set_column(at, table.schema.field(at), [kinds]), index)
    report = verify(directory)
    assert (report.damaged, report.wrong) == (1, 1)
    assert "an HTML page in place of a .csv file" in report.summary()
    assert verify(directory, repair=True).wrong == 0
    assert files()["pictures/a/data.csv"] == truth
    assert verify(directory).wrong == 0
