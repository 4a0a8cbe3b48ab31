"""What the reference client gets wrong about security, bytes and retries, in whole runs of ours."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Collection, Dataset
from mlhub_core.exceptions import DownloadIncomplete, EntityDoesNotExist
from tests.acceptance.conftest import QUICK
from tests.acceptance.kit import (
    DATASET,
    ROOT,
    api,
    catalog_members,
    collection,
    item,
    publish,
    tar_gz,
)
from tests.faultserver import Fault, FaultServer, ignore_range, redirect, stall, status, truncate

Files = Callable[[], dict[str, bytes]]
WHOLE = bytes(range(250)) * 4
PLACE = "pictures/a/image.tif"


@pytest.fixture
def picture(server: FaultServer) -> Any:
    return item("a", {"image": server.put("/a.tif", WHOLE)})


# Security


def test_nothing_leaves_the_output_directory(
    download: Any, server: FaultServer, tmp_path: Path
) -> None:
    hostile = [
        item("../../../escaped", {"image": server.put("/1.tif", b"1")}),
        item("b", {"../../../../escaped": server.put("/2.tif", b"2")}),
        item("c", {"image": server.put("/3.tif", b"3")}, collection="../../../escaped"),
        item("/escaped", {"/escaped": server.put("/4.tif", b"4")}, collection="/escaped"),
    ]
    members = {
        **catalog_members(*hostile),
        "../escaped.json": b"{}",
        f"{DATASET}/../../escaped.json": b"{}",
        "/escaped.json": b"{}",
    }
    report = download(members=members)
    assert report.fetched == 4
    assert report.remark_count >= 3
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {DATASET, f"{DATASET}.tar.gz"}
    assert not Path("/escaped").exists()
    assert not Path("/escaped.json").exists()
    contents = [p.read_bytes() for p in (tmp_path / "out" / DATASET).rglob("*.tif")]
    assert sorted(contents) == [b"1", b"2", b"3", b"4"]


def test_a_redirect_that_repeats_the_key_takes_it_to_nobody(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Any
) -> None:
    key = "k+e/y 1"
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, picture, key=key))
    for elsewhere in (
        "/archives/tiny.tar.gz?key=k%2Be%2Fy%201",
        "/archives/tiny.tar.gz?key=k%2Be/y+1",
    ):
        server.put("/archives/tiny.tar.gz?", tar_gz(catalog_members(picture)))
        server.always(api(f"catalog/{DATASET}", key), redirect(elsewhere, 303))
        Dataset.fetch(DATASET, api_key=key).download(tmp_path / elsewhere[-1:], progress=False)
    below_root = [path.startswith(ROOT) for path in server.paths() if "key=" in path]
    assert below_root
    assert all(below_root)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are of POSIX")
def test_the_prompt_does_not_show_the_key_as_it_is_typed(tmp_path: Path) -> None:
    import pty

    child, terminal = pty.fork()
    if child == 0:  # a process of its own, whose terminal is ours to type on
        os.environ["MLHUB_HOME"] = str(tmp_path)
        command = [sys.executable, "-m", "mlhub_core", "configure"]
        os.execv(sys.executable, command)
    shown = b""
    while b"API key" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"cAnArY-typed\n")
    while True:
        try:
            more = os.read(terminal, 1000)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not more:
            break
        shown += more
    _, code = os.waitpid(child, 0)
    os.close(terminal)
    assert code == 0, shown
    assert b"cAnArY" not in shown
    profiles = tmp_path / "profiles"
    assert "cAnArY-typed" in profiles.read_text()
    assert profiles.stat().st_mode & 0o777 == 0o600


# Bytes


@pytest.mark.parametrize("if_exists", ["resume", "skip", "overwrite"])
def test_a_short_body_is_never_taken_for_the_file(
    if_exists: str, picture: Any, download: Any, files: Files, server: FaultServer
) -> None:
    server.always("/a.tif", truncate(400))
    for documents in ((picture,), ()):
        with pytest.raises(DownloadIncomplete):
            download(*documents, if_exists=if_exists)
        assert files() == {}
    server.always("/a.tif", Fault())
    assert download(if_exists=if_exists).fetched == 1
    assert files() == {PLACE: WHOLE}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(headers=(("Accept-Ranges", None),)),
        Fault(headers=(("Accept-Ranges", "none"),), ignore_range=True),
        Fault(chunked=True, ignore_range=True),
        Fault(unframed=True, headers=(("Content-Length", None),), ignore_range=True),
    ],
    ids=["no_ranges", "none", "chunked", "unframed"],
)
def test_servers_that_offer_less_will_do(
    fault: Fault, picture: Any, download: Any, files: Files, server: FaultServer
) -> None:
    server.always("/a.tif", fault)
    server.always("/archives/tiny.tar.gz", fault)
    assert download(picture).fetched == 1
    assert files() == {PLACE: WHOLE}


def test_no_half_file_has_a_final_name(
    picture: Any, download: Any, files: Files, server: FaultServer
) -> None:
    seen: list[dict[str, bytes]] = []
    server.script("/a.tif", truncate(400), truncate(400))
    server.when_asked("/a.tif", lambda: seen.append(files()))
    download(picture)
    assert seen == [{}, {}, {}]
    assert files() == {PLACE: WHOLE}


def test_an_updated_catalog_takes_the_place_of_the_old_one(
    picture: Any, download: Any, files: Files, server: FaultServer
) -> None:
    download(picture)
    more = [
        item(f"b{number}", {"image": server.put(f"/{number}.tif", b"new")}) for number in range(9)
    ]
    server.forget()
    report = download(picture, *more)
    assert (report.kept, report.fetched) == (1, 9)
    assert server.count("/a.tif") == 0
    assert files() == {PLACE: WHOLE, **{f"pictures/b{n}/image.tif": b"new" for n in range(9)}}


@pytest.mark.parametrize("length", [1.0, 0.6], ids=["as_long", "cut_off"])
def test_an_archive_mixed_of_two_states_is_fetched_anew(
    length: float, picture: Any, download: Any, files: Files, server: FaultServer, tmp_path: Path
) -> None:
    """What the reference client leaves when a catalog changed between two of its runs."""
    whole = tar_gz(catalog_members(picture))
    mixed = (whole[:50] + bytes(50) + whole[100:])[: int(len(whole) * length)]
    assert 100 < len(mixed) <= len(whole)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{DATASET}.tar.gz").write_bytes(mixed)
    assert download(picture).fetched == 1
    assert files() == {PLACE: WHOLE}
    assert (tmp_path / "out" / f"{DATASET}.tar.gz").read_bytes() == whole
    statuses = [r.status for r in server.requests if r.path == "/archives/tiny.tar.gz"]
    assert statuses == [416 if length == 1 else 206, 200]


@pytest.mark.parametrize("fault", [Fault(), ignore_range(), truncate(700)], ids=repr)
def test_a_collection_archive_comes_whole(
    fault: Fault, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url(ROOT))
    described = {**collection(), "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}}}
    described["extent"]["temporal"] = {"interval": [[None, None]]}
    server.put(api("collections/pictures"), json.dumps(described).encode())
    whole = tar_gz({"pictures/data.bin": hashlib.shake_128(b"pictures").digest(1_000)})
    server.put("/archives/p.tar.gz", whole)
    server.always(api("archive/pictures"), redirect("/archives/p.tar.gz", 303))
    server.script("/archives/p.tar.gz", fault)
    (tmp_path / "pictures.tar.gz").write_bytes(whole[:300])
    path = Collection.fetch("pictures").download(tmp_path)
    assert Path(path).read_bytes() == whole


# Retries


def test_a_missing_asset_costs_one_request_and_the_others_come(
    picture: Any, download: Any, files: Files, server: FaultServer, tmp_path: Path
) -> None:
    gone = item("gone", {"image": server.url("/gone.tif")})
    with pytest.raises(DownloadIncomplete) as caught:
        download(picture, gone)
    assert server.count("/gone.tif") == 1
    assert (caught.value.report.fetched, caught.value.report.failed) == (1, 1)
    assert files() == {PLACE: WHOLE}


def test_an_unknown_dataset_does_not_exist_and_is_asked_for_once(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_API_KEY", "cAnArY")
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url(ROOT))
    with pytest.raises(EntityDoesNotExist, match='"unknown" does not exist') as caught:
        Dataset.fetch("unknown")
    assert server.paths() == [api("datasets/unknown", "cAnArY")]
    assert "cAnArY" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [stall(), stall(500), truncate(500), status(503, "86400"), status(500)],
    ids=["silent", "stalls", "breaks_off", "retry_after_a_day", "500"],
)
def test_what_may_pass_is_tried_again_and_no_wait_is_without_end(
    fault: Fault, picture: Any, download: Any, files: Files, server: FaultServer
) -> None:
    server.script("/a.tif", fault)
    patience = 1.0 if fault.stall else QUICK.transfer.stall_timeout
    report = download(
        picture, settings=replace(QUICK, transfer=replace(QUICK.transfer, stall_timeout=patience))
    )
    assert report.failed == 0
    # The impatient ask once more for what is merely late.
    assert report.retries == server.count("/a.tif") - 1
    assert report.retries == 1 or fault.stall
    assert files() == {PLACE: WHOLE}


# The report of what failed


def test_what_failed_can_be_tried_again_alone(
    picture: Any, download: Any, files: Files, server: FaultServer, tmp_path: Path
) -> None:
    gone = [item(name, {"image": server.url(f"/{name}.tif")}) for name in ("b", "c")]
    with pytest.raises(DownloadIncomplete):
        download(picture, *gone)
    report = tmp_path / "out" / DATASET / "err_report.csv"
    with report.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["dataset"], row["collection"], row["item"]) for row in rows} == {
        (DATASET, "pictures", "b"),
        (DATASET, "pictures", "c"),
    }
    assert all("404" in row["error"] for row in rows)
    server.forget()
    server.put("/b.tif", b"by now")
    with pytest.raises(DownloadIncomplete):
        download()
    assert sorted(p for p in server.paths() if p.endswith(".tif")) == ["/b.tif", "/c.tif"]
    server.put("/c.tif", b"at last")
    assert download().fetched == 1
    assert not report.exists() or len(report.read_text().splitlines()) == 1
    assert set(files()) == {PLACE, "pictures/b/image.tif", "pictures/c/image.tif"}
