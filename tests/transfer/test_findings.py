"""The small parts of a check: names in eight bytes, findings in a file, names on a terminal."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.exceptions import DownloadIncomplete, StorageError
from mlhub_core.transfer.findings import (
    Finding,
    Findings,
    Kind,
    Part,
    VerifyReport,
    escaped,
    read_findings,
)
from mlhub_core.transfer.names import NameSet
from mlhub_core.transfer.report import DownloadReport

FILE_NAMES = st.binary(min_size=1, max_size=8).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)


@given(st.lists(st.lists(FILE_NAMES, max_size=4), max_size=4), st.lists(FILE_NAMES, max_size=4))
def test_a_set_of_names_is_a_set(batches: list[list[str]], others: list[str]) -> None:
    names = NameSet()
    for batch in batches:
        names.add(batch)
    added = [name for batch in batches for name in batch]
    twice = names.duplicates()
    asked = added + others
    assert twice.holds(asked) == [added.count(name) > 1 for name in asked]
    assert names.holds(asked) == [name in added for name in asked]
    names.add(others)
    assert all(names.holds(asked))


@given(
    st.lists(
        st.builds(Finding, st.sampled_from(Kind), FILE_NAMES, FILE_NAMES, st.sampled_from(Part)),
        max_size=4,
    )
)
def test_findings_are_read_as_they_were_written(listed: list[Finding]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "deep" / "findings.csv"
        with Findings(path) as findings:
            for finding in listed:
                findings.add(finding)
        assert list(read_findings(path)) == listed
        assert findings.counts.total() == len(listed)
        assert path.exists() == bool(listed)


def test_few_findings_are_held_in_memory(tmp_path: Path) -> None:
    with Findings(tmp_path / "f.csv") as findings:
        for number in range(1000):
            findings.add(Finding(Kind.MISSING, f"{number}"))
        findings.add(Finding(Kind.FOREIGN, "last"))
    assert len(findings.first) < 50
    assert findings.first[-1].path == "last"
    assert len(list(read_findings(tmp_path / "f.csv"))) == 1001
    with Findings(tmp_path / "f.csv"):
        pass
    assert not (tmp_path / "f.csv").exists()


def test_a_listing_that_somebody_changed(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("finding,file,detail,part\nodd,a,b,assets\n")
    with pytest.raises(StorageError, match="Run the same command again"):
        list(read_findings(tmp_path / "f.csv"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b/ü.tif", "a b/ü.tif"), ("\x1b[31m", "\\x1b[31m"), ("\udcff", "\\udcff"), ("\n", "\\n")],
)
def test_names_on_a_terminal(name: str, shown: str) -> None:
    assert escaped(name) == shown


def test_a_summary_names_the_first_and_counts_the_rest(tmp_path: Path) -> None:
    first = tuple(Finding(Kind.DAMAGED, f"c/{number}") for number in range(20))
    report = VerifyReport("ds", tmp_path, files=1200, damaged=1000, foreign=1, first=first)
    lines = report.summary().splitlines()
    assert "1,200 files checked" in lines[0]
    assert "1,000 damaged, 1 foreign" in lines[0]
    assert lines[2:8] == [*(f"  damaged: c/{n}" for n in range(5)), "  and 995 more damaged"]
    assert report.wrong == 1001
    repaired = DownloadReport("ds", tmp_path, files=1000, failed=3, causes=(("gone", "h", 3),))
    after = VerifyReport("ds", tmp_path, damaged=1000, foreign=1, repaired=repaired)
    assert after.wrong == 4
    assert "997 of 1,000 repaired." in after.summary()
    with pytest.raises(DownloadIncomplete, match="3 could not be repaired; 1 foreign"):
        after.raise_for_findings()
