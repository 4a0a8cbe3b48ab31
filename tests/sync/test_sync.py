"""A catalog that changes: what is fetched for it, and what is not."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import DownloadIncomplete, InvalidArgument
from mlhub_core.pipeline import download
from mlhub_core.repair import verify
from mlhub_core.selection.plan import Plan
from tests.acceptance.kit import catalog_members, item, publish
from tests.faultserver import Fault, status
from tests.sync.conftest import ARCHIVE, CATALOG, Publisher, Snapshot


def test_the_first_sync_is_a_download(publisher: Publisher) -> None:
    report = publisher.sync()
    assert report.changes is None
    assert not report.current
    assert publisher.here() == publisher.files


@pytest.mark.parametrize("first", ["sync", "download"])
def test_nothing_new_is_one_request_and_no_write(
    publisher: Publisher, snapshot: Snapshot, first: str
) -> None:
    publisher.sync() if first == "sync" else download(publisher.request())
    before = snapshot()
    report = publisher.sync(prune=first == "sync")
    assert report.current
    assert publisher.server.paths() == [CATALOG, ARCHIVE]
    assert [request.status for request in publisher.server.requests] == [303, 304]
    assert snapshot() == before


def test_what_is_new_or_different_is_fetched_and_nothing_else(publisher: Publisher) -> None:
    publisher.sync()
    publisher.put("i20", b"new")
    publisher.put("i03", b"another size", updated="2021-01-01T00:00:00Z")
    publisher.put("i04", b"CONTENT 4", updated="2022-02-02T00:00:00Z")  # as long as before
    publisher.drop("i05")
    publisher.publish()
    report = publisher.sync()
    assert publisher.asked() == ["i03", "i04", "i20"]
    assert report.changes is not None
    assert str(report.changes) == "1 added, 2 changed, 1 removed"
    assert report.download is not None
    assert (report.download.fetched, report.download.kept) == (3, 9)
    assert {**publisher.files, "i05": b"content 5"} == publisher.here()
    with report.changes.table.open(encoding="utf-8", newline="") as file:
        listed = [(row["change"], row["item"], row["file"]) for row in csv.DictReader(file)]
    assert sorted(listed) == [
        ("added", "i20", "pictures/i20/data.tif"),
        ("changed", "i03", "pictures/i03/data.tif"),
        ("changed", "i04", "pictures/i04/data.tif"),
        ("removed", "i05", "pictures/i05/data.tif"),
    ]
    assert publisher.sync().current


def test_another_query_is_another_file_and_another_signature_is_not(publisher: Publisher) -> None:
    publisher.query = {"i01": "?v=1", "i02": "?sig=one&v=1"}
    publisher.put("i01", b"content 1")
    publisher.put("i02", b"content 2")
    publisher.publish()
    publisher.sync()
    publisher.query = {"i01": "?v=2", "i02": "?sig=two&v=1"}
    publisher.put("i01", b"CONTENT 1")
    publisher.put("i02", b"CONTENT 2")
    publisher.publish()
    report = publisher.sync()
    assert publisher.asked() == ["i01"]
    assert report.changes is not None
    assert report.changes.changed == 1


def test_what_is_gone_is_moved_only_when_asked(publisher: Publisher) -> None:
    publisher.sync()
    publisher.drop("i05")
    publisher.publish()
    mine = publisher.place("i05").with_name("notes.txt")
    mine.write_text("of mine")
    publisher.sync()
    assert publisher.place("i05").exists()
    report = publisher.sync(prune=True)
    assert report.pruned == 1
    assert not publisher.place("i05").exists()
    assert mine.exists()
    (trashed,) = publisher.paths.state_dir.glob("trash/*/pictures/i05/data.tif")
    assert trashed.read_bytes() == b"content 5"
    assert publisher.sync(prune=True).current


def test_nothing_of_the_old_catalog_is_left(publisher: Publisher) -> None:
    publisher.sync()
    described = {path.name for path in publisher.paths.catalog_dir.rglob("n*.json")}
    publisher.drop("i10")
    publisher.drop("i11")
    publisher.publish()
    publisher.sync()
    assert verify(publisher.paths.asset_dir).foreign == 2
    publisher.put("i11", b"back")
    publisher.publish()
    publisher.sync(prune=True)
    left = {path.name for path in publisher.paths.catalog_dir.glob("pictures/**/n*.json")}
    assert len(described - left) == 1
    assert verify(publisher.paths.asset_dir).wrong == 0
    assert publisher.sync(prune=True).current


def test_what_a_filter_leaves_out_is_neither_fetched_nor_gone(publisher: Publisher) -> None:
    publisher.put("i30", b"later", datetime="2023-01-01T00:00:00Z")
    publisher.publish()
    publisher.sync()
    publisher.put("i30", b"later still", datetime="2023-01-01T00:00:00Z")
    publisher.put("i01", b"else")
    publisher.publish()
    report = publisher.sync(datetime="2020", prune=True)
    assert publisher.asked() == ["i01"]
    assert report.pruned == 0
    assert publisher.sync(datetime="2020").current
    assert publisher.place("i30").read_bytes() == b"later"
    publisher.sync()
    assert publisher.asked() == ["i30"]
    assert publisher.here() == publisher.files


def test_what_comes_back_is_fetched_anew(publisher: Publisher) -> None:
    publisher.sync()
    publisher.drop("i05")
    publisher.publish()
    publisher.sync()
    publisher.put("i05", b"CONTENT 5")
    publisher.publish()
    publisher.sync()
    assert publisher.asked() == ["i05"]
    assert publisher.here() == publisher.files


def test_failures_are_tried_again_by_the_next_sync(publisher: Publisher) -> None:
    publisher.sync()
    publisher.put("i07", b"changed")
    publisher.publish()
    publisher.server.always("/f/i07.tif", status(404))
    report = publisher.sync()
    with pytest.raises(DownloadIncomplete):
        report.raise_for_failures()
    assert publisher.place("i07").read_bytes() == b"content 7"
    publisher.server.always("/f/i07.tif", Fault())
    again = publisher.sync()
    assert publisher.asked() == ["i07"]
    assert str(again.changes) == "0 added, 1 changed, 0 removed"
    assert publisher.here() == publisher.files
    assert publisher.sync().current


def test_a_download_in_between_loses_nothing_that_it_can_see(publisher: Publisher) -> None:
    publisher.sync()
    publisher.put("i07", b"another size")
    publisher.publish()
    download(publisher.request())
    assert publisher.sync().current
    assert publisher.here() == publisher.files


def test_part_of_a_dataset_is_not_taken_for_all_of_it(publisher: Publisher) -> None:
    publisher.put("i30", b"later", datetime="2023-01-01T00:00:00Z")
    publisher.publish()
    plans: list[Plan] = []
    download(publisher.request(datetime="2023"))
    download(replace(publisher.request(datetime="2023"), dry_run=True), on_plan=plans.append)
    download(replace(publisher.request(), plan=plans[0].directory / "plan.json"))
    assert publisher.sync(datetime="2023").current
    assert not publisher.sync().current
    assert publisher.here() == publisher.files


@pytest.mark.parametrize(
    "fields", [{"catalog_only": True}, {"if_exists": "overwrite"}], ids=["catalog", "overwrite"]
)
def test_what_only_a_download_does_is_refused(
    publisher: Publisher, fields: dict[str, object]
) -> None:
    with pytest.raises(InvalidArgument):
        publisher.sync(**fields)
    assert not publisher.server.requests


def test_the_command(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sync", "tiny", "--output-dir", str(publisher.root)]
    assert main(words) == 0
    publisher.drop("i05")
    publisher.publish()
    assert main([*words, "--prune"]) == 0
    assert "0 added, 0 changed, 1 removed" in capsys.readouterr().out
    assert main([*words, "--prune"]) == 0
    assert "has not changed" in capsys.readouterr().out
    assert publisher.here() == publisher.files


@pytest.mark.parametrize("unarchive", [True, False], ids=["unarchived", "archived"])
def test_files_that_the_archive_carries(publisher: Publisher, unarchive: bool) -> None:
    documents = [item("i0", {"notes": {"href": "./notes.txt"}, "kept": {"href": "./kept.txt"}})]
    place = publisher.paths.asset_dir / "pictures" / "i0"
    for text in (b"one", b"two!"):
        members = catalog_members(*documents)
        members |= {"tiny/pictures/n0/notes.txt": text, "tiny/pictures/n0/kept.txt": b"kept"}
        updated = {"datetime": "2020-06-01T12:00:00Z", "updated": text.decode()}
        members |= catalog_members({**documents[0], "properties": updated})
        publish(publisher.server, members=members)
        report = publisher.sync(unarchive=unarchive)
        assert report.download is not None
        assert report.download.failed == 0
        assert (place / "notes.txt").read_bytes() == text
        assert (place / "kept.txt").read_bytes() == b"kept"
    assert str(report.changes) == "0 added, 2 changed, 0 removed"
    assert publisher.sync(unarchive=unarchive).current
