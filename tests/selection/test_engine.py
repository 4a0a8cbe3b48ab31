"""The query engine against the one before it, and against a naive query in plain Python."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mlhub_core.index.build import index_assets
from mlhub_core.progress import ignore
from mlhub_core.selection import query as before
from mlhub_core.selection.engine import Query
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.stop import StopFlag
from tests.index.kit import paths_in, tree, write_archive
from tests.selection.test_query import GROUPS, filters, items, regroup

Json = dict[str, Any]
CATALOGS = int(os.environ.get("CATALOGS", "10"))


@st.composite
def narrowed(draw: st.DrawFn) -> AssetFilter:
    wanted = draw(filters()).to_dict()
    if draw(st.booleans()):
        wanted["sample"], wanted["seed"] = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    if draw(st.booleans()):
        wanted["limit"] = draw(st.integers(1, 4))
    wanted["with_sources"] = draw(st.booleans())
    return AssetFilter.from_dict(wanted)


@st.composite
def linked(draw: st.DrawFn) -> list[Json]:
    made = draw(items())
    for one in made:
        other = draw(st.sampled_from([None, *made]))
        if other is not None and draw(st.booleans()):
            href = f"../../{other['collection']}/{other['id']}/{other['id']}.json"
            one["links"] = [{"rel": "source", "href": href}]
    return made


@pytest.mark.slow
@settings(max_examples=CATALOGS, deadline=None, phases=[Phase.generate])
@given(linked(), st.lists(st.one_of(filters(), narrowed()), min_size=10, max_size=10), GROUPS)
def test_new_equals_old(made: list[Json], some: list[AssetFilter], group: tuple[int, bool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        path = index_assets(write_archive(where, tree(*made)), paths_in(where)).path
        regroup(path, *group)
        with IndexReader(path) as reader:
            for wanted in some:
                _compare(reader, wanted)


def _compare(reader: IndexReader, wanted: AssetFilter) -> None:
    old = before.Query(reader, wanted, True, StopFlag(), ignore)
    old.run()
    new = Query(reader, wanted)
    new.run(allow_empty=True)
    expected = np.concatenate([old.chosen.get(group) for group in reader.groups()])
    assert new.chosen.tolist() == expected.tolist()
    files, _ = old.files()
    expected = np.concatenate([files.get(group) for group in reader.groups()])
    assert new.files().tolist() == expected.tolist()
    assert new.funnel() == old.scan.funnel()
    assert new.lacking("place") == old.scan.without_place
    assert new.lacking("time") == old.scan.without_time
    summary = new.summary()
    assert summary.rows == old.tally.rows
    assert summary.item_rows == old.tally.item_rows
    assert summary.collections == old.tally.collections()
    assert summary.span == old.tally.span
    assert summary.box == old.tally.box
