"""The items of a download as records of Croissant: what of their table can be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from mlhub_core.sources.documents import JsonObject

_SHA256 = "1220"
"""How a multihash of SHA-256 begins."""
_BOX = {"xmin": "west", "ymin": "south", "xmax": "east", "ymax": "north"}


def listed(value: Any) -> list[Any]:
    """A list as it is; nothing for all else."""
    return value if isinstance(value, list) else []


def item_records(schema: pa.Schema, collections: list[JsonObject]) -> JsonObject:
    """The items as records: the columns of their table, and of each asset its file."""
    fields = [_field(column) for column in schema if _data_type(column.type)]
    fields += [
        _part(f"items/bbox/{name}", "sc:Float", "bbox", edge, f"The {name} edge of its box.")
        for edge, name in _BOX.items()
    ]
    assets = schema.field("assets").type if "assets" in schema.names else None
    if assets is not None and pa.types.is_struct(assets):
        told = _item_assets(collections)
        for asset in assets:
            if pa.types.is_struct(asset.type):
                fields += _asset_fields(asset, told.get(asset.name, {}))
    return {
        "@type": "cr:RecordSet",
        "@id": "items",
        "name": "items",
        "description": "The STAC items that are here, and of each of their assets the file.",
        "key": [{"@id": "items/collection"}, {"@id": "items/id"}],
        "field": fields,
    }


def _data_type(kind: pa.DataType) -> str | None:
    """The type of a column's values, or of those in its lists; None of what has fields itself."""
    if pa.types.is_list(kind):
        return None if pa.types.is_list(kind.value_type) else _data_type(kind.value_type)
    kinds = {
        "sc:Text": pa.types.is_string(kind) or pa.types.is_binary(kind),
        "sc:Boolean": pa.types.is_boolean(kind),
        "sc:Integer": pa.types.is_integer(kind),
        "sc:Float": pa.types.is_floating(kind),
        "sc:DateTime": pa.types.is_timestamp(kind),
    }
    return next((name for name, is_it in kinds.items() if is_it), None)


def _field(column: pa.Field) -> JsonObject:
    described = {"geometry": "Where it is, WKB in degrees of WGS 84."}
    field = {
        "@type": "cr:Field",
        "@id": f"items/{quote(column.name, safe='')}",
        "name": column.name,
        "description": described.get(column.name, f"{column.name} of the item."),
        "dataType": _data_type(column.type),
        "source": {"fileObject": {"@id": "items.parquet"}, "extract": {"column": column.name}},
    }
    if pa.types.is_list(column.type):
        field |= {"isArray": True, "arrayShape": "-1"}
    return field


def _part(identity: str, data_type: str, column: str, path: str, description: str) -> JsonObject:
    """A field that lies within a column, and where in it."""
    return {
        "@type": "cr:Field",
        "@id": identity,
        "name": identity.removeprefix("items/"),
        "description": description,
        "dataType": data_type,
        "source": {
            "fileObject": {"@id": "items.parquet"},
            "extract": {"column": column},
            "transform": [{"jsonPath": path}],
        },
    }


def _asset_fields(asset: pa.Field, told: JsonObject) -> Iterator[JsonObject]:
    """The file of an asset, and its SHA-256."""
    key = asset.name
    if '"' in key or "\\" in key:
        return  # no JSONPath that all read alike names it
    identity = f"items/assets/{quote(key, safe='')}"
    file = _part(identity, "sc:Text", "assets", f'"{key}"."href"', f"The file of {key}.")
    file |= _bands(told)
    yield file
    if any(inner.name == "file:checksum" for inner in asset.type):
        path = f'"{key}"."file:checksum"'
        digest = _part(f"{identity}/sha256", "sc:Text", "assets", path, f"SHA-256 of {key}.")
        digest["source"]["transform"].append({"regex": f"{_SHA256}(.*)"})
        yield digest


def _bands(told: JsonObject) -> JsonObject:
    """The bands of an asset, and of those whose wavelength is known that, in nanometres."""
    named = listed(told.get("bands") or told.get("eo:bands"))
    bands = [one for one in named if isinstance(one, dict) and isinstance(one.get("name"), str)]
    if not bands or len(bands) < len(named):
        return {}
    found: JsonObject = {
        "geocr:bandConfiguration": {
            "@type": "geocr:BandConfiguration",
            "geocr:totalBands": len(bands),
            "geocr:bandNameList": [one["name"] for one in bands],
        }
    }
    spectral = [
        {"@type": "geocr:SpectralBand", "name": one["name"], **lengths}
        for one in bands
        if "geocr:centerWavelength" in (lengths := _wavelengths(one))
    ]
    return {**found, "geocr:spectralBandMetadata": spectral} if spectral else found


def _wavelengths(band: JsonObject) -> JsonObject:
    """Where the centre of a band is, and how wide it is; STAC has both in micrometres."""
    names = {"center_wavelength": "centerWavelength", "full_width_half_max": "bandwidth"}
    found: JsonObject = {}
    for name, term in names.items():
        length = band.get(f"eo:{name}", band.get(name))
        if isinstance(length, int | float):
            value = round(length * 1000, 3)
            found[f"geocr:{term}"] = {
                "@type": "sc:QuantitativeValue",
                "value": value,
                "unitText": "nm",
            }
    return found


def _item_assets(collections: list[JsonObject]) -> JsonObject:
    """What each asset key is, by the first collection that says so."""
    found: JsonObject = {}
    for collection in collections:
        for key, told in (collection.get("item_assets") or {}).items():
            found.setdefault(key, told)
    return found
