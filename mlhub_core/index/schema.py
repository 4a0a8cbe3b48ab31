"""The columns of the asset index, and the GeoParquet metadata that makes it a map layer.

Imported by what builds or reads the index, never by ``import mlhub_core``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pyarrow as pa

from mlhub_core.index.places import Bounds

GEOPARQUET_VERSION = "1.1.0"
IDENTITY_KEY = "mlhub"
"""File metadata of our own: which archive the index was made from."""
FACTS_KEY = "mlhub_facts"
"""File metadata of our own: what a query would else have to find out by reading all paths."""

YOUNG_COLUMNS = frozenset(
    {
        *("updated", "alternates", "item_path", "source_paths"),
        *("title", "description", "bands", "details", "license", "item_url"),
    }
)
"""Columns that indexes of earlier versions lack; they count as empty there."""
BOX_FIELDS = ("xmin", "ymin", "xmax", "ymax")


@cache
def index_schema() -> pa.Schema:
    """The Arrow schema of the asset index."""
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            pa.field("collection_id", pa.string(), nullable=False),
            pa.field("item_id", pa.string()),
            pa.field("asset_key", pa.string(), nullable=False),
            pa.field("href", pa.string(), nullable=False),
            pa.field("media_type", pa.string()),
            pa.field("roles", texts_type()),
            pa.field("save_path", pa.string(), nullable=False),
            pa.field("common_asset", pa.bool_(), nullable=False),
            pa.field("datetime", moment),
            pa.field("start_datetime", moment),
            pa.field("end_datetime", moment),
            pa.field("file_size", pa.int64()),
            pa.field("checksum", pa.string()),
            pa.field("updated", pa.string()),
            pa.field("alternates", pa.string()),
            pa.field("title", pa.string()),
            pa.field("description", pa.string()),
            pa.field("bands", bands_type()),
            pa.field("details", pa.string()),
            pa.field("license", pa.string()),
            pa.field("item_bbox", box_type()),
            pa.field("bbox", box_type()),
            pa.field("properties", pa.string()),
            pa.field("source_items", texts_type()),
            pa.field("item_path", pa.string()),
            pa.field("item_url", pa.string()),
            pa.field("source_paths", texts_type()),
            pa.field("geometry", pa.binary()),
        ]
    )


def conform(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of a schema, in its order and types; those that rows lack are null."""
    if rows.schema.equals(schema):
        return rows
    names = set(rows.schema.names)
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


@cache
def texts_type() -> pa.DataType:
    """A list of texts. Its part has the name that Parquet gives it, so that it reads as written."""
    return pa.list_(pa.field("element", pa.string()))


@cache
def bands_type() -> pa.DataType:
    """A list of bands."""
    band = pa.struct([pa.field(name, pa.string()) for name in ("name", "common_name")])
    return pa.list_(pa.field("element", band))


@cache
def box_type() -> pa.DataType:
    """A bounding box."""
    return pa.struct([pa.field(name, pa.float64(), nullable=False) for name in BOX_FIELDS])


def box_array(boxes: Iterable[Bounds | None]) -> pa.Array:
    """Boxes as a column; None becomes null."""
    listed = list(boxes)
    absent = pa.array([box is None for box in listed], pa.bool_())
    columns = [
        pa.array([0.0 if box is None else box[number] for box in listed], pa.float64())
        for number in range(len(BOX_FIELDS))
    ]
    return pa.StructArray.from_arrays(columns, fields=list(box_type()), mask=absent)


def geo_metadata(kinds: Iterable[str], bounds: Bounds | None) -> str:
    """The value of the file metadata ``geo``.

    Args:
        kinds: GeoJSON's names of all geometry types in the file.
        bounds: Around everything, None where nothing has a place.
    """
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(kinds),
        "crs": _WGS84,
        "edges": "planar",
        "covering": {"bbox": {name: ["bbox", name] for name in BOX_FIELDS}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    return json.dumps(
        {
            "version": GEOPARQUET_VERSION,
            "primary_column": "geometry",
            "columns": {"geometry": column},
        }
    )


# Left out, it would mean OGC:CRS84, which is the same place on Earth under another name: GeoPandas
# then warns of different systems on every join with a layer in EPSG:4326. The order of coordinates
# is longitude, latitude in GeoParquet whatever stands here.
_WGS84: dict[str, Any] = {
    "type": "GeographicCRS",
    "name": "WGS 84",
    "datum": {
        "type": "GeodeticReferenceFrame",
        "name": "World Geodetic System 1984",
        "ellipsoid": {
            "name": "WGS 84",
            "semi_major_axis": 6378137,
            "inverse_flattening": 298.257223563,
        },
    },
    "coordinate_system": {
        "subtype": "ellipsoidal",
        "axis": [
            {"name": f"Geodetic {name}", "abbreviation": short, "direction": way, "unit": "degree"}
            for name, short, way in (("latitude", "Lat", "north"), ("longitude", "Lon", "east"))
        ],
    },
    "id": {"authority": "EPSG", "code": 4326},
}
