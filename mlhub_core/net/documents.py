"""Documents of the web, such as JSON: asked for, decoded and bounded in memory, one exchange each.

An exchange runs in the loop of :mod:`~mlhub_core.net.http`, beside any number of others. What is to
be asked for again, and when, is decided as for files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.net.clients import without_login
from mlhub_core.net.coding import BadCoding, TooMuch, plain_pieces
from mlhub_core.net.curl import Hold
from mlhub_core.net.response import ResponseHead
from mlhub_core.net.resume import Ask, Asked, Take, Verdict, verdict_on
from mlhub_core.net.retry import NOT_HTTP, Again, Fault, Tries
from mlhub_core.redact import redact_url, remember
from mlhub_core.settings import TransferSettings

log = logging.getLogger(__name__)

_ACCEPT = "Accept: application/json, application/geo+json, */*;q=0.5"
_CODINGS = "Accept-Encoding: gzip, deflate"
_LINES = [_ACCEPT, _CODINGS]
_VALIDATOR = re.compile(r'(W/)?"[\x21\x23-\x7e]*"|[\x20-\x7e]{1,100}')
"""An ETag, weak ones included, or a date: what may be sent back."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


class Answer(NamedTuple):
    """What came of asking for a document.

    Attributes:
        url: What was asked for.
        base: Where it came from, after redirects; without a login.
        status: Of the answer; None where there was none.
        body: The document; None where it is as it was, or cannot be had.
        etag: As the server gave it.
        modified: ``Last-Modified``, likewise.
        media_type: ``Content-Type``, likewise.
        problem: Why it cannot be had, in words.
        is_cut: Whether the rest of it was not read.
        is_too_long: Whether that is the problem.
    """

    url: str
    base: str
    status: int | None = None
    body: bytes | None = None
    etag: str | None = None
    modified: str | None = None
    media_type: str | None = None
    problem: str = ""
    is_cut: bool = False
    is_too_long: bool = False


class DocumentRequest:
    """One document to ask for.

    Args:
        url: Its URL, without a login.
        settings: Time-outs and tries.
        most: Bytes of it at most, decoded.
        done: Gets the answer.
        login: Of its host, as it stands in a URL.
        validators: ETag and ``Last-Modified`` of what is here already.
        wants: Whether the rest is wanted, by the first bytes; None for always.
    """

    def __init__(
        self,
        url: str,
        settings: TransferSettings,
        most: int,
        done: Callable[[Answer], None],
        *,
        login: str = "",
        validators: tuple[str | None, str | None] = (None, None),
        wants: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.host = urlsplit(url).netloc
        self.url = url.replace("//", f"//{login}@", 1) if login else url
        self._url = url
        self._most = most
        self._done = done
        self._wants = wants
        self._lines = _LINES
        kind = Asked.WHOLE
        if conditions := _conditions(*validators):
            self._lines, kind = [*_LINES, *conditions], Asked.CHANGED
        self._ask = Ask(kind)
        self._tries = Tries(settings)
        self._start()

    def _start(self) -> None:
        self._head: ResponseHead | None = None
        self._verdict: Verdict | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_cut = False

    # What the loop calls

    def fields(self) -> list[str]:
        """Header lines of the next request."""
        self._tries.begin()
        self._start()
        return self._lines

    def begin(self, head: ResponseHead) -> bool:
        """Judge a response by its head; False when its body is not wanted."""
        self._head = head
        self._verdict = verdict_on(head, self._ask)
        return self._verdict.take is Take.WHOLE

    def write(self, pieces: Sequence[bytes]) -> bool:
        """Take more of the body; False when it is longer than it may be, or not wanted."""
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        if self._wants is not None and self._verdict is not None and not self._verdict.coding:
            self._is_cut = not self._wants(b"".join(self._pieces))
            self._wants = None
        return self._size <= self._most and not self._is_cut

    def settle(self, fault: Fault | None) -> float | Hold | None:
        """Conclude a request; seconds until the next one, a hold, or None when there is none."""
        verdict = self._verdict
        if verdict is None or (fault is not None and fault.again is Again.NEVER):
            fault = fault or Fault(NOT_HTTP)
            return self._again(fault.again, _said(fault))
        if verdict.take is Take.REFUSE:
            return self._refused(verdict)
        if verdict.take is Take.COMPLETE:
            self._end()
            return None
        if self._size > self._most:
            self._too_long()
            return None
        if fault is not None and not self._is_cut:
            return self._again(fault.again, _said(fault))
        return self._take(verdict.coding)

    def give_up(self, fault: Fault) -> None:
        """Fail without another request."""
        self._end(problem=_said(fault))

    def abandon(self) -> None:
        """The run is stopping."""

    # Concluding

    def _take(self, coding: str | None) -> float | None:
        body = b"".join(self._pieces)
        if coding is not None:
            try:
                body = b"".join(plain_pieces([body], coding, self._most))
            except TooMuch:
                self._too_long()
                return None
            except BadCoding as error:
                return self._again(Again.ONCE, f"it is damaged: {error}")
        self._end(body)
        return None

    def _refused(self, verdict: Verdict) -> float | Hold | None:
        problem = f"{verdict.cause} {verdict.detail}".strip()
        if verdict.again is Again.WHEN_LET:
            if self._tries.may_be_held():
                return Hold(verdict.cause, verdict.wait)
            return self._again(Again.NEVER, problem)
        return self._again(verdict.again, problem, verdict.wait)

    def _again(self, again: Again, problem: str, wait: float | None = None) -> float | None:
        delay = self._tries.again(again, wait)
        if delay is None:
            self._end(problem=problem)
        else:
            log.debug("%s: %s; again in %.1f s", redact_url(self._url), problem, delay)
        return delay

    def _too_long(self) -> None:
        problem = f"it has more than {self._most:,} bytes"
        self._end(problem=problem, is_too_long=True)

    def _end(
        self, body: bytes | None = None, *, problem: str = "", is_too_long: bool = False
    ) -> None:
        head = self._head or ResponseHead(0)
        base = self._url
        for location in head.locations:
            base = _joined(base, location)
        answer = Answer(
            self._url,
            base,
            head.status or None,
            body,
            head.get("etag"),
            head.get("last-modified"),
            head.get("content-type"),
            problem,
            self._is_cut,
            is_too_long,
        )
        self._pieces = []
        self._done(answer)


def _conditions(etag: str | None, modified: str | None) -> list[str]:
    if etag and _VALIDATOR.fullmatch(etag):
        return [f"If-None-Match: {etag}"]
    if modified and _VALIDATOR.fullmatch(modified):
        return [f"If-Modified-Since: {modified}"]
    return []


def _said(fault: Fault) -> str:
    return f"{fault.cause} ({fault.detail})" if fault.detail else fault.cause


def _joined(base: str, location: str) -> str:
    try:
        return without_login(urljoin(base, location))
    except ValueError:
        return base


def document_url(text: str) -> str:
    """A URL as it is asked for: without a fragment, what cannot stand in a URL encoded.

    Raises:
        InvalidArgument: if it is no http or https URL.
    """
    url = text.strip().partition("#")[0]
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        if usable and not url.isascii():
            netloc = parts.netloc.encode("idna").decode("ascii")
            url = parts._replace(netloc=netloc).geturl()
        url = quote(url, safe=_PRINTABLE)
    except (ValueError, UnicodeError):
        usable = False
    if not usable:
        raise InvalidArgument(
            f"{redact_url(text)} is no URL that can be asked: it starts with http:// or https:// "
            "and names a host."
        )
    return url


@lru_cache(maxsize=64)
def login_for(url: str) -> str:
    """Name and password for a host, as they stand in a URL: those in it, else those of netrc."""
    from requests.utils import get_netrc_auth

    given = urlsplit(url).netloc.rpartition("@")[0]
    if given:
        remember(given.partition(":")[2])
        return given
    found = get_netrc_auth(url)
    if not found:
        return ""
    remember(found[1])
    return f"{quote(found[0], safe='')}:{quote(found[1], safe='')}"
