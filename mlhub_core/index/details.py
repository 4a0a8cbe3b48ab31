"""What the index keeps of an asset besides what a download needs: its bands, and details as JSON.

STAC 1.1 has one list of bands; of 1.0 and earlier, the extensions for optics and for rasters have
one each.
"""

from __future__ import annotations

from typing import Any

from mlhub_core.sources.documents import JsonObject, as_json

Band = dict[str, str | None]
"""Its ``name`` and its ``common_name``."""

USUAL = frozenset(
    {
        *("href", "type", "title", "description", "roles"),
        *("file:size", "file:checksum", "checksum:multihash", "updated", "created"),
    }
)
"""Members of assets that have a column, or are in none: where there are no others, there are
neither bands nor details."""
_HELD = USUAL | {"bands", "eo:bands"}
_KEPT = ("auth:", "storage:", "file:", "raster:", "data_type", "nodata", "gsd")
"""How members begin that are kept as details."""
_OF_RASTERS = ("name", "data_type", "nodata", "spatial_resolution", "unit", "scale", "offset")
"""What is kept of ``raster:bands``: no statistics, no histograms."""
_MOST = 4096
"""Characters of the details of an asset; longer ones are left out."""


def bands_of(asset: JsonObject, properties: JsonObject) -> list[Band] | None:
    """The bands of an asset that have a name; None of one that names none.

    Args:
        asset: The asset.
        properties: Those of its item, where early versions of STAC describe the bands.
    """
    found = asset.get("bands")
    if not isinstance(found, list):
        found = asset.get("eo:bands")
    if not isinstance(found, list):
        found = asset.get("raster:bands")
    if not isinstance(found, list):
        return None
    bands = [band for one in found if (band := _band(one, properties)) is not None]
    return bands or None


def _band(one: Any, properties: JsonObject) -> Band | None:
    if type(one) is int:  # before STAC 1.0: its place in the list of the item
        listed = properties.get("eo:bands")
        one = listed[one] if isinstance(listed, list) and 0 <= one < len(listed) else None
    if not isinstance(one, dict):
        return None
    name = _text(one.get("name"))
    common = _text(one.get("eo:common_name")) or _text(one.get("common_name"))
    return {"name": name, "common_name": common} if name or common else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def details_of(asset: JsonObject) -> str | None:
    """Other members of an asset that are of use, as JSON text; None where there are none.

    They are ``storage:*`` and ``auth:*``, what is left of ``file:*``, and what ``raster:*`` says of
    types and resolution. ``alternate`` places have a column of their own.
    """
    more = [name for name in asset.keys() - _HELD if name.startswith(_KEPT)]
    if not more:
        return None
    kept = {name: asset[name] for name in sorted(more)}
    bands = kept.get("raster:bands")
    if isinstance(bands, list):
        kept["raster:bands"] = [
            {name: band[name] for name in _OF_RASTERS if name in band}
            for band in bands
            if isinstance(band, dict)
        ]
    try:
        text = as_json(kept)
    except RecursionError:
        return None
    return text if len(text) <= _MOST else None
