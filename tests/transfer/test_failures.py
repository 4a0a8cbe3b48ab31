from __future__ import annotations

import csv
import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import DownloadIncomplete, StorageError
from mlhub_core.redact import redact_url
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.failures import (
    HEADER,
    Failure,
    FailureWriter,
    merge_failures,
    read_failures,
)
from mlhub_core.transfer.report import DownloadReport, PartitionResult, add_up

CELLS = st.characters(blacklist_categories=["Cs"])
ASSET = Asset("c/i/a.tif", "https://u:p@h/a,b.tif?sig=hush&x=1", "c", 'i"1"\n', "a", 5)


def segment(path: Path, *failures: Failure) -> PartitionResult:
    writer = FailureWriter(path, "ds")
    for failure in failures:
        writer.add(ASSET, failure)
    writer.close()
    return PartitionResult(1, failed=writer.count, failures_path=path if writer.count else None)


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_segments_become_one_report(tmp_path: Path) -> None:
    one = segment(tmp_path / "1.csv", Failure("gone", status=404, host="h"), Failure("odd", "x 1"))
    two = segment(tmp_path / "2.csv", Failure("gone", status=404, host="h"))
    none = segment(tmp_path / "3.csv")
    report = tmp_path / "err_report.csv"
    assert merge_failures([one, none, two], report) == {("gone", "h"): 2, ("odd", ""): 1}
    header, *body = rows(report)
    assert tuple(header) == HEADER
    url = "https://***@h/a,b.tif?…"
    assert body[0] == ["gone", "ds", "c", 'i"1"\n', "a", url]
    assert body[1][0] == "odd: x 1"
    assert len(body) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["err_report.csv"]


def test_no_failures_no_report(tmp_path: Path) -> None:
    report = tmp_path / "err_report.csv"
    report.write_text("of an earlier run")
    assert not merge_failures([segment(tmp_path / "1.csv")], report)
    assert not report.exists()
    assert not merge_failures([], report)


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''@x", "\uff1d1"]
TEXTS = st.text(CELLS, max_size=4) | st.sampled_from(FORMULAS)


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(st.tuples(*[TEXTS] * len(HEADER)), max_size=3))
def test_no_cell_is_a_formula_and_each_comes_back(failed: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "err_report.csv")
        merge_failures([], report, kept=failed)
        # Of a URL, what may be a signature is left out.
        expected = [(*others, redact_url(url)) for *others, url in failed]
        assert [tuple(row) for row in read_failures(report)] == expected
        written = [cell for row in rows(report) for cell in row] if failed else []
        assert not [cell for cell in written if cell.startswith(tuple("=+-@\t\r"))]


def test_a_report_of_an_earlier_version_is_read_as_it_is(tmp_path: Path) -> None:
    old = ["gone", "ds", "'70s", "-1", "=B04", "https://h/x?id=1"]
    report = tmp_path / "err_report.csv"
    with report.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([HEADER, old])
    assert list(read_failures(report)) == [old]


def test_a_segment_of_an_earlier_run_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("old")
    FailureWriter(tmp_path / "1.csv", "ds").close()
    assert not (tmp_path / "1.csv").exists()


def test_what_is_flushed_is_there(tmp_path: Path) -> None:
    writer = FailureWriter(tmp_path / "1.csv", "ds")
    writer.flush()
    writer.add(ASSET, Failure("gone"))
    writer.flush()
    assert len(rows(tmp_path / "1.csv")) == 2
    writer.close()


def test_no_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        FailureWriter(tmp_path / "file" / "1.csv", "ds")
    result = segment(tmp_path / "1.csv", Failure("gone"))
    (tmp_path / "report").mkdir()
    with pytest.raises(StorageError, match="Cannot write"):
        merge_failures([result], tmp_path / "report")


def test_a_report_says_what_happened(tmp_path: Path) -> None:
    results = [
        PartitionResult(1, files=6, fetched=4, fetched_bytes=2_500_000, resumed=1, failed=2),
        PartitionResult(2, files=4, kept=3, adopted=1, requests=1),
    ]
    report = DownloadReport(
        "ds",
        tmp_path,
        title="A dataset",
        err_report=tmp_path / "err_report.csv",
        causes=(("HTTP 404 Not Found", "h", 1), ("stalled", "", 1)),
        without_place=2,
        **add_up(results),
    )
    text = report.summary()
    assert "A dataset: 8 of 10 files are here: 4 fetched (2.5 MB), 3 were here already" in text
    assert "1 x HTTP 404 Not Found (h)" in text
    assert "err_report.csv" in text
    with pytest.raises(DownloadIncomplete, match=r"2 of 10 .*err_report\.csv; run") as caught:
        report.raise_for_failures()
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.report == report == pickle.loads(pickle.dumps(report))


def test_a_report_of_success_raises_nothing(tmp_path: Path) -> None:
    report = DownloadReport("ds", tmp_path, files=1, fetched=1)
    report.raise_for_failures()
    assert "could not" not in report.summary()
    assert "err_report" not in report.summary()


def test_many_causes_are_cut_short(tmp_path: Path) -> None:
    causes = tuple((f"cause {n}", "", 1) for n in range(15))
    text = DownloadReport("ds", tmp_path, files=15, failed=15, causes=causes).summary()
    assert "cause 9" in text
    assert "cause 10" not in text
    assert "and 5 other causes" in text
