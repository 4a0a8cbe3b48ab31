"""What an answer in place of a file really is: by its first bytes, then by its Content-Type.

Hosts answer 200 with a sign-in page, an error in words, XML or JSON, a listing, or nothing at all.
What a file with such a name never is, is refused; whatever else may be odd about it is taken. That
is decided by what looks like text: formats are too many, and their names too often wrong, to demand
of a file that it begins as its format does. Where a checksum of the catalog agrees, nobody asks.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, NamedTuple

import orjson

from mlhub_core.selection.partition import Asset

LOOKED_AT = 2048
"""Bytes from the beginning of a file that are looked at."""


class Family(Enum):
    """What files with a name are, as far as it matters here."""

    BINARY = "never text"
    ARRAY = "a directory, never one file"
    JSON = "JSON"
    XML = "XML"
    TABLE = "text that is never empty"
    OPAQUE = "text or not, and never empty"
    NOTE = "text, and maybe empty"
    PAGE = "HTML"
    UNKNOWN = "anything"


_SUFFIXES = {
    Family.BINARY: """
        7z arrow avi avif bmp btf bufr bz2 cdf ckpt copc dbf ecw feather fgb fit fits fts geoparquet
        geotiff gif gpkg grb grb2 grib grib2 gtiff gz h4 h5 hdf hdf4 hdf5 he4 he5 heic heif j2k jp2
        jpeg jpg jpx keras kmz las laz lz4 mbtiles mdb mkv mov mp3 mp4 mrsid nc nc4 npy npz onnx
        orc parquet pdf pmtiles png pt pth rar safetensors sbn sbx shp shx sid sqlite sqlite3 tar
        tfrecord tfrecords tgz tif tiff wav webm webp xls xlsx xz zip zst""",
    Family.ARRAY: "n5 zarr",
    Family.JSON: "czml geojson geojsonl geojsons ipynb json jsonl ndjson topojson",
    Family.XML: "dae dim gml gpx iso kml osm qml qpt rdf sld svg vrt wsdl xml xsd xsl",
    Family.TABLE: "asc csv hdr prj tab toml tsv wkt yaml yml",
    Family.OPAQUE: "bin dat db img model pickle pkl raw",
    Family.NOTE: "cpg jgw log names pgw text tfw txt wld",
    Family.PAGE: "htm html mht mhtml shtml xhtml",
}
_FAMILIES = {f".{name}": family for family, names in _SUFFIXES.items() for name in names.split()}
_MEDIA_TYPES = (
    ("html", Family.PAGE),
    ("svg", Family.XML),
    ("json", Family.JSON),
    ("xml", Family.XML),
    ("text/csv", Family.TABLE),
    ("text/", Family.NOTE),
    ("image/", Family.BINARY),
    ("video/", Family.BINARY),
    ("zarr", Family.ARRAY),
    ("hdf", Family.BINARY),
    ("netcdf", Family.BINARY),
    ("parquet", Family.BINARY),
    ("zip", Family.BINARY),
    ("pdf", Family.BINARY),
    ("application/", Family.OPAQUE),
)
"""What media types hold, the first that fits: for names that tell nothing."""
_NEVER_EMPTY = frozenset(
    {Family.BINARY, Family.ARRAY, Family.JSON, Family.XML, Family.TABLE, Family.OPAQUE}
)
_BEGINNINGS = {".pdf": b"%PDF-", ".fits": b"SIMPLE", ".fit": b"SIMPLE", ".fts": b"SIMPLE"}
"""How formats begin that are never text but for their beginning."""
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
"""The ETag by which object stores say that a file is meant to be empty."""

_BINARY_BYTES = bytes([*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])
"""Bytes that no text has, by the WHATWG's MIME Sniffing Standard."""
_BEFORE = re.compile(rb"(?s)(?:\xef\xbb\xbf|\s+|<\?.*?\?>|<!--.*?-->)*")
"""What may stand before the first element of a document."""
_PAGE = re.compile(rb"(?i)<(?:!doctype\s+html|html|head|body)[\s>/]")
_MARKUP = re.compile(
    rb"(?i)<(?:title|script|style|meta|iframe|h[1-6]|div|font|table|center|form|br|p|a|b)[\s>/]"
)
_TAG = re.compile(rb"(?i)</?(?:a|b|p|br|h[1-6]|div|span|form|input|script|title|body|html)[\s>/]")
_ELEMENT = re.compile(rb"(?s)(?:<!doctype[^>]*>\s*)?<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)")
_ERROR_ELEMENTS = frozenset(
    """
    error errors errorresponse exception exceptionreport fault envelope serviceexception
    serviceexceptionreport
    """.split()  # noqa: SIM905
)
_LIST_ELEMENTS = frozenset({"listbucketresult", "enumerationresults", "multistatus"})
_LISTING = re.compile(rb"(?i)<(?:title|h1)>\s*(?:index of|directory listing|listing of)\b")
_JSON_BEGIN = re.compile(rb"[\[{\"0-9-]|(?:true|false|null|NaN|Infinity)\b|[\w$.]+\s*[(=]|/[/*]|#")
"""How JSON, and what is called so, begins: also with a call, an assignment or a comment."""
_ERROR_KEYS = frozenset({"error", "errors", "exception", "fault", "error_message", "errormessage"})
_MESSAGE_KEYS = frozenset({"message", "msg", "detail", "title", "description", "reason"})
_BESIDE = frozenset(
    """
    __type code data date details documentation_url error_code error_description errorcode
    errordescription help hint instance ok path request_id requestid result status status_code
    statuscode success timestamp trace_id traceid type url
    """.split()  # noqa: SIM905
)
"""What stands beside the error in an object that says nothing else."""
_KEYED = frozenset({".yaml", ".yml"})
"""Where ``error: 0.5`` is what such files look like."""
_END = rb"(?=\s*$|\s*[.!:;])"
_ERROR_TEXT = re.compile(
    rb"(?is)\W*(?:http[ /\d.]*(?:basic|error|status)?[: ]+)?(?:[45]\d\d[:\s-]+)?(?:"
    rb"error\s*[:!]|(?:internal )?server error" + _END + rb"|access (?:is |was )?denied"
    rb"|permission denied|auth(?:entication|orization) (?:is )?(?:required|failed)"
    rb"|not authori[sz]ed|unauthori[sz]ed" + _END + rb"|forbidden" + _END + rb"|"
    rb"(?:file |page |object |resource |the requested \w+ (?:was |is )?)?not found" + _END + rb"|"
    rb"bad (?:request|gateway)" + _END + rb"|gateway time-?out|service (?:is )?(?:temporarily )?"
    rb"unavailable|too many requests|(?:rate limit|quota) (?:exceeded|reached)|no such (?:key|file)"
    rb"|(?:invalid|expired|missing) (?:token|signature|credentials?|api key|session)" + _END + rb"|"
    rb"(?:your |the )?(?:token|signature|session|link|url|request)(?: has| is)? (?:expired|invalid"
    rb"|denied)|(?:please |you (?:must|need to|have to) )(?:first )?(?:log|sign)[ -]?(?:in|on)"
    rb"|(?:log|sign)[ -]?in (?:to|required|first)|you (?:are not|do not have|don't have) "
    rb"(?:authori[sz]ed|allowed|permi|access))"
)
_ERROR_LENGTH = 1000


class Answer(NamedTuple):
    """A whole body, and what is said of it.

    Attributes:
        begin: Its first bytes, :data:`LOOKED_AT` of them at most.
        size: All its bytes.
        content_type: ``Content-Type`` of the answer.
        etag: ``ETag`` of the answer.
    """

    begin: bytes
    size: int
    content_type: str | None = None
    etag: str | None = None


def suffix_of(path: str) -> str:
    """The extension of a file, in lower case."""
    stem, _, suffix = path.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem else ""


def cause_against(answer: Answer, asset: Asset) -> str:
    """Why a body is not the file, in words that group well; empty where nothing speaks against it.

    Args:
        answer: The body.
        asset: What the catalog says of the file.
    """
    begin = answer.begin
    if b"\0" in begin[:64] and begin[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return ""  # as nearly all data do
    suffix = suffix_of(asset.save_path)
    family = _family(suffix, asset.media_type)
    if not answer.size:
        found = _against_nothing(answer, family, asset.file_size)
    else:
        found = _against_text(answer, suffix, family, asset.file_size)
    return f"{found} in place of a {suffix or 'data'} file" if found else ""


def _family(suffix: str, media_type: str | None) -> Family:
    kind = (media_type or "").lower()
    if "html" in kind:
        return Family.PAGE
    known = _FAMILIES.get(suffix)
    if known is not None or not kind:
        return known or Family.UNKNOWN
    return next((family for part, family in _MEDIA_TYPES if part in kind), Family.UNKNOWN)


def _against_nothing(answer: Answer, family: Family, expected_size: int | None) -> str:
    meant = expected_size == 0 or (answer.etag or "").strip('"').lower() == EMPTY_MD5
    return "" if meant or family not in _NEVER_EMPTY else "an empty answer"


def _against_text(answer: Answer, suffix: str, family: Family, expected_size: int | None) -> str:
    begin = _as_utf8(answer.begin)
    if family is Family.PAGE or begin.translate(None, _BINARY_BYTES) != begin:
        return ""
    if begin.startswith(_BEGINNINGS.get(suffix, b"\0")):
        return ""
    match = _BEFORE.match(begin)
    lead = begin[match.end() :] if match else begin
    kind = _plain_type(answer.content_type)
    if lead.startswith(b"<") or begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml"):
        return _against_markup(lead, begin, family, kind)
    if lead[:1] in (b"{", b"["):
        return _against_json(lead, answer, family)
    if family is Family.UNKNOWN:
        return ""
    if answer.size <= _ERROR_LENGTH and suffix not in _KEYED and _ERROR_TEXT.match(lead):
        return "an error message"
    if expected_size == answer.size:
        return ""  # a text that says nothing, of just this length, is what somebody put there
    return _against_type(lead, family, kind)


def _against_markup(lead: bytes, begin: bytes, family: Family, kind: str) -> str:
    element = _ELEMENT.match(lead)
    name = element[1].decode().lower() if element else ""
    if name in _ERROR_ELEMENTS:
        return "an XML error"
    if name in _LIST_ELEMENTS:
        return "" if family is Family.XML else "a directory listing"
    is_page = _PAGE.match(lead) is not None
    if _LISTING.search(begin) and (is_page or kind == "text/html"):
        return "a directory listing"
    if family is Family.UNKNOWN:
        return ""
    if is_page or (family is not Family.XML and _MARKUP.match(lead)):
        return "an HTML page"
    if family in (Family.XML, Family.NOTE, Family.OPAQUE):
        return ""
    return "an XML document"


def _against_json(lead: bytes, answer: Answer, family: Family) -> str:
    if family in (Family.BINARY, Family.ARRAY):
        return "a JSON document"
    return "a JSON error" if answer.size <= LOOKED_AT and _is_json_error(lead) else ""


def _is_json_error(text: bytes) -> bool:
    """Whether an object says that something failed, and nothing else."""
    try:
        fields: Any = orjson.loads(text)
    except ValueError:
        return False
    if not isinstance(fields, dict) or not fields:
        return False
    told = {name.lower(): value for name, value in fields.items()}
    if not told.keys() <= _ERROR_KEYS | _MESSAGE_KEYS | _BESIDE:
        return False
    if any(told.get(name) and isinstance(told[name], str | dict | list) for name in _ERROR_KEYS):
        return True
    texts = (told[name] for name in _MESSAGE_KEYS & told.keys() if isinstance(told[name], str))
    return any(_ERROR_TEXT.match(text.encode("utf-8", "replace")) for text in texts)


def _against_type(lead: bytes, family: Family, kind: str) -> str:
    """What a text without a sign of its own is, by its Content-Type."""
    # The cells of a table may hold markup, but for those of its first line.
    part = lead.partition(b"\n")[0] if family is Family.TABLE else lead
    if kind == "text/html" and _TAG.search(part):
        return "an HTML page"
    if kind not in ("text/html", "text/plain"):
        return ""
    is_other = family is Family.JSON and not _JSON_BEGIN.match(lead)
    return "a text" if is_other or family in (Family.BINARY, Family.ARRAY) else ""


def _plain_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _as_utf8(begin: bytes) -> bytes:
    """Text as UTF-8, where it says by a byte order mark that it is UTF-16."""
    if begin[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return begin
    return begin.decode("utf-16", "ignore").encode("utf-8", "ignore")
