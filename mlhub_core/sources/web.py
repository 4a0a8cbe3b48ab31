"""What a URL is: found out with one request, whose answer the source that it means goes on with."""

from __future__ import annotations

import re
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from mlhub_core.exceptions import CatalogError
from mlhub_core.http_errors import FetchError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.json_text import parse_json
from mlhub_core.net.addresses import Gate, note_zones
from mlhub_core.net.clients import without_login
from mlhub_core.net.documents import Answer, DocumentRequest, document_url, login_for
from mlhub_core.net.http import Loop
from mlhub_core.net.limits import limits_for
from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import redact_url
from mlhub_core.settings import ArchiveLimits, TransferSettings
from mlhub_core.sources.base import SOURCE_NAME, Catalog, DatasetInfo, Source, SourceSpec
from mlhub_core.sources.documents import JsonObject
from mlhub_core.state import read_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

_BEGINNING = 1024
"""Bytes that tell an archive or a page from JSON."""
_KEPT_SECONDS = 600.0
_MOST_KEPT = 4
_MAX_DEPTH = 200
"""Of JSON; geometries have eight levels."""
_MAGIC = (
    (b"PAR1", "parquet"),
    (b"\x1f\x8b", "archive"),
    (b"PK\x03\x04", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\x00", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"),
)
_TAR = slice(257, 262), b"ustar"
_ITEMS = re.compile(rb'\s*\{\s*"type"\s*:\s*"(?:Feature|Item)Collection"')
"""How a collection of items begins, which may be too long to be looked at whole."""
_PAGE = re.compile(rb"\s*<(?:!doctype|html|head|\?xml|!--)", re.I)
_API_RELATIONS = frozenset({"search", "conformance"})
_NAME_IT = (
    "name the URL of a catalog.json or collection.json, of a STAC API or of one of its collections"
)


class Look(NamedTuple):
    """What a URL answered.

    Attributes:
        answer: The answer; of what is no JSON only the beginning.
        kind: The kind of source that it is, a name of :data:`mlhub_core.sources.KINDS`.
        zones: What it may lead to, as for :class:`~mlhub_core.sources.base.SourceSpec`.
        value: The JSON in it; None where it is none.
    """

    answer: Answer
    kind: str
    zones: tuple[str, ...] | None
    value: Any = None

    def document(self) -> JsonObject:
        """The STAC object in it.

        Raises:
            CatalogError: if it is none.
        """
        if isinstance(self.value, dict):
            return self.value
        raise CatalogError(f"{redact_url(self.answer.url)} is no STAC object: {_NAME_IT}.")


_looks: dict[str, tuple[float, Look]] = {}
"""The last answers, until a source goes on with them."""
_lock = threading.Lock()


def look(spec: SourceSpec, *, again: bool = False) -> Look:
    """Ask for what a source's URL is; or hand on what was answered a moment ago.

    Args:
        spec: The source.
        again: Whether this goes on with an answer, which is then handed on no more.

    Raises:
        InvalidArgument: if it is no URL.
        FetchError: if it answers with an error, or not at all.
        CatalogError: if nothing that can be read is there.
    """
    url = document_url(spec.text)
    with _lock:
        since, found = _looks.pop(url, (0.0, None))
        fresh = found is not None and again and time.monotonic() - since < _KEPT_SECONDS
    if found is None or not fresh:
        found = _ask(url, spec)
    if not again:
        with _lock:
            _looks[url] = time.monotonic(), found
            while len(_looks) > _MOST_KEPT:
                del _looks[next(iter(_looks))]
    return found


def _ask(url: str, spec: SourceSpec) -> Look:
    answers: list[Answer] = []
    settings, limits = TransferSettings(), ArchiveLimits()
    request = DocumentRequest(
        without_login(url),
        settings,
        limits.max_json_bytes,
        answers.append,
        login=login_for(url),
        wants=lambda begin: kind_of_bytes(begin) is None,
    )
    gate = Gate(learns=not spec.allow_private_hosts)
    with closing(Loop(settings, limits_for(settings.concurrency), gate)) as loop:
        loop.run(iter((request,)), lambda: None, StopFlag())
    note_zones(url, gate)
    answer = answers[0]
    if answer.problem:
        raise FetchError(_refusal(answer), status=answer.status)
    body = answer.body or b""
    kind = kind_of_bytes(body)
    if kind is not None:
        return Look(answer, _checked(kind, answer, None), gate.zones)
    value = _parsed(body)
    return Look(answer, _checked(kind_of_json(value), answer, value), gate.zones, value)


def _checked(kind: str, answer: Answer, value: Any) -> str:
    """The kind of a source, unless it is none."""
    url = redact_url(answer.url)
    if kind == "page":
        raise CatalogError(f"{url} is a web page, not STAC: {_NAME_IT}.")
    if not kind:
        what = "JSON, but no STAC"
        if value is None:
            what = "no STAC, neither JSON nor an archive nor Parquet" if answer.body else "empty"
        raise CatalogError(f"{url} is {what}: {_NAME_IT}.")
    return kind


def _refusal(answer: Answer) -> str:
    url = redact_url(answer.url)
    if answer.status in (401, 403, 407):
        host = urlsplit(answer.url).hostname
        return (
            f"{url} wants a login, or refuses it (HTTP {answer.status} "
            f"{HTTPStatus(answer.status).phrase}): a line `machine {host} login NAME password …` "
            "in the netrc file of this machine gives one."
        )
    if answer.status in (404, 410):
        return f"There is nothing at {url} (HTTP {answer.status}): check the address, {_NAME_IT}."
    if answer.is_too_long:
        return (
            f"{url} cannot be read: {answer.problem} of JSON, too many for a STAC object. If it is "
            "a file of items, --source-type items reads them one by one."
        )
    return f"{url} cannot be had: {answer.problem}. Try again later, or check the address."


def kind_of_bytes(begin: bytes) -> str | None:
    """What the first bytes of a file are: a kind, ``page``; None for what may be JSON."""
    for magic, kind in _MAGIC:
        if begin.startswith(magic):
            return kind
    place, magic = _TAR
    if begin[place] == magic:
        return "archive"
    begin = begin.removeprefix(b"\xef\xbb\xbf")
    if _ITEMS.match(begin[:_BEGINNING]) or _is_a_line(begin):
        return "items"
    return "page" if _PAGE.match(begin[:_BEGINNING]) else None


def _is_a_line(begin: bytes) -> bool:
    """Whether the first of several lines is an item."""
    line, _, rest = begin.partition(b"\n")
    if not rest.strip() or not line.rstrip().endswith(b"}"):
        return False
    try:
        return kind_of_json([orjson.loads(line.lstrip(b"\x1e"))]) == "items"
    except ValueError:
        return False


def _parsed(body: bytes) -> Any:
    """The JSON in a body; the first of several lines of it in a list; None where it is none."""
    try:
        return parse_json(body, max_depth=_MAX_DEPTH)
    except (ValueError, RecursionError):
        pass
    try:
        return [orjson.loads(body.lstrip().partition(b"\n")[0].lstrip(b"\x1e"))]
    except ValueError:
        return None


def kind_of_json(value: Any) -> str:
    """The kind of source that JSON is; empty for none."""
    if isinstance(value, list):
        is_item = bool(value) and isinstance(value[0], dict) and value[0].get("type") == "Feature"
        return "items" if is_item else ""
    if not isinstance(value, dict):
        return ""
    if value.get("type") in ("FeatureCollection", "ItemCollection"):
        return "items"
    links = value.get("links")
    found = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    if _is_api(value, found):
        return "api"
    is_stac = "stac_version" in value or value.get("type") in ("Catalog", "Collection")
    return "static" if is_stac and "id" in value else ""


def _is_api(value: JsonObject, links: list[JsonObject]) -> bool:
    """Whether an object is the root of a STAC API, its collections, or one of them."""
    if value.get("type") == "Feature":
        return False
    if isinstance(value.get("conformsTo"), list) or isinstance(value.get("collections"), list):
        return True
    relations = {link.get("rel") for link in links}
    if relations & _API_RELATIONS:
        return True
    ends = {"data": "/collections", "items": "/items"}
    return any(
        _path(link).endswith(ends[str(link.get("rel"))])
        for link in links
        if link.get("rel") in ends
    )


def _path(link: JsonObject) -> str:
    try:
        return urlsplit(str(link.get("href"))).path.rstrip("/")
    except ValueError:
        return ""


def id_of(root: JsonObject, url: str) -> str:
    """What a dataset is called whose root this is: its id, else what its URL ends with."""
    found = root.get("id")
    if isinstance(found, str | int) and str(found).strip():
        return str(found)
    parts = [part for part in urlsplit(document_url(url)).path.split("/") if part]
    named = [part for part in parts if part not in ("catalog.json", "collection.json")]
    return named[-1].removesuffix(".json") if named else "catalog"


@dataclass(frozen=True, slots=True)
class WebSource:
    """A source by a URL that does not say what it is: asked once, it becomes another kind.

    Attributes:
        spec: The source as it was named.
    """

    spec: SourceSpec

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> WebSource:
        """The source that is meant; no key of a hub's is sent to it.

        Raises:
            InvalidArgument: if it is no URL.
        """
        document_url(spec.text)
        return cls(spec)

    @property
    def dataset_id(self) -> str | None:
        """The id that the user gave it."""
        return self.spec.dataset_id

    def describe(self) -> DatasetInfo:
        """Say what the dataset is."""
        return self._found().describe()

    def here(self, stop: StopFlag | None = None) -> None:
        """None: it has to be acquired."""

    def identity(self, paths: DownloadPaths) -> str | None:
        """What the source that it was found to be says."""
        state = read_state(paths.state_dir / SOURCE_NAME) or {}
        kind = state.get("type") if state.get("text") == self.spec.text else None
        return self._found(kind).identity(paths)

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> Catalog:
        """Have the catalog here, by the source that it is found to be."""
        return self._found().acquire(paths, if_exists, work)

    def _found(self, kind: str | None = None) -> Source:
        from mlhub_core.sources import KINDS

        kind = kind or look(self.spec).kind
        if kind not in KINDS:
            raise CatalogError(f"{self.spec} is of the kind {kind}, which is not read here.")
        return KINDS[kind].open(self.spec, None, None)
