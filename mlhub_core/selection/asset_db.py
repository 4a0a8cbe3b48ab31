"""``mlhub_stac_assets.db``: the reference client's SQLite table, for tools that read it.

It is written last, in one load, and not again where it would become the same.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlhub_core.exceptions import StorageError
from mlhub_core.selection.engine import Query
from mlhub_core.sqlite_files import connect
from mlhub_core.state import read_state, write_state

_CREATE = """CREATE TABLE assets (
    collection_id TEXT, item_id TEXT, asset_key TEXT, asset_url TEXT, asset_save_path TEXT,
    filtered BOOLEAN, common_asset BOOLEAN, bbox_json TEXT, geometry_json TEXT,
    single_datetime TEXT, start_datetime TEXT, end_datetime TEXT
)"""
_INSERT = f"INSERT INTO assets VALUES ({', '.join('?' * 12)})"
_TEXTS = ["collection_id", "item_id", "asset_key", "href", "save_path"]
_MOMENTS = ["datetime", "start_datetime", "end_datetime"]
_COLUMNS = [*_TEXTS, "common_asset", "item_bbox", "geometry", *_MOMENTS]
_STATE_NAME = "asset_db.json"


def write_asset_db(path: Path, query: Query, made_from: dict[str, Any]) -> None:
    """Write the table: all rows of the index, ``filtered`` those that are not chosen.

    Args:
        path: Where to; replaced in one step when it is complete.
        query: Knows the index, and the rows that the filters leave.
        made_from: What tells one table from another; see :func:`is_current`.

    Raises:
        StorageError: if SQLite refuses.
        OSError: if the disk does.
        Interrupted: if stopped.
    """
    temporary = path.parent / ".mlhub" / (path.name + ".tmp")
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            _load(temporary, query)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        write_state(_state_path(path), {"made_from": made_from, "file": _stamp(path)})
    except sqlite3.Error as error:
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


def _load(path: Path, query: Query) -> None:
    # No other process sees the file before it is renamed: locks, which some file systems of
    # clusters do not have, and a journal would only cost time.
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_CREATE)
        for first, batch in query.index.scan(_COLUMNS):
            filtered = ~query.chosen[first : first + batch.num_rows]
            connection.executemany(_INSERT, _rows(batch, filtered.tolist()))
        connection.commit()
    finally:
        connection.close()


def _rows(batch: pa.RecordBatch, filtered: list[bool]) -> Iterator[tuple[Any, ...]]:
    columns = {name: batch.column(name).to_pylist() for name in _COLUMNS if name != "item_bbox"}
    boxes = [side.to_pylist() for side in batch.column("item_bbox").flatten()]
    return zip(
        *(columns[name] for name in _TEXTS),
        filtered,
        columns["common_asset"],
        map(_box_text, zip(*boxes, strict=True)),
        map(_shape_text, columns["geometry"]),
        *(map(_moment_text, columns[name]) for name in _MOMENTS),
        strict=True,
    )


@lru_cache(maxsize=1024)
def _box_text(box: tuple[float | None, ...]) -> str | None:
    return None if None in box else json.dumps(box)


@lru_cache(maxsize=1024)
def _moment_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=1024)
def _shape_text(wkb: bytes | None) -> str | None:
    """GeoJSON of a geometry; an item's assets share theirs."""
    import shapely

    if wkb is None:
        return None
    shape = shapely.from_wkb(wkb, on_invalid="ignore")
    return None if shape is None else str(shapely.to_geojson(shape))
