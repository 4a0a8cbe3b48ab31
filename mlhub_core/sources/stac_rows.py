"""Rows of stac-geoparquet as STAC items: pure functions, a batch of rows at a time.

The specification (1.0 and 1.1 alike) lays an item's properties out as columns beside its own
members, its geometry as WKB, its box as a struct. A table has every column in every row, so what is
null was not there, but for ``datetime``. Other writers than stac-geoparquet and rustac keep some
members as JSON text, or a box as a list, which is read too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mlhub_core.sources.documents import JsonObject

_MEMBERS = (
    *("type", "stac_version", "stac_extensions", "id"),
    *("bbox", "geometry", "links", "assets", "collection"),
)
"""Columns that are members of an item; all others are its properties."""
_NOT_ITS_OWN = ("properties", "__index_level_0__")
_JSON_TEXTS = ("bbox", "geometry", "links", "assets", "stac_extensions", "properties")
_TEXT = (pa.types.is_string, pa.types.is_large_string)
_BINARY = (pa.types.is_binary, pa.types.is_large_binary)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_WRITTEN = (pa.types.is_date, pa.types.is_time)
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
    column = _plain_array(column)
    kind = column.type
    if name in _GEOMETRIES and _is_any(kind, _BINARY):
        return geometries(column)
    found = values(column)
    return (
        [_parsed(one) for one in found] if name in _JSON_TEXTS and _is_any(kind, _TEXT) else found
    )


def _parsed(text: str | None) -> Any:
    """JSON that a column has as text; a text that is none stays what it is."""
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _plain_array(column: pa.Array) -> pa.Array:
    """A column without the extensions and dictionaries of its type."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_any(kind: pa.DataType, tests: Iterable[Callable[[pa.DataType], bool]]) -> bool:
    return any(test(kind) for test in tests)


def values(column: pa.Array) -> list[Any]:
    """The values of an array as JSON has them, without the fields of objects that are null.

    Part by part: Arrow's own way makes an object of each scalar, and takes ten times as long.
    """
    column = _plain_array(column)
    kind = column.type
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_struct(kind):
        return _objects(column)
    if _is_any(kind, _LISTS):
        return _lists(column)
    if pa.types.is_map(kind):
        return [one and {str(name): value for name, value in one} for one in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        column = _moments(column)
    elif _is_any(kind, _WRITTEN):
        column = column.cast(pa.string())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif _is_any(kind, _BINARY):
        return [None] * len(column)  # nothing that JSON could have held
    if _is_any(column.type, _TEXT) or not column.null_count:
        found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
        return found
    found = column.to_pylist()
    return found


def _objects(column: pa.StructArray) -> list[Any]:
    named = zip((field.name for field in column.type), column.flatten(), strict=True)
    there = [(name, values(part)) for name, part in named if part.null_count < len(part)]
    names = [name for name, _ in there]
    rows = zip(*(part for _, part in there), strict=True) if there else repeat((), len(column))
    found = [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in rows
    ]
    return _where_there(column, found)


def _lists(column: pa.Array) -> list[Any]:
    parts = values(column.flatten())
    ends = np.cumsum(pc.list_value_length(column).fill_null(0).to_numpy()).tolist()
    found = [parts[start:end] for start, end in pairwise((0, *ends))]
    return _where_there(column, found)


def _where_there(column: pa.Array, found: list[Any]) -> list[Any]:
    if not column.null_count:
        return found
    valid = column.is_valid().to_numpy(zero_copy_only=False).tolist()
    return [one if is_there else None for one, is_there in zip(found, valid, strict=True)]


def _moments(column: pa.Array) -> pa.Array:
    """Moments as RFC 3339 has them, in UTC, with no more digits than it takes; naive is UTC."""
    plain = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.timestamp("us"))
    text = pc.replace_substring(plain.cast(pa.string()), " ", "T")
    short = pc.replace_substring_regex(text, r"\.?0{1,6}$", "", max_replacements=1)
    has_fraction = pc.match_substring(text, ".")
    return pc.binary_join_element_wise(pc.if_else(has_fraction, short, text), "Z", "")


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
