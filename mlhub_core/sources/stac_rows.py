"""Rows of stac-geoparquet as STAC items: pure functions, a batch of rows at a time.

The specification (1.0 and 1.1 alike) lays an item's properties out as columns beside its own
members, its geometry as WKB, its box as a struct. A table has every column in every row, so what is
null was not there, but for ``datetime``. Other writers than stac-geoparquet and rustac keep some
members as JSON text, or a box as a list, which is read too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from mlhub_core.sources.documents import JsonObject

_MEMBERS = (
    *("type", "stac_version", "stac_extensions", "id"),
    *("bbox", "geometry", "links", "assets", "collection"),
)
"""Columns that are members of an item; all others are its properties."""
_NOT_ITS_OWN = ("properties", "__index_level_0__")
_JSON_TEXTS = ("bbox", "geometry", "links", "assets", "stac_extensions", "properties")
_GEOMETRIES = ("geometry", "proj:geometry")
_SIDES = {
    2: ("xmin", "ymin", "xmax", "ymax"),
    3: ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax"),
}


def missing_columns(names: Iterable[str]) -> list[str]:
    """What a table lacks to be one of STAC items; nothing of one that is."""
    there = set(names)
    if "stac_version" in there:  # a table of items without assets has no such column
        return [name for name in ("id",) if name not in there]
    return [name for name in ("id", "assets") if name not in there]


def items_of(rows: pa.RecordBatch) -> list[JsonObject]:
    """The items of some rows."""
    columns = {
        name: _values(name, rows.column(name))
        for name in rows.schema.names
        if name != "__index_level_0__"
    }
    names = list(columns)
    return [
        _item(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)
    ]


def _item(row: dict[str, Any]) -> JsonObject:
    item: JsonObject = {"type": "Feature"}
    for name in _MEMBERS:
        value = row.get(name)
        if value is not None:
            item[name] = value
    item["bbox"] = _box(row.get("bbox"))
    item.setdefault("geometry", None)
    item.setdefault("links", [])
    item.setdefault("assets", {})
    own = row.get("properties")
    properties: JsonObject = dict(own) if isinstance(own, dict) else {}
    for name, value in row.items():
        if value is not None and name not in _MEMBERS and name not in _NOT_ITS_OWN:
            properties[name] = value
    properties.setdefault("datetime", None)
    item["properties"] = properties
    return {name: value for name, value in item.items() if name != "bbox" or value is not None}


def _box(value: Any) -> Any:
    """A box as an item has it; with heights where it has some."""
    if not isinstance(value, dict):
        return value
    sides = _SIDES[3 if value.get("zmin") is not None else 2]
    found = [value.get(side) for side in sides]
    return None if None in found else found


def _values(name: str, column: pa.Array) -> list[Any]:
    """The values of a column, as JSON has them."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.storage, kind.storage_type
    if name in _GEOMETRIES and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return geometries(column)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    values: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    if name in _JSON_TEXTS and _is_text(kind):
        return [_parsed(value) for value in values]
    if _is_plain(kind):
        return values
    return [_plain(value) for value in values]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """Whether values of a type are as JSON has them, without a look at each."""
    plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return any(is_one(kind) for is_one in plain)


def _parsed(text: str | None) -> Any:
    """JSON that a column has as text; a text that is none stays what it is."""
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _plain(value: Any) -> Any:
    """A value of Arrow as JSON has it, without the fields that are null."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return None  # nothing that JSON could have held
    return value


def moment_text(moment: datetime) -> str:
    """A moment as RFC 3339 has it, in UTC, with no more digits than it takes; naive is UTC."""
    offset = moment.utcoffset()
    utc = moment.replace(tzinfo=None) - offset if offset else moment.replace(tzinfo=None)
    text = utc.isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def geometries(column: pa.Array) -> list[Any]:
    """WKB as GeoJSON. What is no WKB becomes a text, which whoever reads the item complains of."""
    import shapely

    wkb = np.array(column.to_pylist(), dtype=object)
    shapes = shapely.from_wkb(wkb, on_invalid="ignore")
    texts = shapely.to_geojson(shapes)
    return [
        orjson.loads(text) if text is not None else None if raw is None else "no WKB"
        for raw, text in zip(wkb, texts, strict=True)
    ]
