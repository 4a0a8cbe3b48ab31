"""What notebooks show: foreign texts escaped, nobody asked, a bounded size, a map."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from mlhub_core.datasets.dataset import Dataset, DatasetList
from mlhub_core.display import NotebookBars
from mlhub_core.progress import Progress, Stage
from mlhub_core.selection.plan import Plan
from mlhub_core.transfer.report import DownloadReport
from mlhub_core.views.html import MOST_ROWS
from tests.views.test_map import partition, write_index

NASTY = "<script>alert(1)</script>\"><img src=x onerror='x'>"


class _Reader(HTMLParser):
    """Which elements there are, and what they fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    assert reader.elements <= {"div", "table", "thead", "tbody", "tr", "th", "td", "img"}
    assert all(url.startswith("data:image/svg+xml;base64,") for url in reader.fetched)
    return reader


def nasty() -> Dataset:
    types = [NASTY]
    return Dataset(NASTY, [{"id": NASTY, "types": types}], NASTY, NASTY, NASTY, NASTY)


def test_texts_of_catalogs_are_no_markup() -> None:
    one = nasty()
    assert NASTY in read(one._repr_html_()).text
    assert NASTY in read(DatasetList([one])._repr_html_()).text


def test_a_list_of_datasets_reads_as_a_table() -> None:
    datasets = DatasetList([Dataset("a", title="First"), Dataset("longer", title="Second")])
    assert str(datasets) == "a       First\nlonger  Second"
    assert repr(datasets) == "[<Dataset a: First>, <Dataset longer: Second>]"
    assert datasets == list(datasets)
    many = DatasetList([Dataset(f"d{number}") for number in range(5_000)])
    shown = read(many._repr_html_())
    assert f"and {5_000 - MOST_ROWS:,} more" in shown.text
    assert len(many._repr_html_()) < 60_000


def test_a_report_has_a_map(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i.parquet", [(1, 1, 2, 2)], (1, 1, 2, 2))
    causes = ((NASTY, "x.example", 2),)
    report = DownloadReport(NASTY, tmp_path, index_path=index, files=3, failed=2, causes=causes)
    shown = read(report._repr_html_())
    assert NASTY in shown.text
    assert len(shown.fetched) == 1
    index.write_bytes(b"damaged")
    assert "No map" in read(report._repr_html_()).text


def test_a_plan_has_a_map(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir()
    write_index(place / "mlhub_stac_assets.parquet", [(1, 1, 2, 2), None], (1, 1, 2, 2))
    plan = Plan(
        "data",
        tmp_path,
        (partition(tmp_path / "p.parquet", ["item-0"]),),
        files=1,
        items=1,
        known_bytes=5,
        unknown_sizes=0,
        funnel=(("in the dataset", 4), (NASTY, 1)),
        collections=((NASTY, 1),),
        output_dir=str(tmp_path),
        asset_output_dir=str(tmp_path),
    )
    shown = read(plan._repr_html_())
    assert NASTY in shown.text
    assert len(shown.fetched) == 1
    assert len(plan._repr_html_()) < 60_000


def test_bars_of_a_notebook_are_one_output() -> None:
    pages: list[str] = []
    outputs: list[str] = []

    def show(page: str) -> object:
        outputs.append(page)
        return pages.append

    with NotebookBars(show) as bars:
        for done in range(0, 101):
            bars(Progress(Stage.DOWNLOAD, done, 100, finished=done == 100))
    assert len(outputs) == 1
    assert "100 of 100 files" in read(pages[-1]).text
    assert "width:100%" in pages[-1]


def test_without_a_notebook_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, mlhub_core; from mlhub_core import Dataset; print(Dataset('a'));"
        "assert not [n for n in ('IPython', 'matplotlib', 'mlhub_core.views.html') "
        "if n in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
