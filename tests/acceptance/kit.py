"""A tiny hub on a fault server: its dataset, archive and files are all within reach of faults."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any
from urllib.parse import quote

from tests.faultserver import FaultServer, redirect

DATASET = "tiny"
ROOT = "/mlhub/v1/"
KEY = "cAnArY-7q%2F+k/e=&'~9Z"
"""A key that is spelled differently in a query, a form, JSON and a log."""

Json = dict[str, Any]


def item(item_id: str, assets: dict[str, Any], collection: str = "pictures", **fields: Any) -> Json:
    """A STAC item; an asset may be given by its href alone. A field of None is left out."""
    described = {
        key: {"href": asset} if isinstance(asset, str) else asset for key, asset in assets.items()
    }
    whole = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": collection,
        "bbox": [10.0, 50.0, 11.0, 51.0],
        "geometry": {"type": "Point", "coordinates": [10.5, 50.5]},
        "properties": {"datetime": "2020-06-01T12:00:00Z"},
        "links": [],
        "assets": described,
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def collection(collection_id: str = "pictures", assets: dict[str, str] | None = None) -> Json:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": collection_id,
        "description": collection_id,
        "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": []}, "temporal": {"interval": []}},
        "links": [],
        "assets": {key: {"href": href} for key, href in (assets or {}).items()},
    }


def catalog_members(*documents: Json, dataset: str = DATASET) -> dict[str, bytes]:
    """Members of an archive, where real ones have them."""
    members: dict[str, bytes] = {}
    members[f"{dataset}/catalog.json"] = _json({"type": "Catalog", "id": dataset, "links": []})
    for number, document in enumerate(documents):
        if document.get("type") == "Collection":
            members[f"{dataset}/{document['id']}/collection.json"] = _json(document)
        else:
            folder = quote(document.get("collection", "pictures"), safe="")
            members[f"{dataset}/{folder}/n{number}/n{number}.json"] = _json(document)
    return members


def tar_gz(members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)


def publish(
    server: FaultServer,
    *documents: Json,
    key: str | None = None,
    members: dict[str, bytes] | None = None,
    collections: tuple[str, ...] = ("pictures",),
) -> str:
    """Let a server be the hub of one dataset.

    Returns:
        The root of its API.
    """
    listed = [{"id": name, "types": ["source_imagery"]} for name in collections]
    dataset = {"id": DATASET, "title": "Tiny", "collections": listed}
    archive = tar_gz(catalog_members(*documents) if members is None else members)
    server.put(api(f"datasets/{DATASET}", key), _json(dataset))
    server.put(api(f"catalog/{DATASET}/info", key), _json({"stac_catalog_size": len(archive)}))
    server.put("/archives/tiny.tar.gz", archive)
    server.always(api(f"catalog/{DATASET}", key), redirect("/archives/tiny.tar.gz", 303))
    return server.url(ROOT)


def api(path: str, key: str | None = None) -> str:
    """What a request for a path of the API says."""
    return f"{ROOT}{path}" + (f"?key={quote(key, safe='')}" if key else "")


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
