"""One file from a hub, such as an archive: continued, verified, in place only when it is whole.

Assets, which are many, go through the loop in ``transfer``; both go by the resume machine in
:mod:`~mlhub_core.net.resume` and write their bytes by :mod:`~mlhub_core.net.body`.

What is known of a file that was fetched (validator, digest) lies beside the partial file as JSON,
so that the next run asks one conditional question instead of fetching again.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import logging
import os
import shutil
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from mlhub_core.exceptions import ArchiveLimitExceeded, StorageError
from mlhub_core.http_errors import FetchError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.body import Body, digest_file
from mlhub_core.net.connection import read_pieces, slowness
from mlhub_core.net.response import ResponseHead, digests_of, parse_codings, strong_etag
from mlhub_core.net.resume import Ask, Asked, Take, Verdict, verdict_on
from mlhub_core.net.session import Session
from mlhub_core.progress import Progress, ProgressSink, Stage, ignore
from mlhub_core.redact import redact
from mlhub_core.room import Room
from mlhub_core.settings import AZURE_STORAGE_VERSION, MIB, ArchiveLimits
from mlhub_core.state import open_state, read_state, write_state
from mlhub_core.threads import StopFlag

log = logging.getLogger(__name__)

_CHUNK = MIB
_MAX_ATTEMPTS = 5
_ANSWERS = frozenset({412, 416})
_DECODED = ("", "gzip", "deflate")
"""Content codings that requests takes back, with bombs bounded."""


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that is whole.

    Attributes:
        path: Where it lies.
        size: Bytes.
        sha256: Hexadecimal digest.
        etag: As the server gave it, None when unknown.
        moved: Bytes that came over the network for it in this call.
    """

    path: Path
    size: int
    sha256: str
    etag: str | None = None
    moved: int = 0


class _Incomplete(Exception):
    """No whole file came of an answer; what is of use is in the partial file."""


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
        self._note = _note_path(target, state)
        self._partial = self._note.with_suffix(".part")
        self._partial_note = self._note.with_suffix(".part.json")
        self._check = (stop or StopFlag()).check
        self._on_progress = on_progress
        self._is_sound = is_sound
        self._max_bytes = limits.max_bytes if limits else sys.maxsize
        self._room = Room(state, (limits or ArchiveLimits()).keep_free)
        self._moved = 0
        self._use_target = True
        """Whether the file that lies at the final place may be of use."""

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
                self._use_nothing()
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
            self._check()
            try:
                return self._try()
            except _Incomplete as error:
                log.debug("try %d of %s: %s", attempt, redact(self._url), error)
                failure = error
                slow += slowness(error) is not None
                if slow > 1:
                    break
        raise FetchError(
            f"{redact(self._session.url_of(self._url))} could not be fetched whole in "
            f"{attempt} tries: {failure}. "
            "Run the same command again to go on.",
            retryable=True,
        ) from failure

    def _try(self) -> FetchedFile:
        ask, validator = self._next_ask()
        with _request(self._session, self._url, ask.fields(validator)) as response:
            fields = {name.lower(): value for name, value in response.headers.items()}
            head = ResponseHead(response.status_code, fields)
            verdict = verdict_on(head, ask)
            coding = ", ".join(parse_codings(head.get("content-encoding")))
            if coding not in _DECODED:
                self._use_nothing()
                raise _Incomplete(f"it came in a coding that is not decoded here: {coding}")
            if verdict.take in (Take.WHOLE, Take.APPEND):
                return self._receive(response, head, ask, verdict)
        if verdict.take is Take.COMPLETE:
            if ask.kind is Asked.CHANGED:
                file = self._as_it_is()
                if file.etag is not None:
                    return file
                # A disk that lost power, or failed, can leave other bytes of the same length.
                log.warning("%s is not as it was fetched: it is fetched again", self._target)
            elif self._is_sound(self._target, True):
                return self._finish(_digest(self._target, self._check), head)
        self._use_nothing()
        raise _Incomplete(f"it answered {head.status}")

    def _next_ask(self) -> tuple[Ask, str | None]:
        """What to ask for, by what lies here, and the validator that goes with it."""
        _, _, etag = _read_note(self._partial_note)
        size = _size(self._partial)
        if size and etag:
            return Ask(Asked.CONTINUE, offset=size, etag=etag), etag
        size = _size(self._target) if self._use_target else 0
        if not size:
            return Ask(Asked.WHOLE), None
        known_size, sha256, etag = _read_note(self._note)
        if etag and sha256 and known_size == size:
            return Ask(Asked.CHANGED), etag
        # Nothing tells which state of the remote file somebody else's is from, but its time does
        # tell when it was written: a remote file that is younger is another one.
        return Ask(Asked.PROBE, offset=size, mtime=self._target.stat().st_mtime), None

    def _receive(
        self, response: requests.Response, head: ResponseHead, ask: Ask, verdict: Verdict
    ) -> FetchedFile:
        plain = verdict.coding is None
        total, digests = (verdict.total, digests_of(head)) if plain else (None, [])
        body = Body(str(self._partial), [name for name, _ in digests])
        offset = ask.offset if verdict.take is Take.APPEND else 0
        if offset and ask.kind is Asked.CONTINUE:
            body.load(self._check)
        else:
            self._drop_partial()  # no note may vouch for bytes that it does not know
            if offset:  # the original stays until we are done
                self._room.take(offset)
                body.copy_from(str(self._target), self._check)
        _write_note(self._partial_note, -1, None, strong_etag(head.get("etag")) if plain else None)
        self._write(response, body, total)
        if total is not None and body.size != total:
            raise _Incomplete(f"{body.size} of {total} bytes came")
        if body.mismatch(None, digests, self._check):
            self._use_nothing()
            raise _Incomplete("the bytes do not match the server's Content-MD5")
        self._look_at_it(response, bool(offset))
        move_file(self._partial, self._target)
        self._drop_partial()
        return self._finish(body.digest("sha256"), head)

    def _write(self, response: requests.Response, body: Body, total: int | None) -> None:
        """Write what comes; what could not be continued gives its room back if it does not fit."""
        try:
            if total is not None:
                self._room.take(total - body.size)
            for chunk in read_pieces(response, _CHUNK):
                if body.size + len(chunk) > self._max_bytes:
                    raise ArchiveLimitExceeded(
                        f"{redact(response.url)} sends more than {self._max_bytes:,} bytes: if "
                        "you trust it, raise ArchiveLimits.max_bytes (--max-bytes)."
                    )
                if total is None:
                    self._room.take(len(chunk))
                body.write((chunk,))
                self._moved += len(chunk)
                self._on_progress(Progress(Stage.CATALOG, 0, 1, body.size, total))
                self._check()
            body.close()
        except BaseException as error:
            with suppress(StorageError):  # which is the error, as a rule
                body.close()
            if isinstance(error, requests.RequestException):
                raise _Incomplete(redact(slowness(error) or error)) from error
            if total is None and isinstance(error, ArchiveLimitExceeded | OSError):
                self._drop_partial()
            raise

    def _look_at_it(self, response: requests.Response, continued: bool) -> None:
        """Look at what came before it replaces what may be the last good state."""
        if self._is_sound(self._partial, continued or self._target.is_file()):
            return
        size = self._partial.stat().st_size
        self._use_nothing()
        if continued:
            raise _Incomplete("the bytes that were here are not of this file")
        kind = response.headers.get("Content-Type", "without a type")[:80]
        kept = f" {self._target} stays as it was." if self._target.is_file() else ""
        url = redact(self._session.url_of(self._url))
        raise FetchError(
            f"{url} answered with {size:,} bytes ({kind!r}) that are no whole archive.{kept} Try "
            "again later; if it stays so, ask those who offer it.",
            retryable=True,
        )

    def _as_it_is(self) -> FetchedFile:
        """The file at its place; its ETag is known only if it is the one that we fetched."""
        digest = _digest(self._target, self._check)
        _, sha256, etag = _read_note(self._note)
        return self._report(digest, etag if sha256 == digest else None)

    def _finish(self, digest: str, head: ResponseHead) -> FetchedFile:
        etag = strong_etag(head.get("etag"))
        _write_note(self._note, _size(self._target), digest, etag)
        return self._report(digest, etag)

    def _report(self, digest: str, etag: str | None) -> FetchedFile:
        size = _size(self._target)
        done = Progress(Stage.CATALOG, 1, 1, size, size, finished=True, bytes_moved=self._moved)
        self._on_progress(done)
        return FetchedFile(self._target, size, digest, etag, self._moved)

    def _use_nothing(self) -> None:
        """Ask for the whole file from now on: what is here is of no use."""
        self._use_target = False
        self._drop_partial()

    def _drop_partial(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._partial_note.unlink(missing_ok=True)


def known_file(target: Path, state: Path) -> FetchedFile | None:
    """What is known of a file that was fetched and lies there, without reading it.

    Args:
        target: Its place.
        state: As for :class:`FileFetcher`.

    Returns:
        None where nothing is known, or where a file of another size lies there.
    """
    size, sha256, etag = _read_note(_note_path(target, state))
    if sha256 is None or not size or size != _size(target):
        return None
    return FetchedFile(target, size, sha256, etag)


def is_unchanged(session: Session, url: str, file: FetchedFile) -> bool:
    """Whether the server still has what was fetched from it, asked in one request.

    Raises:
        MLHubException: all that the session raises.
    """
    if file.etag is None:
        return False
    with _request(session, url, Ask(Asked.CHANGED).fields(file.etag)) as response:
        return response.status_code == 304


def _request(session: Session, url: str, fields: dict[str, str]) -> requests.Response:
    # Ranges of a body that is compressed on the way would be ranges of other bytes; and Azure Blob
    # Storage honours Range only with a version.
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "x-ms-version": AZURE_STORAGE_VERSION,
        **fields,
    }
    return session.request("GET", url, stream=True, accept=_ANSWERS, headers=headers)


def _note_path(target: Path, state: Path) -> Path:
    name = hashlib.sha256(target.name.encode()).hexdigest()[:16]
    return state / f"archive-{name}.json"


def _read_note(path: Path) -> tuple[int, str | None, str | None]:
    """Size, SHA-256 and ETag; a note that is missing or damaged costs one request."""
    try:
        fields = read_state(path) or {}
    except StorageError:
        fields = {}
    size, sha256, etag = (fields.get(name) for name in ("size", "sha256", "etag"))
    usable = all(text is None or _is_text(text) for text in (sha256, etag))
    return (size, sha256, etag) if usable and type(size) is int else (-1, None, None)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _write_note(path: Path, size: int, sha256: str | None, etag: str | None) -> None:
    write_state(path, {"size": size, "sha256": sha256, "etag": etag})


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none that can be looked at."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _digest(path: Path, check: Callable[[], None]) -> str:
    return digest_file(str(path), ["sha256"], check)["sha256"]


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


def move_file(source: Path, target: Path) -> None:
    """Give a file its final name; whoever looks sees the old file there, or all of the new one.

    Where both lie on different file systems, as an output directory and one for assets may, it is
    copied under another name beside the target first.

    Args:
        source: The file; gone afterwards.
        target: Where it goes; replaced.

    Raises:
        OSError: if the disk refuses; the source is still there.
    """
    try:
        os.replace(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    beside = target.with_name(f".{target.name}.part")
    try:
        beside.unlink(missing_ok=True)  # of a run that was killed here; or a link, never followed
        with source.open("rb") as old, open_state(beside, "xb") as new:
            shutil.copyfileobj(old, new)
        shutil.copystat(source, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    source.unlink()
