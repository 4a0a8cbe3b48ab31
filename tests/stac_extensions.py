"""What STAC's extensions ask of the documents that name them, written from their specifications.

Their own schemas lie on the web only; no package ships them. These have the same types and
requirements for the fields that we write or take over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema

Json = dict[str, Any]

_NAME = re.compile(r"https://stac-extensions\.github\.io/([a-z-]+)/v([0-9]+)[^/]*/schema\.json#?")
_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_DOI = {"type": "string", "pattern": r"^10\.[0-9a-zA-Z]{4,}/[^\s]+$"}
_BANDS = {"type": "array", "minItems": 1, "items": {"type": "object", "minProperties": 1}}

FIELDS: dict[str, tuple[str, Json]] = {
    "file": (
        "file:",
        {
            "file:byte_order": {"enum": ["big-endian", "little-endian"]},
            "file:checksum": {"type": "string", "pattern": "^[a-f0-9]+$"},
            "file:header_size": _COUNT,
            "file:size": _COUNT,
            "file:values": {"type": "array", "minItems": 1},
            "file:local_path": {
                "type": "string",
                "pattern": "^[^\\r\\n\\t\\\\:'\"/]+(/[^\\r\\n\\t\\\\:'\"/]+)*/?$",
            },
        },
    ),
    "alternate-assets": (
        "alternate",
        {
            "alternate:name": _TEXT,
            "alternate": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "object",
                    "required": ["href"],
                    "properties": {"href": _TEXT, "alternate:name": _TEXT},
                },
            },
        },
    ),
    "label": (
        "label:",
        {
            "label:properties": {"type": ["array", "null"], "items": {"type": "string"}},
            "label:classes": {
                "type": "array",
                "items": {"type": "object", "required": ["name", "classes"]},
            },
            "label:description": _TEXT,
            "label:type": {"enum": ["raster", "vector"]},
            "label:tasks": {"type": "array", "items": {"type": "string"}},
            "label:methods": {"type": "array", "items": {"type": "string"}},
            "label:overviews": {"type": "array", "items": {"type": "object"}},
            "label:assets": {"type": "array", "items": {"type": "string"}},
        },
    ),
    "eo": (
        "eo:",
        {
            "eo:cloud_cover": {"type": "number", "minimum": 0, "maximum": 100},
            "eo:snow_cover": {"type": "number", "minimum": 0, "maximum": 100},
            "eo:bands": _BANDS,
            "eo:common_name": _TEXT,
            "eo:center_wavelength": {"type": "number"},
            "eo:full_width_half_max": {"type": "number"},
            "eo:solar_illumination": {"type": "number"},
        },
    ),
    "raster": (
        "raster:",
        {
            "raster:bands": _BANDS,
            "raster:sampling": {"enum": ["area", "point"]},
            "raster:bits_per_sample": {"type": "integer"},
            "raster:spatial_resolution": {"type": "number"},
            "raster:scale": {"type": "number"},
            "raster:offset": {"type": "number"},
            "raster:histogram": {"type": "object"},
        },
    ),
    "projection": (
        "proj:",
        {
            "proj:code": {"type": ["string", "null"]},
            "proj:epsg": {"type": ["integer", "null"]},
            "proj:wkt2": {"type": ["string", "null"]},
            "proj:projjson": {"type": ["object", "null"]},
            "proj:geometry": {"type": "object", "required": ["type"]},
            "proj:bbox": {"anyOf": [{**_NUMBERS, "minItems": n, "maxItems": n} for n in (4, 6)]},
            "proj:centroid": {"type": "object", "required": ["lat", "lon"]},
            "proj:shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
            "proj:transform": {"anyOf": [{**_NUMBERS, "minItems": n} for n in (6, 9)]},
        },
    ),
    "scientific": (
        "sci:",
        {
            "sci:doi": _DOI,
            "sci:citation": {"type": "string"},
            "sci:publications": {"type": "array", "items": {"type": "object"}},
        },
    ),
}
"""By extension: how its fields begin, and what each may be. No others may begin so."""

OURS = frozenset({"file", "alternate-assets"})
"""Extensions whose fields we write; of others, catalogs have fields without naming them."""

REQUIRED: dict[str, list[list[str]]] = {
    "label": [["label:properties", "label:description", "label:type"]],
    "scientific": [["sci:doi"], ["sci:citation"], ["sci:publications"]],
}
"""What an item's properties must have all of one list of; of collections, for scientific, too."""


@cache
def _validator(extension: str) -> Any:
    prefix, fields = FIELDS[extension]
    return jsonschema.Draft7Validator(
        {
            "type": "object",
            "properties": fields,
            "patternProperties": {f"^(?!{prefix})": {}},
            "additionalProperties": False,
        }
    )


def problems(document: Json) -> Iterator[str]:
    """What is wrong with a document by the extensions that it names, and by those it does not."""
    named = {}
    for url in document.get("stac_extensions", []):
        if match := _NAME.fullmatch(url):
            named[match[1]] = url
    places = list(_places(document))
    for extension, (prefix, _) in FIELDS.items():
        used = any(name.startswith(prefix) for _, place in places for name in place)
        if extension in named and not used:
            yield f"{extension} is named and not used"
        if used and extension in OURS and extension not in named:
            yield f"{extension} is used and not named"
        if extension not in named:
            continue
        for where, place in places:
            for error in _validator(extension).iter_errors(place):
                yield f"{where}: {error.message}"
        own = document["properties"] if document["type"] == "Feature" else document
        wanted = REQUIRED.get(extension, [])
        is_asked = document["type"] == "Feature" or extension == "scientific"
        if wanted and is_asked and not any(own.keys() >= set(some) for some in wanted):
            yield f"{extension} has none of {wanted}"


def _places(document: Json) -> Iterator[tuple[str, Json]]:
    """The objects of a document that may have fields of extensions."""
    if document["type"] == "Feature":
        yield "properties", document["properties"]
    else:
        yield document["type"], document
        yield "summaries", document.get("summaries", {})
    for kind in ("assets", "item_assets"):
        for key, asset in document.get(kind, {}).items():
            yield f"{kind} {key}", asset
            for band in asset.get("bands", []):
                yield f"{kind} {key} bands", band
    for link in document.get("links", []):
        yield f"link {link.get('rel')}", link
