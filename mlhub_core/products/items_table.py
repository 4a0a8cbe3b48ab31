"""Writes ``items.parquet``: the items of a local STAC in one table, stac-geoparquet 1.0.0.

Two passes, so that memory is bounded by the row group: items are put aside as they come, and the
union of their fields is found out; then they are read again and written with that schema.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from isal import igzip

from mlhub_core.index.datetimes import microseconds
from mlhub_core.index.hrefs import is_absolute
from mlhub_core.index.items import Item
from mlhub_core.index.places import Bounds
from mlhub_core.index.schema import box_array, box_type, geo_metadata
from mlhub_core.products.item_fields import FieldType
from mlhub_core.products.local_collections import around
from mlhub_core.sources.documents import JsonObject, as_json
from mlhub_core.threads import StopFlag

VERSION = "1.0.0"
"""Of stac-geoparquet."""

_GROUP_ITEMS = 20_000
_GROUP_BYTES = 24 * 1024 * 1024
"""Of a row group, in JSON: parsed it takes ten times as much."""
_TIMES = frozenset(
    {"datetime", "start_datetime", "end_datetime", "created", "updated", "published", "expires"}
)
_OWN = frozenset(
    {
        *("type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets"),
        *("collection", "properties"),
    }
)
"""Columns of the table that are no properties."""
_FIRST = ("stac_extensions", "links", "assets")
_MOMENT = pa.timestamp("us", tz="UTC")


class ItemsTable:
    """Takes items, and writes the table of them.

    Args:
        path: The file, written by :meth:`finish`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = path.with_name(path.name + ".items")
        self._file: Any = igzip.open(self._waiting, "wb", compresslevel=1)  # type: ignore[no-untyped-call]
        self._fields: dict[str, FieldType] = {name: FieldType() for name in _FIRST}
        self._bounds: Bounds | None = None
        self._kinds: set[str] = set()
        self._times = {"datetime"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._waiting.unlink(missing_ok=True)

    def add(self, local: JsonObject, read: Item, place: str) -> None:
        """Take an item.

        Args:
            local: As it is in the local STAC.
            read: What the index reads in it.
            place: Where its document lies, relative to the directory of the table.
        """
        row = {name: value for name, value in local["properties"].items() if name not in _OWN}
        row |= {
            name: value for name, value in local.items() if name not in _OWN and name not in row
        }
        row["stac_extensions"] = local["stac_extensions"]
        row["links"] = [_rebased(link, place) for link in local["links"]]
        row["assets"] = {key: _rebased(one, place) for key, one in local["assets"].items()}
        for name, value in row.items():
            if name in _TIMES or name == "proj:geometry":
                continue
            field = self._fields.get(name)
            if field is None:
                field = self._fields[name] = FieldType()
            field.see(value)
        shape = read.shape.wkb if read.shape is not None else _box(read.bbox)
        if shape is not None:
            self._kinds.add(read.shape.kind if read.shape is not None else "Polygon")
        if read.cover is not None:
            self._bounds = around(self._bounds, read.cover)
        times = {name: row.pop(name) for name in _TIMES if name in row}
        self._times |= times.keys()
        own = {"id": local["id"], "collection": local["collection"]}
        values = [own, times, row, shape.hex() if shape else None, read.cover]
        self._file.write(as_json(values).encode("utf-8", "surrogatepass") + b"\n")

    def finish(self, stop: StopFlag | None = None) -> None:
        """Write the table.

        Raises:
            Interrupted: if ``stop`` is set.
        """
        self._file.close()
        types = {name: self._fields[name].to_arrow() for name in sorted(self._fields)}
        self._plain = {name: self._fields[name].is_plain for name in types}
        fields = {name: kind for name, kind in types.items() if kind is not None}
        order = [*(name for name in _FIRST if name in fields)]
        order += [name for name in fields if name not in _FIRST]
        schema = pa.schema(
            [
                pa.field("type", pa.string()),
                pa.field("stac_version", pa.string()),
                pa.field("id", pa.string()),
                pa.field("collection", pa.string()),
                pa.field("geometry", pa.binary()),
                pa.field("bbox", box_type()),
                *(pa.field(name, _MOMENT) for name in sorted(self._times)),
                *(pa.field(name, fields[name]) for name in order),
            ],
            metadata={
                "geo": geo_metadata(self._kinds, self._bounds),
                "stac-geoparquet": json.dumps({"version": VERSION}),
            },
        )
        with pq.ParquetWriter(self._path, schema, compression="zstd") as writer:
            for rows in self._groups():
                if stop is not None:
                    stop.check()
                writer.write_batch(self._batch(rows, schema, order), row_group_size=len(rows))

    def _groups(self) -> Iterator[list[Any]]:
        rows: list[Any] = []
        size = 0
        with igzip.open(self._waiting, "rb") as lines:  # type: ignore[no-untyped-call]
            for line in lines:
                rows.append(orjson.loads(line))
                size += len(line)
                if len(rows) >= _GROUP_ITEMS or size >= _GROUP_BYTES:
                    yield rows
                    rows, size = [], 0
        if rows:
            yield rows

    def _batch(self, rows: list[Any], schema: pa.Schema, order: list[str]) -> pa.RecordBatch:
        owns, times, fields, shapes, boxes = zip(*rows, strict=True)
        columns = [
            pa.array(["Feature"] * len(rows), pa.string()),
            pa.array(["1.1.0"] * len(rows), pa.string()),
            pa.array([own["id"] for own in owns], pa.string()),
            pa.array([own["collection"] for own in owns], pa.string()),
            pa.array([bytes.fromhex(one) if one else None for one in shapes], pa.binary()),
            box_array(boxes),
        ]
        for name in sorted(self._times):
            told = [one.get(name) for one in times]
            columns.append(pa.array([one and microseconds(one) for one in told], _MOMENT))
        for name in order:
            values = [one.get(name) for one in fields]
            if not self._plain[name]:
                values = [self._fields[name].fit(one) for one in values]
            columns.append(pa.array(values, schema.field(name).type))
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def _rebased(value: JsonObject, place: str) -> JsonObject:
    """A link or asset whose relative href is one from the directory of the table."""
    href = value["href"]
    if is_absolute(href):
        return value
    return {**value, "href": "./" + posixpath.normpath(f"{place}/{href}")}


def _box(box: Bounds | None) -> bytes | None:
    if box is None:
        return None
    west, south, east, north = box
    import shapely  # a re-run, which writes no table, does without

    found: bytes = shapely.to_wkb(shapely.box(west, south, east if east >= west else 180.0, north))
    return found
