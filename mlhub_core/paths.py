"""Where everything lies on disk: pure functions from ids, keys and URLs to names.

Ids and keys come from catalogs that anybody may have written. A name that could leave its
directory, or that some file system refuses, is percent-encoded in the same way on every system,
so that a download can be moved between machines.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.redact import redact_url

COMMON_DIRECTORY = "_common"
STATE_DIRECTORY = ".mlhub"
INDEX_NAME = "mlhub_stac_assets.parquet"
ASSET_DB_NAME = "mlhub_stac_assets.db"
ERR_REPORT_NAME = "err_report.csv"

INDEX_STATE_NAME = "index.json"
"""In the state directory: what the index was made from."""
UNARCHIVED_NAME = "unarchived.json"
"""In the state directory: which archive the catalog's files came out of."""
PRODUCTS_NAME = "products.json"
"""In the state directory: what was made of the download, and of which state of it."""
PRODUCT_FILES_NAME = "products.txt"
"""In the state directory: files of ours that lie among those of the dataset, a line each."""

COMMON_ASSET_KEYS = frozenset(
    {"documentation", "readme", "test_split", "train_split", "validation_split"}
)
"""Keys whose file usually is one and the same for a whole dataset."""

OUR_NAMES = frozenset({STATE_DIRECTORY, INDEX_NAME, ASSET_DB_NAME, ERR_REPORT_NAME})
"""What is ours at the top of the dataset's directory."""
PRODUCT_NAMES = frozenset({"stac", "items.parquet", "croissant.json", "shards"})
"""What products add beside the data; a collection of such an id has another directory."""
_OUR_STEM = INDEX_NAME.rpartition(".")[0] + "."
_RESERVED_IN_DATASET = OUR_NAMES | PRODUCT_NAMES | {COMMON_DIRECTORY, "catalog.json"}
_RESERVED_IN_COLLECTION = frozenset({COMMON_DIRECTORY, "collection.json"})

_MAX_NAME_BYTES = 200
"""File systems allow 255 bytes; the extension and our temporary suffixes need room."""

_MAX_SUFFIX_CHARACTERS = 16
"""What is longer behind the last dot is part of a name, not an extension."""

_REFUSED = re.compile('[\x00-\x1f\x7f"*/:<>?\\\\|%\ud800-\udfff]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)")
_COMPOUND_SUFFIXES = (".tar.gz", ".aux.xml")
_MEDIA_TYPE_SUFFIXES = {
    "application/geo+json": ".geojson",
    "application/geopackage+sqlite3": ".gpkg",
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/netcdf": ".nc",
    "application/pdf": ".pdf",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.google-earth.kml+xml": ".kml",
    "application/vnd.laszip": ".laz",
    "application/x-hdf": ".h5",
    "application/x-hdf5": ".h5",
    "application/x-netcdf": ".nc",
    "application/x-parquet": ".parquet",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/vnd.stac.geotiff": ".tif",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/xml": ".xml",
}


ARCHIVE_ENDINGS = {
    ".tar.gz": ".tar.gz",
    ".tgz": ".tar.gz",
    ".tar": ".tar.gz",
    ".tar.bz2": ".tar.bz2",
    ".tbz2": ".tar.bz2",
    ".tar.xz": ".tar.xz",
    ".txz": ".tar.xz",
    ".tar.zst": ".tar.zst",
    ".tzst": ".tar.zst",
    ".zip": ".zip",
}
"""How the names of archives end, and how that of a copy does. A plain tar has always been copied
under the name of a packed one."""


def archive_ending(name: str) -> str | None:
    """How a copy of an archive is called at its end; None of what is not called as an archive."""
    folded = name.lower()
    return next((own for end, own in ARCHIVE_ENDINGS.items() if folded.endswith(end)), None)


def check_directory_name(label: str, name: str) -> None:
    """Check that a text can be meant as a directory.

    Args:
        label: What it is for.
        name: The text.

    Raises:
        InvalidArgument: if it is empty, or a URL.
    """
    if not name.strip():
        raise InvalidArgument(f"{label} is empty: name a directory, or leave it out.")
    if _URL.match(name.strip()):
        raise InvalidArgument(
            f"{label} is {redact_url(name)}, a URL: name a directory of this machine."
        )


_URL = re.compile(r"(?i)file:|[a-z][a-z0-9+.-]+:/")
"""How a URL begins that is given for a path; a drive of Windows has one letter."""


def user_path(name: str | Path) -> Path:
    """The absolute path that a user means: ``~`` is a home, all else begins where they are.

    Raises:
        InvalidArgument: if it is no path, there is no such home, the current directory is gone, or
            the path has characters that Arrow, SQLite and Prefect cannot be told.
    """
    shown = str(name).encode("utf-8", "backslashreplace").decode()
    try:
        path = Path(name).expanduser().absolute()
    except TypeError as error:
        raise InvalidArgument(f"{shown} is not a path: give a text or a Path.") from error
    except RuntimeError as error:
        raise InvalidArgument(
            f"{shown}: that home directory is not known: write it out."
        ) from error
    except OSError as error:
        raise InvalidArgument(
            f"{shown}: the current directory is not there any more ({error.strerror}): change to "
            "another one, or write the whole path."
        ) from error
    shown = str(path).encode("utf-8", "backslashreplace").decode()
    if "\0" in shown or shown != str(path):
        raise InvalidArgument(
            f"{shown!r} is not UTF-8, or has a null byte in it: name another path, be it a link."
        )
    return path


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _shorten(name: str) -> str:
    raw = name.encode("utf-8")
    if len(raw) <= _MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return raw[: _MAX_NAME_BYTES - 17].decode("utf-8", "ignore") + "~" + digest


def safe_name(text: str) -> str:
    """Turn an id or key into one path component that every file system takes.

    Different texts give different names. Plain ids come out unchanged.

    Args:
        text: Any string, hostile ones included.

    Returns:
        A name without separators, never empty, ``.`` or ``..``, of at most 200 bytes in UTF-8.
    """
    if not text:
        return "%"
    name = _REFUSED.sub(lambda refused: _percent(refused[0]), text)
    if name[-1] in ". ":
        name = name[:-1] + _percent(name[-1])
    if _DEVICES.match(name):
        name = _percent(name[0]) + name[1:]
    return _shorten(name)


def encode_first(name: str) -> str:
    """Percent-encode the first character of a safe name, to move it off a reserved name."""
    return _shorten(_percent(name[0]) + name[1:])


def case_key(name: str) -> str:
    """What two names share exactly when some file system takes them for the same."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_ours(name: str) -> bool:
    """Whether a name in the dataset's directory is that of our state, in whatever case."""
    folded = case_key(name)
    return folded in OUR_NAMES or folded.startswith(_OUR_STEM)


def encode_case(name: str) -> str:
    """Spell out what a file system may fold: capitals and everything outside ASCII.

    Applied to every one of several names that differ in nothing else (``B8A`` and ``B8a``).
    """
    return _shorten(
        "".join(char if char.isascii() and not char.isupper() else _percent(char) for char in name)
    )


def collection_name(collection_id: str) -> str:
    """The directory of a collection within the dataset's."""
    name = safe_name(collection_id)
    return encode_first(name) if case_key(name) in _RESERVED_IN_DATASET else name


def item_name(item_id: str) -> str:
    """The directory of an item within its collection's."""
    name = safe_name(item_id)
    return encode_first(name) if case_key(name) in _RESERVED_IN_COLLECTION else name


def extension(href: str, media_type: str | None = None) -> str:
    """The extension a file is saved with, dot included.

    The last suffix of the URL's path, of ``.tar.gz`` and ``.aux.xml`` both parts; else the one of
    the media type; else the empty string.

    Args:
        href: URL or relative path; query and fragment do not count.
        media_type: The asset's STAC ``type``, such as ``image/tiff; application=geotiff``.
    """
    try:
        path = urlsplit(href).path
    except ValueError:  # not a URL at all, such as an unbalanced IPv6 bracket
        path = href
    last = unquote(path.rpartition("/")[2], errors="replace")
    for compound in _COMPOUND_SUFFIXES:
        if last.lower().endswith(compound) and len(last) > len(compound):
            return last[-len(compound) :]
    stem, dot, suffix = last.rpartition(".")
    if dot and stem.strip(".") and suffix.strip() and len(suffix) <= _MAX_SUFFIX_CHARACTERS:
        return "." + safe_name(suffix)
    essence = (media_type or "").partition(";")[0].strip().lower()
    return _MEDIA_TYPE_SUFFIXES.get(essence, "")


def https_url(href: str, s3_endpoint: str | None = None) -> str:
    """The URL that an href is fetched from; only ``s3://`` and ``gs://`` are rewritten.

    Buckets with dots go into the path, because the wildcard certificate of
    ``*.s3.amazonaws.com`` covers one label only.

    Args:
        href: An absolute URL.
        s3_endpoint: Base URL of another S3 server; buckets then go into the path.
    """
    if href[:5].lower() == "gs://":
        return f"https://storage.googleapis.com/{_object_key(href[5:])}"
    if href[:5].lower() != "s3://":
        return href
    bucket, _, key = href[5:].partition("/")
    key = _object_key(key)
    if s3_endpoint:
        return f"{s3_endpoint.rstrip('/')}/{bucket}/{key}"
    if "." in bucket:
        return f"https://s3.amazonaws.com/{bucket}/{key}"
    return f"https://{bucket}.s3.amazonaws.com/{key}"


def _object_key(key: str) -> str:
    """The key of an object as the path of a URL has it."""
    return quote(key, safe="/-_.~!$&'()*+,;=:@")


@dataclass(frozen=True, slots=True)
class DownloadPaths:
    """All paths of one download.

    Attributes:
        output_dir: Where archive and catalog go, absolute.
        asset_output_dir: Where assets go, absolute; often the same.
        dataset_id: The dataset's id.
        archive_ending: How the archive's name ends.
        origin: Where the catalog's files are read and copied from, where it is no archive's.
    """

    output_dir: Path
    asset_output_dir: Path
    dataset_id: str
    archive_ending: str = field(default=".tar.gz", kw_only=True)
    origin: Path | None = field(default=None, kw_only=True)

    @classmethod
    def of(
        cls,
        dataset_id: str,
        output_dir: str | Path | None = None,
        asset_output_dir: str | Path | None = None,
    ) -> DownloadPaths:
        """Resolve directories as given by a user, without touching the disk.

        Args:
            dataset_id: The dataset's id.
            output_dir: Defaults to the current directory at the time of the call.
            asset_output_dir: Defaults to ``output_dir``.

        Raises:
            InvalidArgument: if a directory is an empty string, or a URL.
        """
        for label, value in (("output_dir", output_dir), ("asset_output_dir", asset_output_dir)):
            if value is not None:
                check_directory_name(label, str(value))
        output = user_path("." if output_dir is None else output_dir)
        assets = output if asset_output_dir is None else user_path(asset_output_dir)
        return cls(output, assets, dataset_id)

    @property
    def archive(self) -> Path:
        """The catalog archive."""
        return self.output_dir / f"{safe_name(self.dataset_id)}{self.archive_ending}"

    @property
    def catalog_dir(self) -> Path:
        """The catalog, unarchived."""
        return self.output_dir / safe_name(self.dataset_id)

    @property
    def asset_dir(self) -> Path:
        """The directory that ``save_path`` of the index is relative to."""
        return self.asset_output_dir / safe_name(self.dataset_id)

    @property
    def index(self) -> Path:
        """The asset index, GeoParquet."""
        return self.asset_dir / INDEX_NAME

    @property
    def asset_db(self) -> Path:
        """The reference client's SQLite table."""
        return self.asset_dir / ASSET_DB_NAME

    @property
    def err_report(self) -> Path:
        """What failed."""
        return self.asset_dir / ERR_REPORT_NAME

    @property
    def state_dir(self) -> Path:
        """All that is ours: nothing of our state lies anywhere else."""
        return self.asset_dir / STATE_DIRECTORY

    @property
    def ledger_dir(self) -> Path:
        """Which files are already here, one segment a partition."""
        return self.state_dir / "ledger"

    @property
    def failures_dir(self) -> Path:
        """What a run could not have, one segment a partition, until it is over."""
        return self.state_dir / "failures"

    @property
    def partial_dir(self) -> Path:
        """Files being written, and what is kept of interrupted ones."""
        return self.state_dir / "partial"

    @property
    def plan_dir(self) -> Path:
        """The current plan and its partitions."""
        return self.state_dir / "plan"

    @property
    def lock(self) -> Path:
        """Held by the run that works here."""
        return self.state_dir / "lock"
