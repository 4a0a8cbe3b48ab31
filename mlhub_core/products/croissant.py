"""Describes a download as Croissant 1.1, with what GeoCroissant 1.0 adds, in ``croissant.json``.

It is made of what lies there already: the local STAC says what the dataset is, its table of items
what can be loaded, index and ledger which files there are. Files of items are listed as sets, by
collection and asset key, so that the description of a million files is no longer than that of ten;
each one's path and SHA-256 are fields of the items that the table has.
"""

from __future__ import annotations

import glob
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.exceptions import StorageError, storage_errors
from mlhub_core.net.body import digest_file
from mlhub_core.paths import PRODUCTS_NAME, DownloadPaths
from mlhub_core.products.base import product_name
from mlhub_core.products.croissant_fields import item_records, listed
from mlhub_core.products.here import scan_known
from mlhub_core.products.publishing import replace_file
from mlhub_core.sources.documents import JsonObject
from mlhub_core.state import write_state
from mlhub_core.threads import StopFlag, open_parquet
from mlhub_core.transfer.ledger import undamaged

NAME = "croissant.json"

_CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/geo/1.0"]
_TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
    *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset"),
    *("jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
_CONTEXT: JsonObject = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "geocr": "http://mlcommons.org/croissant/geo/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: f"cr:{term}" for term in _TERMS},
}
_PARQUET = ["application/vnd.apache.parquet", "application/x-parquet"]
"""As it is registered, and as mlcroissant knows it."""
_UNKNOWN = "application/octet-stream"
_MAX_SETS = 500
"""Sets of files: where there would be more, a collection is one, or all of it."""
_MAX_NAMES = 8
"""Names that the files of one asset key have, before the set is all of the collection."""
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_NO_LICENSE = frozenset({"other", "various", "proprietary"})
"""What STAC has for the licence where it is none that SPDX lists."""
_ITEM_LINK = b'    {"rel":"item",'


def write_croissant(paths: DownloadPaths, state: JsonObject, stop: StopFlag) -> Path:
    """Write ``croissant.json``, if it does not say that already.

    Args:
        paths: The download, its lock held and its journals merged.
        state: What is written down of its local STAC, which is there.
        stop: Looked at between batches.

    Raises:
        StorageError: if the disk refuses, or something else lies in its place.
        Interrupted: if ``stop`` is set.
    """
    called = product_name(paths, NAME, state.get("croissant"))
    place = paths.asset_dir / called
    told = _describe(paths, state, stop)
    if state.get("croissant") != called:  # it is ours from now on, whatever happens next
        write_state(paths.state_dir / PRODUCTS_NAME, {**state, "croissant": called})
    replace_file(place, orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    noted = {**state, "croissant": called, "described": state.get("digest")}
    if noted != state:
        write_state(paths.state_dir / PRODUCTS_NAME, noted)
    return place


def _describe(paths: DownloadPaths, state: JsonObject, stop: StopFlag) -> JsonObject:
    root = _read(paths.asset_dir / str(state["stac"]) / "catalog.json")
    table = paths.asset_dir / str(state["table"])
    collections = list(_collections(root, paths.asset_dir / str(state["stac"])))
    files = _Files(paths, stop)
    with storage_errors(f"read {table}"):
        digest = digest_file(str(table), ["sha256"], stop.check)["sha256"]
        size = table.stat().st_size
        schema = pq.read_schema(table)
    items = {
        "@type": "cr:FileObject",
        "@id": "items.parquet",
        "name": table.name,
        "description": "All items that are here, stac-geoparquet; hrefs are relative to it.",
        "contentUrl": table.name,
        "encodingFormat": _PARQUET,
        "contentSize": f"{size} B",
        "sha256": digest,
    }
    about = {
        "name": root.get("title") or root["id"],
        "alternateName": root["id"],
        "description": root["description"],
        "conformsTo": _CONFORMS_TO,
        **_rights(collections),
        **_coverage(collections),
        **_geospatial(table, schema),
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        **{name: value for name, value in about.items() if value},
        "distribution": [items, *files.objects(), *files.sets()],
        "recordSet": [item_records(schema, collections)],
    }


def _read(path: Path) -> Any:
    with storage_errors(f"read {path}"):
        return orjson.loads(path.read_bytes())


def _collections(root: JsonObject, directory: Path) -> Iterator[JsonObject]:
    """The collections of the local STAC, without their links to items, which may be very many."""
    for link in root["links"]:
        if link["rel"] != "child":
            continue
        path = directory / link["href"]
        with storage_errors(f"read {path}"), path.open("rb") as lines:
            text = b"".join(line for line in lines if not line.startswith(_ITEM_LINK))
        try:
            yield orjson.loads(re.sub(rb",\s*\]\s*\}\s*$", b"]}", text))
        except ValueError as error:
            raise StorageError(
                f"{path} is not as it was written ({error}): a download that changes something, "
                "or `mlhub stac` in the other mode (--stac), writes it anew."
            ) from error


def _rights(collections: list[JsonObject]) -> JsonObject:
    """Who made it, under which licence, how to cite it, and where it is told of."""
    found: JsonObject = {}
    licenses = _each(_license(one) for one in collections)
    found["license"] = licenses[0] if len(licenses) == 1 else licenses
    found["citeAs"] = "\n".join(_each(one.get("sci:citation") for one in collections))
    dois = _each(one.get("sci:doi") for one in collections)
    found["url"] = f"https://doi.org/{dois[0]}" if dois else None
    found["sameAs"] = [f"https://doi.org/{doi}" for doi in dois[1:]]
    versions = _each(one.get("version") for one in collections)
    found["version"] = versions[0] if len(versions) == 1 else None
    found["datePublished"] = min(_each(one.get("published") for one in collections), default=None)
    found["keywords"] = _each(word for one in collections for word in listed(one.get("keywords")))
    providers = [
        provider
        for one in collections
        for provider in listed(one.get("providers"))
        if isinstance(provider, dict) and isinstance(provider.get("name"), str)
    ]
    producers = [one for one in providers if "producer" in listed(one.get("roles"))]
    found["creator"] = _organizations(producers or providers)
    found["publisher"] = _organizations(
        one for one in providers if "host" in listed(one.get("roles"))
    )
    return found


def _organizations(providers: Iterable[JsonObject]) -> list[JsonObject]:
    named = {
        one["name"]: {
            "@type": "sc:Organization",
            "name": one["name"],
            **({"url": one["url"]} if isinstance(one.get("url"), str) else {}),
        }
        for one in providers
    }
    return list(named.values())


def _license(collection: JsonObject) -> str | None:
    """The licence as a URL where it has one, else as it is called."""
    named = collection.get("license")
    for link in listed(collection.get("links")):
        if link.get("rel") == "license" and "://" in str(link.get("href")):
            return str(link["href"])
    if not isinstance(named, str):
        return None
    is_listed = _SPDX.fullmatch(named) and named not in _NO_LICENSE
    return f"https://spdx.org/licenses/{named}.html" if is_listed else named


def _each(values: Iterable[Any]) -> list[str]:
    """The texts among some values, each once, in their order."""
    return list(dict.fromkeys(one for one in values if isinstance(one, str) and one.strip()))


def _coverage(collections: list[JsonObject]) -> JsonObject:
    """Where and when all of it is."""
    boxes = [one["extent"]["spatial"]["bbox"][0] for one in collections]
    spans = [one["extent"]["temporal"]["interval"][0] for one in collections]
    found: JsonObject = {}
    if boxes:
        west, south = (min(box[number] for box in boxes) for number in (0, 1))
        east, north = (max(box[number] for box in boxes) for number in (2, 3))
        shape = {"@type": "sc:GeoShape", "box": f"{south} {west} {north} {east}"}
        found["spatialCoverage"] = {"@type": "sc:Place", "geo": shape}
    starts = [start for start, _ in spans if start]
    ends = [end for _, end in spans if end]
    if starts and ends:
        found["temporalCoverage"] = f"{min(starts)}/{max(ends)}"
    return found


def _geospatial(table: Path, schema: pa.Schema) -> JsonObject:
    """What of all items is the same: their coordinate reference system, their resolution."""
    found: JsonObject = {}
    code = _only(table, schema, "proj:code")
    epsg = _only(table, schema, "proj:epsg")
    if code or epsg:
        found["geocr:coordinateReferenceSystem"] = str(code) if code else f"EPSG:{epsg}"
    gsd = _only(table, schema, "gsd")
    if isinstance(gsd, int | float):
        found["geocr:spatialResolution"] = {
            "@type": "sc:QuantitativeValue",
            "value": gsd,
            "unitText": "m",
        }
    return found


def _only(table: Path, schema: pa.Schema, column: str) -> Any:
    """The one value that a column has; None where it has several."""
    if column not in schema.names:
        return None
    seen: set[Any] = set()
    with storage_errors(f"read {table}"):
        for batch in open_parquet(table).iter_batches(columns=[column], use_threads=False):
            seen.update(one for one in batch.column(0).unique().to_pylist() if one is not None)
            if len(seen) > 1:
                return None
    return seen.pop() if seen else None


class _Files:
    """The files that are here, as sets of those of one asset key, and those that all share.

    Args:
        paths: The download.
        stop: Looked at between batches.
    """

    def __init__(self, paths: DownloadPaths, stop: StopFlag) -> None:
        self._paths = paths
        self._stop = stop
        self._shared: dict[str, tuple[str, str | None, int, str | None]] = {}
        self._sets: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
        self._depth = 2
        columns = ("save_path", "asset_key", "media_type", "common_asset", "item_id")
        for batch, known in scan_known(paths, columns, stop):
            here = undamaged(known)
            values = (batch.column(name).to_pylist() for name in columns)
            for path, key, media_type, is_common, item in zip(*values, strict=True):
                if path not in here:
                    continue
                if is_common or item is None:
                    self._shared[path] = (key, media_type, here[path].size, here[path].sha256)
                else:
                    self._add(path, key, media_type)

    def _add(self, path: str, key: str, media_type: str | None) -> None:
        directory, _, rest = path.partition("/")
        names, types = self._sets.setdefault((directory, key)[: self._depth], (set(), set()))
        if len(names) <= _MAX_NAMES:
            names.add(rest.rpartition("/")[2])
        if media_type and len(types) <= _MAX_NAMES:
            types.add(media_type)
        while len(self._sets) > _MAX_SETS:
            self._depth -= 1
            merged: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
            for place, (_, some) in self._sets.items():
                merged.setdefault(place[: self._depth], (set(), set()))[1].update(some)
            self._sets = merged

    def objects(self) -> Iterator[JsonObject]:
        """The files that items share, and those of collections."""
        for path, (key, media_type, size, sha256) in sorted(self._shared.items()):
            place = str(self._paths.asset_dir / path)
            if sha256 is None:
                with storage_errors(f"read {place}"):
                    sha256 = digest_file(place, ["sha256"], self._stop.check)["sha256"]
            yield {
                "@type": "cr:FileObject",
                "@id": f"file/{quote(path)}",
                "name": posixpath.basename(path),
                "description": key,
                "contentUrl": path,
                "encodingFormat": _formats({media_type} if media_type else set()),
                "contentSize": f"{size} B",
                "sha256": sha256,
            }

    def sets(self) -> Iterator[JsonObject]:
        """Sets of the files that items have each for itself."""
        for place, (names, types) in sorted(self._sets.items()):
            above = glob.escape(place[0]) if place else "*"
            are_named = self._depth == 2 and len(names) <= _MAX_NAMES
            ends = sorted(map(glob.escape, names)) if are_named else ["*"]
            yield {
                "@type": "cr:FileSet",
                "@id": "/".join(("files", *map(quote, place))),
                "name": "/".join(place) or "files",
                "encodingFormat": _formats(types),
                "includes": [f"{above}/*/{end}" for end in ends],
            }


def _formats(types: set[str]) -> list[str]:
    """Media types as they are, and without parameters, as some know them only."""
    essences = (one.partition(";")[0].strip() for one in sorted(types))
    return list(dict.fromkeys([*sorted(types), *essences])) or [_UNKNOWN]
