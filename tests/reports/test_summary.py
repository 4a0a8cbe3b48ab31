"""The page about a run: what it says, and what catalogs cannot make it say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.paths import DownloadPaths
from mlhub_core.reports.summary import failure_rows, outcome, plain, summary_markdown
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan
from mlhub_core.sources.base import CollectionInfo, DatasetInfo
from mlhub_core.transfer.report import DownloadReport

HERE = Path("/data/demo")
INFO = DatasetInfo(
    "demo",
    "Demo | fields",
    "10.1/x",
    "Somebody <b>2021</b>, https://x.example/?key=SECRET",
    collections=(CollectionInfo("a", license="CC0-1.0"), CollectionInfo("b", license="MIT")),
)
FUNNEL = (("in the dataset", 1200), ("after the datetime filter", 1000))
PLAN = Plan("demo", HERE, (), 1000, 250, 0, 1000, FUNNEL, without_time=3)
PATHS = DownloadPaths.of("demo", "/data")
CAUSES = (("HTTP 404 Not Found", "x.example", 7), ("too slow", "y.example:8080", 3))


def page(report: DownloadReport, plan: Plan | None = PLAN, picture: str | None = None) -> str:
    wanted = AssetFilter.create(datetime="2016")
    return summary_markdown(INFO, report, PATHS, wanted, plan, picture)


def test_a_page_about_a_success() -> None:
    report = DownloadReport(
        "demo",
        HERE,
        files=1000,
        fetched=600,
        fetched_bytes=6_000_000,
        kept=400,
        retries=5,
        requests=605,
        seconds=2.0,
        index_path=HERE / "index.parquet",
    )
    text = page(report, picture="data:image/svg+xml;base64,AAAA")
    assert text.startswith("# Demo \\| fields\n")
    for words in (
        "**All 1,000 files are here: 600 fetched (6.0 MB) in 2.0 s, 400 were here already.**",
        "[10.1/x](https://doi.org/10.1/x)",
        "Licence: CC0-1.0; MIT",
        "Somebody &lt;b&gt;2021&lt;/b&gt;",
        "| 1,000 | after the datetime filter |",
        "3 items without a time left out.",
        "Skipped, because here already: 400",
        "605, 5",
        "300 files/s, 3.0 MB/s",
        "`/data/demo/index.parquet`",
        "`/data/demo.tar.gz`",
        "](data:image/svg+xml;base64,AAAA)",
    ):
        assert words in text
    assert "SECRET" not in text
    assert "Failures" not in text


def test_a_page_about_failures() -> None:
    report = DownloadReport(
        "demo", HERE, files=20, fetched=10, failed=10, err_report=HERE / "e.csv", causes=CAUSES
    )
    text = page(report)
    assert "**10 of 20 assets could not be had.**" in text
    assert "| 7 | HTTP 404 Not Found | x.example |" in text
    assert "Report of failures: `/data/demo/e.csv`" in text
    assert failure_rows(report) == [
        {"assets": 7, "cause": "HTTP 404 Not Found", "host": "x.example"},
        {"assets": 3, "cause": "too slow", "host": "y.example:8080"},
    ]


def test_a_great_many_causes_are_cut_short() -> None:
    causes = tuple((f"cause {number}", "", 2) for number in range(1000))
    report = DownloadReport("demo", HERE, files=2000, failed=2000, causes=causes)
    rows = failure_rows(report)
    assert len(rows) == 201
    assert sum(int(row["assets"]) for row in rows) == 2000
    assert len(page(report)) < 3_000


def test_a_page_about_a_catalog_alone() -> None:
    text = page(DownloadReport("demo", HERE, catalog_only=True), plan=None)
    assert "no assets were asked for" in text
    assert "Transfer" not in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"files": 3, "kept": 3}, "Everything was there already (3 files): nothing was fetched."),
        ({"files": 1, "kept": 1}, "Everything was there already (1 file): nothing was fetched."),
        ({"files": 3, "kept": 1, "adopted": 2}, "Everything was there already (3 files)"),
        ({"files": 3, "fetched": 3, "seconds": 75.0}, "3 fetched (0 B) in 1 min 15 s."),
        ({"files": 3, "fetched": 1, "kept": 2, "seconds": 7300.0}, "in 2 h 01 min, 2 were here"),
        ({}, "The filters leave nothing, and that was allowed"),
        ({"catalog_only": True}, "The catalog is here"),
    ],
)
def test_what_a_run_came_to_in_one_sentence(fields: dict[str, object], words: str) -> None:
    said = outcome(DownloadReport("demo", HERE, **fields))
    assert words in said
    assert "\n" not in said


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    said = plain(text)
    assert "\n" not in said
    assert "<" not in said
    assert ">" not in said
    bare = said.replace("\\\\", "")
    for sign in "`|[]*_":
        assert bare.count(sign) == bare.count("\\" + sign)
