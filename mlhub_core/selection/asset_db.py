"""``mlhub_stac_assets.db``: the reference client's SQLite table, for tools that read it."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from mlhub_core.exceptions import StorageError
from mlhub_core.selection.masks import BOX_FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CREATE = """CREATE TABLE assets (
    collection_id TEXT, item_id TEXT, asset_key TEXT, asset_url TEXT, asset_save_path TEXT,
    filtered BOOLEAN, common_asset BOOLEAN, bbox_json TEXT, geometry_json TEXT,
    single_datetime TEXT, start_datetime TEXT, end_datetime TEXT
)"""
_INSERT = f"INSERT INTO assets VALUES ({', '.join('?' * 12)})"


class AssetDb:
    """Writes the table beside its final place and moves it there when it is complete.

    Args:
        path: The final place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.parent / ".mlhub" / (path.name + ".tmp")
        self._temporary.parent.mkdir(parents=True, exist_ok=True)
        self._temporary.unlink(missing_ok=True)
        try:
            self._connection = sqlite3.connect(self._temporary)
            # Nobody else sees the file before it is renamed: a journal would only cost time.
            self._connection.execute("PRAGMA journal_mode = OFF")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(_CREATE)
        except sqlite3.Error as error:
            raise StorageError(f"{path} cannot be written: {error}.") from error

    def add(self, frame: pd.DataFrame, selected: NDArray[np.bool_]) -> None:
        """Add a batch of index rows.

        Args:
            frame: Rows of the index, its boxes flattened.
            selected: Which of them the filters leave; the others are marked ``filtered``.
        """
        rows = zip(
            *(_texts(frame[name]) for name in ("collection_id", "item_id", "asset_key", "href")),
            _texts(frame["save_path"]),
            (~selected).tolist(),
            frame["common_asset"].tolist(),
            _boxes(frame[[f"item_{name}" for name in BOX_FIELDS]].to_numpy()),
            _each_once(frame["geometry"], _geometries),
            *(
                _each_once(frame[name], _moments)
                for name in ("datetime", "start_datetime", "end_datetime")
            ),
            strict=True,
        )
        try:
            self._connection.executemany(_INSERT, rows)
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be written: {error}.") from error

    def close(self, *, keep: bool) -> None:
        """Finish: move the table to its place, or drop it."""
        try:
            self._connection.commit()
            self._connection.close()
            if keep:
                os.replace(self._temporary, self._path)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self._path} cannot be written: {error}.") from error
        finally:
            self._temporary.unlink(missing_ok=True)


def _texts(column: pd.Series[str]) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in column.tolist()]


def _each_once(
    column: pd.Series[Any], texts: Callable[[pd.Index[Any]], list[str | None]]
) -> list[str | None]:
    """Texts of a column, each different value written once: an item's assets share theirs."""
    codes, values = pd.factorize(column)
    written = [*texts(pd.Index(values)), None]  # the last for code -1, which stands for no value
    return [written[code] for code in codes.tolist()]


def _moments(values: pd.Index[Any]) -> list[str | None]:
    return [value.isoformat().replace("+00:00", "Z") for value in values]


def _geometries(values: pd.Index[Any]) -> list[str | None]:
    shapes = shapely.from_wkb(values.to_numpy(dtype=object), on_invalid="ignore")
    texts: list[str | None] = shapely.to_geojson(shapes).tolist()
    return texts


def _boxes(boxes: NDArray[np.float64]) -> list[str | None]:
    """Texts of boxes; rows of one item stand together, so only the first of equal ones is new."""
    new = np.ones(len(boxes), dtype=bool)
    new[1:] = (boxes[1:] != boxes[:-1]).any(axis=1)
    written = [
        None if any(map(math.isnan, box)) else json.dumps(box) for box in boxes[new].tolist()
    ]
    return [written[number] for number in (np.cumsum(new) - 1).tolist()]
