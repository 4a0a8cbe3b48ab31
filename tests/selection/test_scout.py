"""Row groups as the scan gets them: in order, each once, whatever the first filter says of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.index.build import index_assets
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.scout import judged
from tests.index.kit import item, paths_in, tree, write_archive

GROUPS = 150


class Says:
    """A filter that says of each row group what it was told to."""

    name = "as it was told"
    about_items = False

    def __init__(self, verdicts: list[bool | None]) -> None:
        self._verdicts = itertools.cycle(verdicts)

    def verdict(self, group: RowGroup) -> bool | None:
        return next(self._verdicts)

    def column(self, group: RowGroup) -> str | None:
        return "save_path" if group.number % 5 else None

    def mask(self, group: RowGroup, among: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of as many row groups as assets."""
    where = tmp_path_factory.mktemp("index")
    assets = {f"key{number}": {"href": f"{number}.tif"} for number in range(GROUPS)}
    path = index_assets(
        write_archive(where, tree(item("one", "alpha", assets=assets))), paths_in(where)
    ).path
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=1)
    return path


# Long runs of what is decided, too: so many are not held back.
VERDICTS = st.lists(
    st.tuples(st.sampled_from([True, False, None]), st.sampled_from([1, 2, 70])), min_size=1
).map(lambda runs: [verdict for verdict, length in runs for _ in range(length)])


@settings(max_examples=settings.default.max_examples // 5)
@given(verdicts=VERDICTS)
def test_each_row_group_comes_once_and_in_order(index: Path, verdicts: list[bool | None]) -> None:
    expected = list(itertools.islice(itertools.cycle(verdicts), GROUPS))
    with IndexReader(index) as reader:
        plain = pq.read_table(index, columns=["save_path"]).column(0).to_pylist()
        found = []
        for group, verdict in judged(reader, Says(verdicts)):
            found.append((group.number, verdict))
            assert group.column("save_path").to_pylist() == [plain[group.number]]
    assert found == list(enumerate(expected))


def test_a_scan_that_is_left_early_reads_no_further(index: Path) -> None:
    with IndexReader(index) as reader:
        scan = judged(reader, Says([None]))
        next(scan)
        scan.close()  # waits for what is being read, and for nothing else
        assert reader.read(0, ["save_path"]).num_rows == 1
