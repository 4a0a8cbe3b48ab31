"""``mlhub_stac_assets.db``: the reference client's SQLite table, for tools that read it.

It is written last, in one load, and not again where it would become the same.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mlhub_core.exceptions import StorageError
from mlhub_core.selection.index_reader import IndexReader
from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.tally import Chosen
from mlhub_core.state import read_state, write_state
from mlhub_core.stop import StopFlag

_CREATE = """CREATE TABLE assets (
    collection_id TEXT, item_id TEXT, asset_key TEXT, asset_url TEXT, asset_save_path TEXT,
    filtered BOOLEAN, common_asset BOOLEAN, bbox_json TEXT, geometry_json TEXT,
    single_datetime TEXT, start_datetime TEXT, end_datetime TEXT
)"""
_INSERT = f"INSERT INTO assets VALUES ({', '.join('?' * 12)})"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATE_NAME = "asset_db.json"
_CHECK_EVERY = 5_000
"""Rows written between two looks at the stop flag."""


def write_asset_db(
    path: Path, index: IndexReader, chosen: Chosen, made_from: dict[str, Any], stop: StopFlag
) -> None:
    """Write the table: all rows of the index, ``filtered`` those that are not chosen.

    Args:
        path: Where to; replaced in one step when it is complete.
        index: The index.
        chosen: The rows that the filters leave.
        made_from: What tells one table from another; see :func:`is_current`.
        stop: Stops it when set.

    Raises:
        StorageError: if the disk refuses.
        Interrupted: if stopped.
    """
    temporary = path.parent / ".mlhub" / (path.name + ".tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            _load(temporary, index, chosen, stop)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        write_state(_state_path(path), {"made_from": made_from, "file": _stamp(path)})
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{path} cannot be written: {error}.") from error


def is_current(path: Path, made_from: dict[str, Any]) -> bool:
    """Whether the table is there, made from the same, and nobody has touched it since.

    Raises:
        StorageError: if our note of it cannot be read.
    """
    state = read_state(_state_path(path))
    if state is None or state.get("made_from") != made_from:
        return False
    try:
        return bool(state.get("file") == _stamp(path))
    except OSError:
        return False


def _state_path(path: Path) -> Path:
    return path.parent / ".mlhub" / _STATE_NAME


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _load(path: Path, index: IndexReader, chosen: Chosen, stop: StopFlag) -> None:
    # Nobody else sees the file before it is renamed: locks, which some file systems of clusters do
    # not have, and a journal would only cost time.
    connection = sqlite3.connect(f"file:{quote(str(path))}?vfs=unix-none", uri=True)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_CREATE)
        for group in index.groups():
            connection.executemany(_INSERT, _watched(_rows(group, chosen), stop))
        connection.commit()
    finally:
        connection.close()


def _watched(rows: Iterator[tuple[Any, ...]], stop: StopFlag) -> Iterator[tuple[Any, ...]]:
    while True:
        stop.check()
        some = list(islice(rows, _CHECK_EVERY))
        if not some:
            return
        yield from some


def _rows(group: RowGroup, chosen: Chosen) -> Iterator[tuple[Any, ...]]:
    names = ["collection_id", "item_id", "asset_key", "href", "save_path"]
    texts = group.index.read_plain(group.number, names)
    return zip(
        *(texts.column(name).to_pylist() for name in names),
        (~chosen.get(group)).tolist(),
        group.is_common.tolist(),
        _boxes(group),
        _geometries(group),
        *(_moments(group, name) for name in ("datetime", "start_datetime", "end_datetime")),
        strict=True,
    )


def _moments(group: RowGroup, name: str) -> list[str | None]:
    """Texts of moments, each different one written once."""
    if group.is_void(name):
        return [None] * group.rows
    moments, known = group.numbers(name)
    different, places = np.unique(moments, return_inverse=True)
    texts = [
        (_EPOCH + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")
        for moment in different.tolist()
    ]
    return [
        texts[at] if here else None
        for at, here in zip(places.tolist(), known.tolist(), strict=True)
    ]


def _boxes(group: RowGroup) -> list[str | None]:
    """Texts of boxes; rows of one item stand together, so only the first of equal ones is new."""
    boxes = group.boxes("item_bbox")
    new = np.ones(group.rows, bool)
    new[1:] = ~(
        (boxes[:, 1:] == boxes[:, :-1]) | (np.isnan(boxes[:, 1:]) & np.isnan(boxes[:, :-1]))
    ).all(axis=0)
    written = [None if box[0] != box[0] else json.dumps(box) for box in boxes[:, new].T.tolist()]
    return [written[number] for number in (np.cumsum(new) - 1).tolist()]


def _geometries(group: RowGroup) -> list[str | None]:
    """GeoJSON of geometries, each different one written once: an item's assets share theirs."""
    if group.is_void("geometry"):
        return [None] * group.rows
    import shapely

    column = group.column("geometry").dictionary_encode()
    shapes = shapely.from_wkb(column.dictionary.to_pylist(), on_invalid="ignore")
    written = shapely.to_geojson(shapes).tolist()
    return [None if code is None else written[code] for code in column.indices.to_pylist()]
