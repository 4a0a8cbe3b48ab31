"""Catalogs as strangers write them, through the commands: found, or counted and named."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from mlhub_core.exit_status import ExitStatus
from tests.catalog.kit import DATASET, item, tree, write_archive


def indexed(directory: Path, files: Any) -> Path:
    """The index of an archive, made by the command."""
    archive = write_archive(directory, files)
    index = directory / "index.parquet"
    command = ["index", str(archive.path), "--output", str(index), "--dataset", DATASET, "-q"]
    assert main(command) == ExitStatus.OK
    return index


def odd(index: Path) -> list[str]:
    """What was counted, in words; all of it is kept."""
    state = json.loads((index.parent / ".mlhub" / index.name / "index.json").read_text())
    assert state["oddity_count"] == len(state["oddities"])
    return list(state["oddities"])


def items_found(index: Path, *query: str) -> set[str]:
    """The items that a query finds."""
    table = index.with_suffix(".csv")
    command = ["query", str(index), *query, "--allow-empty", "--output", str(table), "-q"]
    assert main(command) == ExitStatus.OK
    with table.open() as file:
        return {row["item_id"] for row in csv.DictReader(file)}


def rows_of_index(index: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(index).to_pylist()
    return rows


_NO_MOMENTS: Sequence[Any] = (
    *("10", "Sept", "Monday", "May 5", "10:30", "1514764800", "1514764800000", "20180115"),
    *("-2018-01-01T00:00:00Z", "+2018-01-01", "0000-01-01", "2018-01-01T25:00:00Z", "today"),
    *("2018-01-01 and 2019-01-01", "2018-01-01 - 2019-01-01", "2018-01-01T00:00:00Z/oops"),
    *("2018-01-01/2018-06-01/2019-01-01", "/", "../..", "17 Jumada I 1442", "1442-05-17 AH"),
    *("11/24/2018", "2018-1-1", "2018-W05", "2018-366", "2018-02-30", "24 Brumaire 2018"),
    *("2018-01-01T00:00:00Z2", "2018-01-01T00:00:00+24:00", "2018-01-01T00:00:00 EST"),
    *(
        "\uff12\uff10\uff11\uff18-01-01",
        "12018-01-01",
        "2018" * 40,
        "",
        " ",
        "\x00",
        "2018-01-01\x1b[2J",
    ),
    *(2018, 1514764800, 1.5e9, True, ["2018-01-01"], {"date": "2018-01-01"}, 10**400),
)


def test_what_is_no_moment_becomes_none_and_is_named(tmp_path: Path) -> None:
    items = [item(f"i{at}", properties={"datetime": no}) for at, no in enumerate(_NO_MOMENTS)]
    index = indexed(tmp_path, tree(*items, item("sound")))
    rows = {row["item_id"]: row for row in rows_of_index(index)}
    assert len(rows) == len(items) + 1
    for name, row in rows.items():
        times = row["datetime"], row["start_datetime"], row["end_datetime"]
        assert (times == (None, None, None)) == (name != "sound"), (row["properties"], times)
    told = [text for text in odd(index) if "datetime is no moment" in text]
    assert len(told) == len(items)
    assert all("\x1b" not in text and len(text) < 400 for text in told)
    assert items_found(index, "--datetime", "0001/9999") == {"sound"}


_OLD = {"dtr:start_datetime": "2018-01-01", "dtr:end_datetime": "2018-03-01"}
_SWAPPED = {"datetime": None, "start_datetime": "2018-03-01", "end_datetime": "2018-01-01"}


@pytest.mark.parametrize(
    ("properties", "inside", "outside", "told"),
    [
        ({"datetime": "2018-01-01T00:00:00Z/2018-03-01T00:00:00Z"}, "2018-02-01", "2018-04", 1),
        ({"datetime": "2018-01-01/2018-02-28"}, "2018-02-28T23:00:00Z", "2018-03", 1),
        ({"datetime": "2018-01-01/.."}, "2030", "2017", 1),
        ({"datetime": "/2018-01-01"}, "2001", "2019", 1),
        ({"datetime": "2018"}, "2018-12-31", "2019", 1),
        ({"datetime": "2018-06"}, "2018-06-30", "2018-07", 1),
        (_SWAPPED, "2018-02", "2018-04", 1),
        (_OLD, "2018-02", "2018-04", 0),
        ({"datetime": "2018/11/24"}, "2018-11-24", "2018-11-25", 0),
        ({"datetime": "Sat, 24 Nov 2018 10:00:00 GMT"}, "2018-11-24T10:00:00Z", "2018-11-23", 0),
        ({"datetime": "20181124T100000Z"}, "2018-11-24T10:00:00Z", "2018-11-23", 0),
    ],
)
def test_times_of_old_catalogs(
    tmp_path: Path, properties: dict[str, Any], inside: str, outside: str, told: int
) -> None:
    index = indexed(tmp_path, tree(item("i", properties=properties)))
    assert items_found(index, "--datetime", inside) == {"i"}
    assert items_found(index, "--datetime", outside) == set()
    assert len(odd(index)) == told
