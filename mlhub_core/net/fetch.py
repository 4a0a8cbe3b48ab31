"""One file over requests: resumed, verified, and in place only when it is whole.

Used for the archives that the API hands out. Assets, which are many, go through the engine in
``transfer``; both follow the rules in :mod:`mlhub_core.net.response`.

What is known of a file that was fetched (validator, digest) lies beside the partial files as JSON,
so that the next run asks one conditional question instead of fetching again.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import shutil
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from pathlib import Path

import requests

from mlhub_core.exceptions import ArchiveLimitExceeded, FetchError, StorageError
from mlhub_core.fetched import FetchedFile, Note, read_note, state_name, write_note
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.moving import move_file
from mlhub_core.net import response as http_rules
from mlhub_core.net.connection import read_pieces, slowness
from mlhub_core.net.response import RangeVerdict
from mlhub_core.net.session import Session
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.redact import redact
from mlhub_core.room import Room
from mlhub_core.settings import AZURE_STORAGE_VERSION, MIB, ArchiveLimits
from mlhub_core.state import open_state
from mlhub_core.stop import StopFlag

log = logging.getLogger(__name__)

_CHUNK = MIB
_MAX_ATTEMPTS = 5
_ANSWERS = frozenset({412, 416})


class _Basis(Enum):
    """What is already here, and therefore what is asked."""

    NOTHING = "the whole file"
    KNOWN = "whether the file that we fetched has changed"
    FOREIGN = "what follows the bytes that somebody else left"
    PARTIAL = "what follows our partial file"


@dataclass(frozen=True, slots=True)
class _Question:
    basis: _Basis
    headers: dict[str, str]
    offset: int = 0
    etag: str | None = None


class _Incomplete(Exception):
    """A body broke off; what came so far is in the partial file."""


class FileFetcher:
    """Fetches one URL into one file.

    Args:
        session: The hub's session; follows redirects and adds the key where it belongs.
        url: Path relative to the hub's root, or an absolute URL.
        target: The final place.
        state: Directory for the partial file and for what is known of finished ones.
        stop: Looked at between chunks.
        on_progress: Gets bytes, as ``Stage.CATALOG``.
        is_sound: Whether a file is what it should be by its own account; read through, or only
            looked at. Read through before bytes that were here already are believed, and before a
            file that was fetched earlier is replaced.
        limits: What it may take at most, and what of the disk it leaves; only the room that is left
            is looked at unless given.
    """

    def __init__(
        self,
        session: Session,
        url: str,
        target: Path,
        state: Path,
        *,
        stop: StopFlag | None = None,
        on_progress: ProgressSink = ignore,
        is_sound: Callable[[Path, bool], bool] = lambda path, through: True,
        limits: ArchiveLimits | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._target = target
        name = state_name(target)
        self._partial = state / f"{name}.part"
        self._partial_note = state / f"{name}.part.json"
        self._note = state / f"{name}.json"
        self._stop = stop or StopFlag()
        self._on_progress = on_progress
        self._is_sound = is_sound
        self._max_bytes = limits.max_bytes if limits else sys.maxsize
        self._room = Room(state, (limits or ArchiveLimits()).keep_free)
        self._moved = 0
        self._use_target = True

    def run(self, if_exists: DownloadIfExistsOpts) -> FetchedFile:
        """Have the file whole at its place.

        Raises:
            FetchError: if it cannot be had whole.
            StorageError: if the disk refuses.
            Interrupted: if asked to stop; the partial file is kept.
            MLHubException: all that the session raises.
        """
        try:
            if if_exists is DownloadIfExistsOpts.skip and self._target.is_file():
                return self._as_it_is()
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._target.parent.mkdir(parents=True, exist_ok=True)
            if if_exists is DownloadIfExistsOpts.overwrite:
                self._use_target = False
                self._drop_partial()
            return self._fetch()
        except OSError as error:
            if isinstance(error, StorageError | requests.RequestException):
                raise
            raise StorageError(
                f"{self._target} cannot be written: {error.strerror or error}."
            ) from error

    def _fetch(self) -> FetchedFile:
        failure: _Incomplete | None = None
        slow = 0
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            self._stop.check()
            question = self._question()
            with self._ask(question) as response:
                asked = question.basis is _Basis.KNOWN
                if response.status_code == 304 and asked and (file := self._unchanged()):
                    return file
                verdict = self._judge(question, response)
                complete = verdict is RangeVerdict.COMPLETE and question.basis is _Basis.FOREIGN
                if complete and self._is_sound(self._target, True):
                    return self._remember(http_rules.strong_etag(response.headers.get("ETag")))
                try:
                    if verdict is RangeVerdict.APPEND:
                        return self._receive(response, question.offset, question.basis)
                    if response.status_code == 200:
                        return self._receive(response, 0, question.basis)
                except _Incomplete as error:
                    log.debug("try %d of %s broke off: %s", attempt, redact(self._url), error)
                    failure = error
                    slow += slowness(error) is not None
                    if slow > 1:
                        break
                else:
                    failure = _Incomplete(f"it answered {response.status_code}")
                    self._use_target = False
                    self._drop_partial()
        raise FetchError(
            f"{redact(self._session.url_of(self._url))} could not be fetched whole in "
            f"{attempt} tries: {failure}. "
            "Run the same command again to go on.",
            retryable=True,
        ) from failure

    def _question(self) -> _Question:
        """Decide what to ask, from what lies here."""
        partial = read_note(self._partial_note)
        if self._partial.exists() and partial.etag:
            offset = self._partial.stat().st_size
            if offset:
                headers = {"Range": f"bytes={offset}-", "If-Range": partial.etag}
                return _Question(_Basis.PARTIAL, headers, offset, partial.etag)
        if not self._use_target or not self._target.is_file():
            return _Question(_Basis.NOTHING, {})
        size = self._target.stat().st_size
        known = read_note(self._note)
        if known.etag and known.sha256 and known.size == size:
            return _Question(_Basis.KNOWN, {"If-None-Match": known.etag})
        if not size:
            return _Question(_Basis.NOTHING, {})
        # Nothing tells which state of the remote file a foreign one is from, but its time does
        # tell when it was written: a remote file that is younger is another one.
        modified = formatdate(self._target.stat().st_mtime, usegmt=True)
        headers = {"Range": f"bytes={size}-", "If-Unmodified-Since": modified}
        return _Question(_Basis.FOREIGN, headers, size)

    def _ask(self, question: _Question) -> requests.Response:
        # Ranges of a body that is compressed on the way would be ranges of other bytes; and Azure
        # Blob Storage honours Range only with a version.
        return self._session.request(
            "GET",
            self._url,
            stream=True,
            accept=_ANSWERS,
            headers={
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "x-ms-version": AZURE_STORAGE_VERSION,
                **question.headers,
            },
        )

    def _judge(self, question: _Question, response: requests.Response) -> RangeVerdict:
        verdict = http_rules.judge_range(
            response.status_code,
            response.headers.get("Content-Range"),
            question.offset,
            etag=response.headers.get("ETag"),
            expected_etag=question.etag,
        )
        if question.basis is _Basis.FOREIGN and not self._older_than_target(response):
            return RangeVerdict.ASK_AGAIN
        coded = http_rules.parse_codings(response.headers.get("Content-Encoding"))
        if response.status_code == 206 and coded:
            return RangeVerdict.ASK_AGAIN  # parts of what is coded are never put together
        return verdict if question.offset else RangeVerdict.START_OVER

    def _older_than_target(self, response: requests.Response) -> bool:
        """Whether the remote file is not younger than ours, as far as the server says.

        Servers that ignore If-Unmodified-Since are common, so their answer is checked too.
        """
        stamp = http_rules.parse_http_date(response.headers.get("Last-Modified"))
        return stamp is None or stamp <= self._target.stat().st_mtime

    def _receive(self, response: requests.Response, offset: int, basis: _Basis) -> FetchedFile:
        if basis is _Basis.FOREIGN and offset:
            # The original stays until we are done.
            self._room.take(offset)
            with self._target.open("rb") as source, open_state(self._partial, "wb") as copy:
                shutil.copyfileobj(source, copy)
        total = _total(response)
        coding = ", ".join(http_rules.parse_codings(response.headers.get("Content-Encoding")))
        if coding not in ("", "gzip", "deflate"):
            raise _Incomplete(f"it came in a coding that is not decoded here: {coding}")
        encoded = bool(coding)
        etag = None if encoded else http_rules.strong_etag(response.headers.get("ETag"))
        write_note(self._partial_note, Note(etag=etag))
        position = self._write_body(response, offset, None if encoded else total)
        if total is not None and not encoded and position != total:
            raise _Incomplete(f"{position} of {total} bytes came")
        self._check_md5(response)
        self._look_at_it(response, offset)
        move_file(self._partial, self._target)
        self._drop_partial()
        return self._remember(http_rules.strong_etag(response.headers.get("ETag")))

    def _look_at_it(self, response: requests.Response, offset: int) -> None:
        """Look at what came before it replaces what may be the last good state."""
        if self._is_sound(self._partial, bool(offset) or self._target.is_file()):
            return
        self._use_target = False
        size = self._partial.stat().st_size
        self._drop_partial()
        if offset:
            raise _Incomplete("the bytes that were here are not of this file")
        kind = response.headers.get("Content-Type", "without a type")[:80]
        kept = f" {self._target} stays as it was." if self._target.is_file() else ""
        url = redact(self._session.url_of(self._url))
        raise FetchError(
            f"{url} answered with {size:,} bytes ({kind!r}) that are no whole archive.{kept} Try "
            "again later; if it stays so, ask those who run the hub.",
            retryable=True,
        )

    def _write_body(self, response: requests.Response, offset: int, total: int | None) -> int:
        """Write what comes; what could not be continued gives its room back if it does not fit."""
        try:
            if total is not None:
                self._room.take(total - offset)
            return self._write_pieces(response, offset, total)
        except (ArchiveLimitExceeded, OSError) as error:
            if total is None and not isinstance(error, requests.RequestException):
                self._drop_partial()
            raise

    def _write_pieces(self, response: requests.Response, offset: int, total: int | None) -> int:
        position = offset
        with open_state(self._partial, "r+b" if offset else "wb") as file:
            file.seek(offset)
            file.truncate()
            try:
                for chunk in read_pieces(response, _CHUNK):
                    position += len(chunk)
                    if position > self._max_bytes:
                        raise ArchiveLimitExceeded(
                            f"{redact(response.url)} sends more than {self._max_bytes:,} bytes: if "
                            "you trust it, raise ArchiveLimits.max_bytes (--max-bytes)."
                        )
                    if total is None:
                        self._room.take(len(chunk))
                    file.write(chunk)
                    self._moved += len(chunk)
                    self._on_progress(
                        Progress(Stage.CATALOG, total=1, bytes_done=position, bytes_total=total)
                    )
                    self._stop.check()
            except requests.RequestException as error:
                raise _Incomplete(redact(slowness(error) or error)) from error
        return position

    def _check_md5(self, response: requests.Response) -> None:
        """Compare with the digest of the whole file, where the server gives one.

        Of a 206, Content-MD5 covers the part only; Azure names the whole's separately.
        """
        headers = response.headers
        whole = headers.get("Content-MD5") if response.status_code == 200 else None
        expected = http_rules.parse_md5(headers.get("x-ms-blob-content-md5") or whole)
        if expected and _digest(self._partial, "md5") != expected:
            self._use_target = False
            self._drop_partial()
            raise _Incomplete("the bytes do not match the server's Content-MD5")

    def _unchanged(self) -> FetchedFile | None:
        """The file at its place, unless it is no longer the one that we fetched.

        A disk that lost power, or failed, can leave other bytes in a file of the right size.
        """
        file = self._as_it_is()
        if file.etag is not None:
            return file
        log.warning("%s is not as it was fetched: it is fetched again", self._target)
        self._use_target = False
        return None

    def _as_it_is(self) -> FetchedFile:
        """The file at its place, which nobody needs to fetch."""
        size = self._target.stat().st_size
        known = read_note(self._note)
        digest = _digest(self._target, "sha256")
        self._report_finished(size)
        etag = known.etag if known.sha256 == digest else None
        return FetchedFile(self._target, size, digest, etag, self._moved)

    def _remember(self, etag: str | None) -> FetchedFile:
        size = self._target.stat().st_size
        digest = _digest(self._target, "sha256")
        write_note(self._note, Note(size, digest, etag))
        self._report_finished(size)
        return FetchedFile(self._target, size, digest, etag, self._moved)

    def _report_finished(self, size: int) -> None:
        self._on_progress(Progress(Stage.CATALOG, 1, 1, size, size, finished=True))

    def _drop_partial(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._partial_note.unlink(missing_ok=True)


def _total(response: requests.Response) -> int | None:
    """The length of the whole file, as the answer gives it."""
    if response.status_code == 206:
        part = http_rules.parse_content_range(response.headers.get("Content-Range"))
        return part.total if part else None
    return http_rules.parse_length(response.headers.get("Content-Length"))


def is_gzip(path: Path, through: bool) -> bool:
    """Whether a file is gzip.

    Args:
        path: The file.
        through: Whether to read it through, and compare with the checksum at its end.
    """
    try:
        with gzip.open(path) as file:
            while file.read(_CHUNK) and through:
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return True


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
