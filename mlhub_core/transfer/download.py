"""One asset on its way: from the first request to the file in its place, or to a failure.

The resume state machine. A file is asked for as a whole (WHOLE), as the rest of a partial file of
ours (CONTINUE) or as the rest of a file that lay there (PROBE). A transfer that breaks off becomes
CONTINUE when enough is here and its validator is strong; whatever does not fit becomes WHOLE.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Protocol

from mlhub_core.exceptions import StorageError
from mlhub_core.net.body import OTHER_BYTES, Body, Mismatch, digest_file, first_bytes
from mlhub_core.net.checksums import Checksum, parse_checksum
from mlhub_core.net.clients import CLIENTS
from mlhub_core.net.coding import decoded_body
from mlhub_core.net.curl import Hold
from mlhub_core.net.response import ResponseHead, digests_of, is_chunked, strong_validator
from mlhub_core.net.resume import ANOTHER_REST, Ask, Asked, Expected, Take, Verdict, verdict_on
from mlhub_core.net.retry import NOT_HTTP, Again, Fault, Tries
from mlhub_core.selection.partition import Asset
from mlhub_core.settings import TransferSettings
from mlhub_core.stores import Store
from mlhub_core.transfer.contents import LOOKED_AT, Answer, cause_against, suffix_of
from mlhub_core.transfer.failures import Failure
from mlhub_core.transfer.ledger import Entry, State
from mlhub_core.transfer.partials import Note, Partials
from mlhub_core.transfer.sources import Remote, fingerprint_of, is_made_by

logger = logging.getLogger(__name__)

_NEVER = sys.maxsize
_OVERLAP = 4096
"""Bytes of a partial file that are asked for once more, to be compared: a host may say that it
sends the rest, and send the beginning."""


class How(Enum):
    """How a file came to be there."""

    FETCHED = "fetched"
    RESUMED = "continued and fetched"
    ADOPTED = "it lay there"


class Run(Protocol):
    """What the downloads of one partition share, and where they report."""

    settings: TransferSettings
    places: Store
    partials: Partials
    check: Callable[[], None]

    def asked(self, *, again: bool) -> None:
        """A request is sent; not the first of its asset where it is another try."""

    def moved(self, count: int) -> None:
        """Bytes of a body have come."""

    def kept(self, asset: Asset, entry: Entry) -> None:
        """A file is here and as it has to be: nobody was asked."""

    def record(self, entry: Entry) -> None:
        """Write down in the ledger what is known of a file."""

    def finished(self, asset: Asset, entry: Entry, how: How) -> None:
        """An asset lies at its place."""

    def failed(self, asset: Asset, failure: Failure) -> None:
        """An asset cannot be had."""


class AssetDownload:
    """One asset to fetch.

    Args:
        asset: The asset.
        remote: Its URL.
        kind: What to ask for first.
        run: Shared by the partition.
        local: Size and modification time of the file at the final place, for a probe.
        others: Where to ask when it cannot be had from there.
    """

    def __init__(
        self,
        asset: Asset,
        remote: Remote,
        kind: Asked,
        run: Run,
        local: tuple[int, float] | None = None,
        others: Sequence[Remote] = (),
    ) -> None:
        self._others = list(others)
        self._failure: Failure | None = None
        """Why it could not be had from where it was asked for first."""
        self._asset = asset
        self._run = run
        self._ask_of(remote)
        self._kind = kind
        self._local = local
        self._expected = Expected(
            suffix_of(asset.save_path), asset.file_size, parse_checksum(asset.checksum)
        )
        self._asked = False
        self._best = 0
        self._resumed = False
        self._body: Body | None = None
        self._coding: str | None = None
        self._head: ResponseHead | None = None
        """Of the answer that the bytes here came with."""
        self._validator: str | None = None
        self._noted = False
        self._note_at = _NEVER
        """Bytes at which the partial file gets its note."""
        self._total: int | None = None
        self._tail = b""
        """Of what is here, what is to come once more before the rest."""
        self._digests: tuple[Checksum, ...] = ()
        self._ask: Ask | None = None
        self._status: int | None = None
        self._verdict: Verdict | None = None

    def _ask_of(self, remote: Remote) -> None:
        self.url = self._unsigned = remote.url
        self.host = remote.host
        self._client = CLIENTS[remote.url.partition(":")[0].lower()]
        self._signed_anew = False
        self._tries = Tries(self._run.settings)

    def _fail(self, failure: Failure) -> bool:
        """Go on with where else it is; or fail, which is the other answer: False."""
        self._failure = self._failure or failure
        if self._others:
            self._start_over()
            self._ask_of(self._others.pop(0))
            logger.debug("%s: %s; asked of %s", self._asset.save_path, failure.cause, self.host)
            return True
        self._run.failed(self._asset, self._failure)
        return False

    # What the loop calls

    def fields(self) -> list[str]:
        """Header lines of the next request."""
        self._run.asked(again=self._asked)
        self._asked = True
        self._tries.begin()
        self._verdict = None
        self._status = None
        self._tail = b""
        self.url, lines = self._client.request(self._unsigned, self.host)
        if self._kind is Asked.CONTINUE and self._body is None:
            self._load_partial()
        self._ask = ask = self._next_ask()
        own = [f"{name}: {value}" for name, value in ask.fields(self._validator).items()]
        return [*lines, *own] if own else lines

    def begin(self, head: ResponseHead) -> bool:
        """Judge a response by its head; False when its body is not wanted."""
        assert self._ask is not None
        self._verdict = verdict = verdict_on(head, self._ask)
        self._status = head.status
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s: %s", head.status, self._asset.save_path, verdict.take.value)
        if verdict.take is Take.WHOLE:
            self._begin_whole(head, verdict)
        elif verdict.take is Take.APPEND:
            self._begin_rest(head, verdict)
        return self._verdict.take in (Take.WHOLE, Take.APPEND)

    def write(self, pieces: Sequence[bytes]) -> bool:
        """Take more of the body; False when it is longer than it may be."""
        body = self._body
        assert body is not None
        if self._tail:
            pieces = self._past_tail(b"".join(pieces))
        before = body.size
        body.write(pieces)
        self._run.moved(body.size - before)
        if body.size >= self._note_at:
            self._write_note(body)
        return self._verdict is not ANOTHER_REST and not self._too_long()

    def settle(self, fault: Fault | None) -> float | Hold | None:
        """Conclude a request; seconds until the next one, a hold, or None when there is none."""
        verdict = self._verdict
        if verdict is None:
            return self._broken(fault or Fault(NOT_HTTP))
        if fault is not None and (fault.again is Again.NEVER or self._too_short(verdict)):
            return self._broken(fault)
        if verdict.take is Take.REFUSE:
            return self._refused(verdict)
        if verdict.take is Take.COMPLETE:
            return self._adopt()
        if self._tail:  # not even the bytes came that are here
            return self._refused(ANOTHER_REST)
        return self._check()

    def give_up(self, fault: Fault) -> bool:
        """Fail without another request of this host; whether another one is to be asked.

        What can be continued is there for the next run.
        """
        if not self._others:
            self.abandon()
        return self._fail(Failure(fault.cause, fault.detail, host=self.host))

    def abandon(self) -> None:
        """The run is stopping: keep what can be continued, and nothing else."""
        try:
            if self._can_continue():
                assert self._body is not None
                self._body.close()
            elif self._body is not None:
                self._throw_away()
        except StorageError as error:
            # The run is ending with an error already, quite likely this one.
            logger.debug("abandoning %s: %s", self._asset.save_path, error)

    # Asking

    def _load_partial(self) -> None:
        """Take up a partial file of an earlier run; without one that fits, ask for the whole."""
        found = self._run.partials.read_note(self._asset.save_path)
        if found is None or not is_made_by(found[0].source, self._asset):
            self._start_over()
            return
        note, _ = found
        self._digests = self._with_catalog(note.digests)
        algorithms = [name for name, _ in self._digests]
        body = Body(self._run.partials.path(self._asset.save_path), algorithms)
        body.load(self._run.check, note.marks)
        if note.marks is not None:
            body.mark_in(self._run.partials.note_path(self._asset.save_path))
        self._body = body
        self._coding = None
        self._validator = note.validator
        self._noted = True
        self._note_at = _NEVER
        self._total = note.total
        fields = {"etag": note.etag, "last-modified": note.modified}
        self._head = ResponseHead(200, {name: text for name, text in fields.items() if text})
        sizes = {note.total, self._asset.file_size} - {None}
        if not body.size or len(sizes) > 1 or self._too_long():
            self._start_over()

    def _next_ask(self) -> Ask:
        if self._kind is Asked.CONTINUE:
            assert self._body is not None
            size = self._body.size
            offset = size - min(_OVERLAP, size // 2)
            return Ask(Asked.CONTINUE, self._expected, offset, self._total, *self._validators())
        if self._kind is Asked.PROBE:
            assert self._local is not None
            size, mtime = self._local
            return Ask(Asked.PROBE, self._expected, size, mtime=mtime)
        if self._coding is not None:  # lengths of coded bytes say nothing of others
            return Ask(Asked.WHOLE, self._expected)
        return Ask(Asked.WHOLE, self._expected, 0, self._total, *self._validators())

    def _validators(self) -> tuple[str | None, str | None]:
        """ETag and date that the bytes here came with."""
        head = self._head
        return (None, None) if head is None else (head.get("etag"), head.get("last-modified"))

    # Taking

    def _begin_whole(self, head: ResponseHead, verdict: Verdict) -> None:
        self._throw_away()
        self._resumed = False
        self._new_body(head, verdict)

    def _begin_rest(self, head: ResponseHead, verdict: Verdict) -> None:
        self._resumed = True
        if self._kind is Asked.CONTINUE:
            assert self._body is not None
            assert self._ask is not None
            self._total = verdict.total
            self._tail = self._body.tail(self._body.size - self._ask.offset)
            return
        # The file that lies there stays untouched until the new one is whole.
        self._throw_away()
        assert self._local is not None
        body = self._new_body(head, verdict)
        body.copy_from(self._run.places.path(self._asset.save_path), self._run.check)
        if body.size != self._local[0]:
            self._throw_away()
            cause = "the file here changed meanwhile"
            self._verdict = Verdict(Take.REFUSE, cause=cause, again=Again.NOW_WHOLE)

    def _past_tail(self, data: bytes) -> list[bytes]:
        """What follows the bytes that are here already, if it is those that come."""
        count = min(len(data), len(self._tail))
        if data[:count] != self._tail[:count]:
            self._verdict = ANOTHER_REST
            return []
        self._tail = self._tail[count:]
        return [data[count:]]

    def _new_body(self, head: ResponseHead, verdict: Verdict) -> Body:
        self._head = head
        self._total = verdict.total
        self._validator = None
        self._coding = verdict.coding
        self._digests = digests = self._with_catalog(digests_of(head))
        self._note_at = self._run.settings.resume_threshold
        if verdict.coding is not None:
            self._digests = tuple(digests_of(head))  # the catalog's may be of the plain bytes
            self._note_at = _NEVER
        algorithms = [name for name, _ in digests]
        self._body = body = Body(self._run.partials.path(self._asset.save_path), algorithms)
        return body

    def _with_catalog(self, digests: Iterable[Checksum]) -> tuple[Checksum, ...]:
        """Digests of an answer, and that of the catalog."""
        catalog = self._expected.checksum
        return tuple(dict.fromkeys([*digests, *([catalog] if catalog else [])]))

    def _write_note(self, body: Body) -> None:
        """Make what is here worth something to the next run, whatever happens to this one."""
        self._note_at = _NEVER
        head = self._head
        assert head is not None
        self._validator = strong_validator(
            head.get("etag"), head.get("last-modified"), head.get("date")
        )
        if self._validator is None:
            return
        body.spill()
        note = Note(
            source=fingerprint_of(self._asset),
            validator=self._validator,
            etag=head.get("etag"),
            modified=head.get("last-modified"),
            total=self._total,
            digests=self._digests,
        )
        body.mark_in(self._run.partials.write_note(self._asset.save_path, note))
        self._noted = True

    # Concluding

    def _too_short(self, verdict: Verdict) -> bool:
        return verdict.take in (Take.WHOLE, Take.APPEND) and not self._too_long()

    def _too_long(self) -> bool:
        """We broke it off ourselves: the check will say why."""
        return self._total is not None and self._body is not None and self._body.size > self._total

    def _broken(self, fault: Fault) -> float | None:
        if self._can_continue():
            assert self._body is not None
            self._body.close()
            self._kind = Asked.CONTINUE
            if self._body.size >= self._best + self._run.settings.resume_threshold:
                self._tries.renew()
                self._best = self._body.size
        elif self._body is not None:
            self._start_over()
        return self._try_again(fault.again, Failure(fault.cause, fault.detail, host=self.host))

    def _refused(self, verdict: Verdict) -> float | Hold | None:
        if verdict.again is Again.NOW_WHOLE:
            self._start_over()
            self._tries.forgive()
            return 0.0
        if self._status == 403 and self._client.signs and not self._signed_anew:
            self._signed_anew = True
            return 0.0
        failure = Failure(verdict.cause, verdict.detail, self._status, self.host)
        if verdict.again is Again.WHEN_LET:
            if self._tries.may_be_held():
                return Hold(verdict.cause, verdict.wait)
            return self._try_again(Again.NEVER, failure)
        return self._try_again(verdict.again, failure, verdict.wait)

    def _try_again(self, again: Again, failure: Failure, wait: float | None = None) -> float | None:
        delay = self._tries.again(again, wait)
        if delay is None:
            self._throw_away()
            return 0.0 if self._fail(failure) else None
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s; again in %.1f s", self._asset.save_path, failure.cause, delay)
        return delay

    def _adopt(self) -> float | None:
        """The server says that the file here is complete."""
        run, asset = self._run, self._asset
        assert self._ask is not None
        begin = first_bytes(run.places.path(asset.save_path), LOOKED_AT)
        cause = cause_against(Answer(begin, self._ask.offset), asset)
        if cause:
            self._start_over()
            return self._try_again(Again.ONCE, Failure(cause, host=self.host))
        digests = digest_file(run.places.path(asset.save_path), ["sha256"], run.check)
        self._throw_away()
        size, sha256 = self._ask.offset, digests["sha256"]
        entry = entry_of(asset, size, sha256, State.ADOPTED, self._head)
        run.finished(asset, entry, How.ADOPTED)
        return None

    def _check(self) -> float | None:
        """Compare length and digests, then put the file into its place."""
        body = self._body
        assert body is not None
        decoded = False
        mismatch = body.mismatch(self._total, self._digests, self._run.check)
        if mismatch is None and self._coding is not None:
            found = decoded_body(body, self._coding, self._expected, self._run.check)
            if isinstance(found, Mismatch):
                mismatch = found
            else:
                decoded = found is not body  # which its own checksum vouches for
                self._body = body = found
        page = self._page_in_place(body, mismatch)
        if page is not None or mismatch is not None:
            self._start_over()
            self._total = None  # what came with other bytes is no word about the file
        if page is not None:
            return self._try_again(Again.ONCE, page)
        if mismatch is not None:
            return self._try_again(Again.LATER, Failure(*mismatch, host=self.host))
        sha256 = body.digest("sha256")
        body.close()
        self._run.places.put(body.path, self._asset.save_path)
        self._run.partials.forget(self._asset.save_path)
        self._noted = False
        self._body = None
        state = State.VERIFIED if decoded or self._is_proven() else State.UNCHECKED
        how = How.RESUMED if self._resumed else How.FETCHED
        entry = entry_of(self._asset, body.size, sha256, state, self._head)
        self._run.finished(self._asset, entry, how)
        return None

    def _page_in_place(self, body: Body, mismatch: Mismatch | None) -> Failure | None:
        """What a body is instead of the file: a page, an error, a listing, nothing at all.

        What a checksum of the catalog vouches for may look like anything.
        """
        if mismatch is None and self._expected.checksum is not None:
            return None
        if mismatch is not None and mismatch.cause != OTHER_BYTES:
            return None
        fields = {} if self._head is None else self._head.fields
        begin = body.begin(LOOKED_AT)
        answer = Answer(begin, body.size, fields.get("content-type"), fields.get("etag"))
        cause = cause_against(answer, self._asset)
        return Failure(cause, host=self.host) if cause else None

    def _is_proven(self) -> bool:
        """Whether anything vouches for the file; for two parts put together no length does."""
        if self._digests or self._resumed:
            return bool(self._digests)
        return self._total is not None or (self._head is not None and is_chunked(self._head))

    # Letting go

    def _can_continue(self) -> bool:
        return self._noted and self._body is not None and not self._too_long()

    def _start_over(self) -> None:
        self._throw_away()
        self._kind = Asked.WHOLE

    def _throw_away(self) -> None:
        """Drop what is here; also what an earlier run left and this one may not continue.

        A note that outlived its bytes would vouch for those of the next answer.
        """
        self._run.partials.discard(self._asset.save_path)
        self._noted = False
        if self._body is not None:
            self._body.discard()
            self._body = None


def entry_of(
    asset: Asset,
    size: int,
    sha256: str | None,
    state: State,
    head: ResponseHead | None = None,
) -> Entry:
    """What the ledger is told about a finished file.

    Args:
        asset: The asset.
        size: Bytes.
        sha256: Digest, None for a file that was not read.
        state: How sure we are of it.
        head: Of the answer that it came with, None where there was none.
    """
    fields = head.fields if head is not None else {}
    return Entry(
        asset.save_path,
        size,
        sha256,
        fields.get("etag"),
        fields.get("last-modified"),
        fingerprint_of(asset),
        state,
        time.time_ns() // 1_000_000 / 1000,
    )
