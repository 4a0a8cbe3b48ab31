from __future__ import annotations

import json
import os
import pickle
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import StorageError
from mlhub_core.transfer.ledger import (
    Entry,
    LedgerReader,
    LedgerWriter,
    State,
    check,
    entries,
    merge_journals,
)


def entry(path: str, size: int = 1) -> Entry:
    return Entry(path, size, "aa", '"e"', None, "src", State.VERIFIED, 1.5)


def write(directory: Path, *items: Entry, number: int = 1) -> Path:
    before = set(directory.glob("*.jsonl"))
    writer = LedgerWriter(directory, number)
    for item in items:
        writer.add(item)
    writer.close()
    (journal,) = set(directory.glob("*.jsonl")) - before
    return journal


def find(directory: Path, *paths: str) -> dict[str, Entry]:
    reader = LedgerReader(directory)
    try:
        return reader.find(list(paths))
    finally:
        reader.close()


def test_what_is_written_is_found(tmp_path: Path) -> None:
    write(tmp_path, entry("a"), entry("b/c ü"), entry("x"))
    assert find(tmp_path, "a", "b/c ü", "nowhere") == {"a": entry("a"), "b/c ü": entry("b/c ü")}


def test_the_latest_entry_counts_compacted_or_not(tmp_path: Path) -> None:
    write(tmp_path, entry("a", 1), entry("b", 1))
    merge_journals(tmp_path)
    write(tmp_path, entry("a", 2), number=9)
    write(tmp_path, entry("a", 3), number=2)
    assert find(tmp_path, "a", "b") == {"a": entry("a", 3), "b": entry("b", 1)}
    assert merge_journals(tmp_path) == 2
    assert find(tmp_path, "a", "b") == {"a": entry("a", 3), "b": entry("b", 1)}
    assert list(tmp_path.glob("*.jsonl")) == []
    assert list(entries(tmp_path)) == [entry("a", 3), entry("b", 1)]
    assert merge_journals(tmp_path) == 0


def test_a_crash_between_merging_and_removing_is_harmless(tmp_path: Path) -> None:
    journal = write(tmp_path, entry("a", 1), entry("a", 2))
    data = journal.read_bytes()
    merge_journals(tmp_path)
    journal.write_bytes(data)
    assert merge_journals(tmp_path) == 2
    assert find(tmp_path, "a") == {"a": entry("a", 2)}


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(0, 400), junk=st.binary(max_size=20))
def test_a_torn_end_loses_its_line_only(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    journal = write(tmp_path_factory.mktemp("l"), *(entry(f"path{n}", n) for n in range(4)))
    data = journal.read_bytes()[:cut]
    journal.write_bytes(data + junk.replace(b"\n", b""))
    whole = [entry(f"path{n}", n) for n in range(data.count(b"\n"))]
    assert find(journal.parent, *(f"path{n}" for n in range(4))) == {one.path: one for one in whole}
    assert merge_journals(journal.parent) == len(whole)
    assert list(entries(journal.parent)) == whole


def test_a_line_of_something_else_is_left_out(tmp_path: Path) -> None:
    journal = write(tmp_path, entry("a"))
    journal.write_bytes(b'[1]\nnull\n["p","x",1,1,1,1,"odd",1]\n' + journal.read_bytes())
    assert merge_journals(tmp_path) == 1
    assert list(entries(tmp_path)) == [entry("a")]


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.just(["x"])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 7), VALUES)
def test_a_line_with_a_field_of_another_kind_harms_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: object
) -> None:
    directory = tmp_path_factory.mktemp("l")
    fields: list[object] = list(entry("b"))
    fields[place] = value
    journal = write(directory, entry("a"))
    journal.write_bytes(json.dumps(fields).encode() + b"\n" + journal.read_bytes())
    assert merge_journals(directory) in (1, 2)
    found = list(entries(directory))
    assert entry("a") in found
    assert all(isinstance(one.state, State) and isinstance(one.size, int) for one in found)


NAMES = st.text("ab/é\U0001f600 z", min_size=1, max_size=4)


@settings(deadline=None, max_examples=30)
@given(there=st.sets(NAMES, max_size=60), asked=st.lists(st.lists(NAMES, max_size=5), max_size=6))
def test_what_is_found_is_what_is_there_and_was_asked_for(
    tmp_path_factory: pytest.TempPathFactory, there: set[str], asked: list[list[str]]
) -> None:
    """Close together and far apart in the table, in any order, also what lies only in journals."""
    directory = tmp_path_factory.mktemp("l")
    names = sorted(there)
    for journal in (names[::2], names[1::2]):
        merge_journals(directory)
        if journal:
            write(directory, *map(entry, journal))
    reader = LedgerReader(directory)
    for batch in asked:
        assert reader.find(batch) == {path: entry(path) for path in batch if path in there}
    reader.close()


def test_a_run_that_wrote_nothing_leaves_the_table_alone(tmp_path: Path) -> None:
    write(tmp_path, entry("a"))
    merge_journals(tmp_path)
    before = (tmp_path / "ledger.sqlite").stat()
    assert merge_journals(tmp_path) == 0
    after = (tmp_path / "ledger.sqlite").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_table_that_a_kill_left_empty_is_filled(tmp_path: Path) -> None:
    write(tmp_path, entry("a"))
    (tmp_path / "ledger.sqlite").touch()
    check(tmp_path)
    assert find(tmp_path, "a") == {"a": entry("a")}
    assert merge_journals(tmp_path) == 1
    assert find(tmp_path, "a") == {"a": entry("a")}
    assert os.listdir(tmp_path) == ["ledger.sqlite"]


def test_a_partition_reads_its_own_journals_and_none_of_its_siblings(tmp_path: Path) -> None:
    write(tmp_path, entry("table"), number=3)
    merge_journals(tmp_path)
    write(tmp_path, entry("own", 1), number=1)
    write(tmp_path, entry("own", 2), entry("table", 2), number=1)
    (tmp_path / write(tmp_path, entry("sibling"), number=2).name).write_bytes(b"never read")
    reader = LedgerReader(tmp_path, partition=1)
    found = reader.find(["own", "sibling", "table"])
    assert {path: found[path].size for path in found} == {"own": 2, "table": 2}
    reader.close()


def test_nothing_pending_is_lost_by_a_kill_after_flush(tmp_path: Path) -> None:
    writer = LedgerWriter(tmp_path, 1)
    writer.add(entry("a"))
    assert find(tmp_path, "a") == {}
    writer.flush()
    assert find(tmp_path, "a") == {"a": entry("a")}
    writer.close()


def test_no_ledger(tmp_path: Path) -> None:
    assert find(tmp_path / "nowhere", "a") == {}
    assert list(entries(tmp_path)) == []
    LedgerWriter(tmp_path, 1).close()
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"junk" * 1000)
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        find(tmp_path, "a")
    write(tmp_path, entry("a"))
    merge_journals(tmp_path)  # the damaged one has been set aside
    assert find(tmp_path, "a")


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    writer = LedgerWriter(tmp_path / "file", 1)
    with pytest.raises(StorageError, match="Cannot write the ledger") as caught:
        writer.add(entry("a"))
    assert isinstance(caught.value.__cause__, OSError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_table_in_an_odd_directory(tmp_path: Path) -> None:
    odd = tmp_path / "a?b#c %41"
    write(odd, entry("a"))
    merge_journals(odd)
    assert find(odd, "a") == {"a": entry("a")}
    assert os.listdir(odd) == ["ledger.sqlite"]
    with sqlite3.connect(odd / "ledger.sqlite") as table:
        assert table.execute("SELECT count(*) FROM files").fetchone() == (1,)
    table.close()
