"""``mlhub retry``: what ``err_report.csv`` names is asked for, and nothing else."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import DirectoryBusy, DownloadIncomplete, Interrupted, InvalidArgument
from mlhub_core.pipeline import download
from mlhub_core.progress import Progress
from mlhub_core.repair import retry
from mlhub_core.request import DownloadRequest
from mlhub_core.runner import InProcess
from mlhub_core.state import directory_lock
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.failures import HEADER
from mlhub_core.transfer.report import DownloadReport
from tests.acceptance.kit import DATASET, catalog_members, collection, item, publish
from tests.faultserver import Fault, FaultServer, status
from tests.transfer.tiny import SETTINGS, Tiny

GOOD = Fault()


@pytest.fixture
def tiny(tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Downloaded but for the files 3, 5 and 7, which are had from now on."""
    tiny = Tiny(tmp_path / "data", server, 10)
    monkeypatch.setenv("MLHUB_ROOT_URL", tiny.publish())
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    break_files(tiny, [3, 5, 7], status(404))
    assert tiny.download().failed == 3
    break_files(tiny, [3, 5, 7], GOOD)
    server.forget()
    return tiny


def break_files(tiny: Tiny, numbers: Iterable[int], fault: Fault) -> None:
    for number in numbers:
        tiny.server.always(tiny.url_path(number), fault)


def rows(tiny: Tiny) -> list[dict[str, str]]:
    if not tiny.paths.err_report.exists():
        return []
    with tiny.paths.err_report.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def go(tiny: Tiny) -> DownloadReport:
    return retry(tiny.directory, settings=SETTINGS)


def test_only_what_failed_is_asked_for(tiny: Tiny) -> None:
    report = go(tiny)
    assert sorted(tiny.server.paths()) == [tiny.url_path(number) for number in (3, 5, 7)]
    assert (report.files, report.fetched, report.failed) == (3, 3, 0)
    assert report.err_report is None
    assert not tiny.paths.err_report.exists()
    assert tiny.is_whole()
    report.raise_for_failures()


def test_what_fails_again_stays_in_the_report(tiny: Tiny) -> None:
    break_files(tiny, [5], status(410))
    report = go(tiny)
    assert (report.files, report.fetched, report.failed) == (3, 2, 1)
    assert [row["item"] for row in rows(tiny)] == ["i005"]
    assert "410" in rows(tiny)[0]["error"]
    assert sum(count for _, _, count in report.causes) == 1
    with pytest.raises(DownloadIncomplete):
        report.raise_for_failures()
    tiny.server.forget()
    break_files(tiny, [5], GOOD)
    assert go(tiny).failed == 0
    assert tiny.server.paths() == [tiny.url_path(5)]


def test_what_has_come_since_is_not_asked_for(tiny: Tiny) -> None:
    report = tiny.paths.err_report.read_bytes()
    tiny.download()
    tiny.paths.err_report.write_bytes(report)
    tiny.server.forget()
    done = go(tiny)
    assert (done.kept, done.requests) == (3, 0)
    assert tiny.server.paths() == []
    assert not tiny.paths.err_report.exists()


def test_a_file_missing_from_disk_but_not_from_the_report_is_left(tiny: Tiny) -> None:
    tiny.final(1).unlink()
    go(tiny)
    assert tiny.url_path(1) not in tiny.server.paths()


def test_a_row_that_the_index_does_not_know_stays(tiny: Tiny) -> None:
    strange = ["gone", "tiny", "pictures", "no such item", "data", "https://h/x"]
    with tiny.paths.err_report.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(strange)
        csv.writer(file).writerow(["too", "short"])
    report = go(tiny)
    assert (report.files, report.fetched, report.failed) == (4, 3, 1)
    assert ("not in the asset index", "", 1) in report.causes
    assert rows(tiny) == [dict(zip(HEADER, strange, strict=True))]


def test_nothing_to_retry(tiny: Tiny) -> None:
    go(tiny)
    tiny.server.forget()
    assert go(tiny).files == 0
    tiny.paths.err_report.write_text(",".join(HEADER) + "\r\n")
    assert go(tiny).files == 0
    assert tiny.server.paths() == []


@pytest.mark.parametrize(
    "text", ["404,tiny,pictures,i003,data,https://h/3.tif\n", '"' + "x" * 200_000, "\n\n"]
)
def test_a_report_of_somebody_else(tiny: Tiny, text: str) -> None:
    tiny.paths.err_report.write_text(text)
    with pytest.raises(InvalidArgument, match=r"err_report\.csv"):
        go(tiny)
    assert tiny.paths.err_report.read_text() == text


def test_without_an_index(tiny: Tiny) -> None:
    tiny.paths.index.unlink()
    with pytest.raises(InvalidArgument, match="run the download again"):
        go(tiny)
    assert len(rows(tiny)) == 3


def test_a_stop_leaves_the_report(tiny: Tiny) -> None:
    stop = StopFlag()
    tiny.server.when_asked(tiny.url_path(5), stop.set)
    break_files(tiny, [5], Fault(stall=True))
    with pytest.raises(Interrupted):
        retry(tiny.directory, InProcess(stop=stop), settings=SETTINGS)
    assert len(rows(tiny)) == 3
    break_files(tiny, [5], GOOD)
    assert go(tiny).failed == 0
    assert tiny.is_whole()


def test_another_run_in_the_directory(tiny: Tiny) -> None:
    with directory_lock(tiny.paths), pytest.raises(DirectoryBusy):
        go(tiny)


@pytest.mark.parametrize(
    "how",
    [["--dry-run"], ["--catalog-only"], ["--limit", "2"], ["--collection", "pictures=labels"]],
)
def test_a_run_that_did_not_try_them_leaves_them(tiny: Tiny, how: list[str]) -> None:
    before = rows(tiny)
    words = ["download", DATASET, "--output-dir", str(tiny.root), "--quiet"]
    assert main([*words, *how]) == 0
    assert rows(tiny) == before
    assert main(["retry", str(tiny.directory), "--quiet"]) == 0
    assert tiny.is_whole()
    assert not tiny.paths.err_report.exists()


def test_a_filtered_run_drops_what_it_has_and_keeps_the_rest(tiny: Tiny) -> None:
    break_files(tiny, [5], status(410))
    words = ["download", DATASET, "--output-dir", str(tiny.root), "--quiet"]
    assert main([*words, "--limit", "6"]) == 1
    assert [(row["item"], row["error"][:8]) for row in rows(tiny)] == [
        ("i007", "HTTP 404"),
        ("i005", "HTTP 410"),
    ]
    break_files(tiny, [5], GOOD)
    assert main(words) == 0
    assert not tiny.paths.err_report.exists()


def test_what_failed_before_a_stop_is_asked_for(tiny: Tiny) -> None:
    tiny.download()
    for number in (2, 4):
        tiny.final(number).unlink()
    break_files(tiny, [2], status(404))
    stop = StopFlag()
    tiny.server.always(tiny.url_path(4), Fault(stall=True))

    def stop_then(progress: Progress) -> None:
        if progress.failed:
            stop.set()

    request = DownloadRequest(DATASET, tiny.root, settings=SETTINGS)
    with pytest.raises(Interrupted):
        download(request, InProcess(stop=stop, on_progress=stop_then))
    break_files(tiny, [2, 4], GOOD)
    assert main(["retry", str(tiny.directory), "--quiet"]) == 0
    assert tiny.final(2).read_bytes() == tiny.truth(2)


def test_a_file_of_many_items_is_one_file(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always("/assets/readme.md", status(404))
    url = server.url("/assets/readme.md")
    documents = [item(name, {"documentation": url}) for name in ("i1", "i2")]
    root = publish(server, members=catalog_members(collection(), *documents))
    monkeypatch.setenv("MLHUB_ROOT_URL", root)
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    words = ["download", DATASET, "--output-dir", str(tmp_path), "--quiet"]
    assert main(words) == 1
    server.put("/assets/readme.md", b"read me")
    server.always("/assets/readme.md", GOOD)
    for name in ("i1", "i2"):
        assert main([*words, "--where", f"id = '{name}'"]) == 0
        assert not (tmp_path / DATASET / "err_report.csv").exists()


def test_the_command(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    break_files(tiny, [5], status(404))
    assert main(["retry", str(tiny.directory), "--quiet"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    break_files(tiny, [5], GOOD)
    assert main(["retry", str(tiny.directory), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["retry", str(tiny.directory)]) == 0
    assert "Nothing to retry" in capsys.readouterr().out
    assert main(["retry", str(tiny.root / "nowhere")]) == 2
