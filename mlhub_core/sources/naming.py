"""What the text that names a source says: pure functions, and a look at small files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlhub_core.paths import user_path
from mlhub_core.settings import MIB
from mlhub_core.sources.documents import Kind, parse_document

STDIN = "-"
"""Standard input, as a source."""
ITEMS_ENDINGS = (".ndjson", ".jsonl", ".geojson", ".geojsonl")
"""Endings of names that mean items, also of URLs; ``.json`` may be anything."""
PARQUET_ENDINGS = (".parquet", ".geoparquet", ".pq")
_PACKINGS = (".gz", ".zst", ".bz2", ".xz")


_API_COLLECTION = re.compile(r"(?i)https?://[^/?#]+/(?:[^?#]*/)?collections/([^/?#]+)(/items)?/?")
_FILE = re.compile(r"(?i)\.(json|geojson|parquet|tar|tgz|zip|gz|bz2|xz|zst)$")


def is_url(text: str) -> bool:
    """Whether a text is a URL rather than a path."""
    return "://" in text


def means_api_collection(text: str) -> bool:
    """Whether a text is the URL of a collection as STAC APIs have it: ``…/collections/ID``."""
    found = _API_COLLECTION.fullmatch(text)
    return found is not None and not _FILE.search(found[1])


def last_name(text: str) -> str:
    """The last name in a path, or in the path of a URL."""
    if is_url(text):
        try:
            text = unquote(urlsplit(text).path)
        except ValueError:
            return ""
    return Path(text.rstrip("/")).name


def file_name(text: str) -> str:
    """The name of the file that a path or a URL names, without the ending of its packing."""
    name = last_name(text)
    packing = next((one for one in _PACKINGS if name.lower().endswith(one)), "")
    return name[: len(name) - len(packing)]


def stem(text: str, otherwise: str) -> str:
    """What a dataset is called by default that a file is: as the file, without its ending."""
    name = "" if text == STDIN else file_name(text)
    return name.rpartition(".")[0] or name or otherwise


def means_items(text: str) -> bool:
    """Whether a text means a file of items: by its ending; of JSON on this machine by a look."""
    if text == STDIN:
        return True
    name = file_name(text).lower()
    if name.endswith(ITEMS_ENDINGS):
        return True
    if is_url(text) or not name.endswith(".json"):
        return False
    return name not in ("catalog.json", "collection.json") and not _is_catalog(user_path(text))


def means_parquet(text: str) -> bool:
    """Whether a text means tables of items: a file by its ending, a directory by a look."""
    if file_name(text).lower().endswith(PARQUET_ENDINGS):
        return True
    if is_url(text):
        return False
    if "/" not in text and not text.startswith("."):
        return False  # an id, whatever lies here under that name
    try:
        return _holds_tables(user_path(text))
    except OSError:
        return False


def means_index(text: str) -> bool:
    """Whether a text means an asset index of ours: a Parquet file with its columns."""
    if is_url(text) or not text.lower().endswith(PARQUET_ENDINGS):
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return is_index(pq.read_schema(user_path(text)).names)
    except (OSError, pa.ArrowException):
        return False


def is_index(columns: Iterable[str]) -> bool:
    """Whether these are the columns of an asset index."""
    return {"collection_id", "item_id", "asset_key", "href", "save_path"} <= {*columns}


def _holds_tables(path: Path) -> bool:
    """Whether a directory has tables at its top, or in directories called ``name=value``."""
    if not path.is_dir() or any(path.glob("*.json")):
        return False
    if any(path.glob("*.parquet")):
        return True
    return any(next(one.rglob("*.parquet"), None) for one in path.glob("*=*"))


def _is_catalog(path: Path) -> bool:
    """Whether a file is a catalog or collection; those are small, and read whole."""
    try:
        with path.open("rb") as file:
            found = parse_document(file.read(MIB), path.name)
    except OSError:
        return False
    return found.kind in (Kind.CATALOG, Kind.COLLECTION)
