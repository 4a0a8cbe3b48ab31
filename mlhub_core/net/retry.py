"""The retry policy: what failures mean, which may pass, and how long to wait before another try."""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mlhub_core.console import printable
from mlhub_core.net.response import parse_http_date, timestamp
from mlhub_core.redact import redact
from mlhub_core.settings import ApiSettings, TransferSettings

_NUMBER = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*", re.ASCII)
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_RESETS = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")
_REMAINING = ("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining")
_LIMITED_WORDS = re.compile(
    rb"rate.?limit|too many requests|slow ?down|requestlimitexceeded|quota exceeded|throttl", re.I
)
_EPOCH_SECONDS = 1e8
_EPOCH_MILLISECONDS = 1e11
_MOST_HOLDS = 3
"""Refusals of one thing, for each of its tries, while its host grants others."""

OVERLOADED = frozenset({429, 503})
"""What hosts say that are asked too often: they are asked for less at a time then."""


class Again(Enum):
    """Whether another request makes sense after a failed one."""

    NEVER = "final"
    NOW_WHOLE = "at once, for the whole file"
    ONCE = "one more time"
    LATER = "until the attempts are used up"
    WHEN_LET = "when the host lets us, which costs no attempt"


def is_retryable(status: int) -> bool:
    """Whether a failure with this status may pass: 408, 429 and all 5xx."""
    return status in (408, 429) or 500 <= status <= 599


def says_limited(status: int, fields: Mapping[str, str], body: bytes = b"") -> bool:
    """Whether a 403 is a rate limit rather than a refusal: by its header, or what its body says."""
    if status != 403:
        return False
    used_up = any(_number(fields.get(name)) == 0 for name in _REMAINING)
    return used_up or bool(fields.get("retry-after") or _LIMITED_WORDS.search(body))


def delay_before(
    attempt: int, wait: float | None, settings: TransferSettings | ApiSettings
) -> float:
    """Seconds to wait before another try.

    Exponential, with jitter so that a thousand refused clients do not come back in step.
    ``Retry-After`` is a lower bound, up to its cap.

    Args:
        attempt: Tries so far, from 1.
        wait: What the server asked for, None where it did not.
        settings: Base and caps.
    """
    ceiling = min(settings.backoff_cap, settings.backoff_base * 2.0 ** min(attempt - 1, 60))
    delay = ceiling * random.uniform(0.5, 1.0)
    return max(delay, min(wait or 0.0, settings.retry_after_cap))


def parse_wait(fields: Mapping[str, str], now: float | None = None) -> float | None:
    """Read how long a server wants to be left alone, whichever of the usual ways it says so.

    ``Retry-After``, its forms in milliseconds, ``RateLimit`` and ``RateLimit-Reset`` of the IETF
    drafts, ``X-RateLimit-Reset`` in seconds from now or since 1970. A reset is of no interest as
    long as something remains.

    Args:
        fields: The header, names in lower case or any mapping that does not mind.
        now: Seconds since 1970; None takes the answer's ``Date``, or else our clock.

    Returns:
        Seconds, never negative; None where it does not say.
    """
    if now is None:
        now = parse_http_date(fields.get("date"))
    if now is None or not 0 < now < _EPOCH_MILLISECONDS:
        now = time.time()
    return next(_waits(fields, now), None)


def _waits(fields: Mapping[str, str], now: float) -> Iterator[float]:
    """What all the fields say that say anything, the weightiest first."""
    if (wait := _until(fields.get("retry-after"), now)) is not None:
        yield wait
    for name in _MILLISECONDS:
        if (number := _number(fields.get(name))) is not None:
            yield number / 1000
    if not any(_number(fields.get(name)) for name in _REMAINING):
        for name in _RESETS:
            if (wait := _until(fields.get(name), now)) is not None:
                yield wait
    if policies := list(_policy_waits(fields.get("ratelimit") or "", now)):
        yield max(policies)


def _policy_waits(value: str, now: float) -> Iterator[float]:
    """The waits in ``RateLimit: "default";r=0;t=30``, or ``limit=9, remaining=0, reset=30``."""
    policies = [value] if "remaining" in value.lower() else value.split(",")
    for policy in policies:
        pairs = (part.partition("=") for part in re.split("[;,]", policy))
        said = {name.strip().lower(): text.strip() for name, _, text in pairs}
        wait = _until(said.get("t", said.get("reset")), now)
        if wait is not None and not _number(said.get("r", said.get("remaining"))):
            yield wait


def _until(value: str | None, now: float) -> float | None:
    """Seconds until a moment that is given by its distance, since 1970, or as a date."""
    number = _number(value)
    if number is None:
        moment = _parse_iso(value) or parse_http_date(value)
        return None if moment is None else max(0.0, moment - now)
    if number >= _EPOCH_MILLISECONDS:
        number /= 1000
    return max(0.0, number - now) if number >= _EPOCH_SECONDS else number


def _parse_iso(value: str | None) -> float | None:
    try:
        return timestamp(datetime.fromisoformat((value or "").strip()))
    except (ValueError, OverflowError):
        return None


def _number(value: str | None) -> float | None:
    found = _NUMBER.fullmatch(value or "")
    return float(found[1]) if found else None


NOT_HTTP = "an answer that is not HTTP"
_CAUSES = {  # by libcurl's codes, which are the same for ever
    1: (NOT_HTTP, Again.LATER),  # unsupported protocol
    3: ("malformed URL", Again.NEVER),
    5: ("unknown proxy", Again.LATER),
    6: ("unknown host", Again.LATER),
    7: ("no connection", Again.LATER),
    8: (NOT_HTTP, Again.LATER),
    18: ("connection broken off within the file", Again.LATER),
    28: ("timed out", Again.LATER),
    35: ("no TLS connection", Again.LATER),
    47: ("too many redirects", Again.NEVER),
    52: ("connection broken off before the answer", Again.LATER),
    55: ("connection broken off", Again.LATER),
    56: ("connection broken off", Again.LATER),
    60: ("TLS certificate not trusted", Again.NEVER),
    61: ("an unknown Transfer-Encoding", Again.LATER),
    77: ("CA bundle cannot be read", Again.NEVER),
    100: ("more header fields than are read", Again.LATER),
}
_REDIRECTED = {
    1: "redirected to a scheme that is not fetched",
    3: "redirected to a malformed URL",
}
"""What the same codes mean where a redirect is at fault, which libcurl says in words only."""
_DOWNGRADED = (
    "redirected from https to http",
    "to fetch it without TLS all the same, use --mirror https://HOST/=http://HOST/",
)

_CROWDED = frozenset({7, 52, 55, 56})
"""What hosts do to which we have too many connections, as they do not always say it in words."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What broke a transfer off.

    Attributes:
        cause: In words that group well.
        detail: libcurl's words.
        again: Whether to try again.
        crowded: Whether fewer connections may help.
    """

    cause: str
    detail: str = ""
    again: Again = Again.LATER
    crowded: bool = False


STALLED = Fault("stalled")
"""Nothing came for as long as ``stall_timeout``."""
TOO_SLOW = Fault("too slow, with no end in sight", again=Again.ONCE)
"""Less came than ``min_speed`` asks for."""
UNWANTED = Fault("broken off by us")
"""The rest of the body is of no use; why, its exchange says."""


class Tries:
    """The tries at one thing: whether there is to be another, and when.

    Args:
        settings: How many there may be, and how long to wait between two.
    """

    def __init__(self, settings: TransferSettings) -> None:
        self._settings = settings
        self._count = self._once = self._held = 0

    def begin(self) -> None:
        """Another request is sent."""
        self._count += 1

    def forgive(self) -> None:
        """The last one does not count."""
        self._count -= 1

    def renew(self) -> None:
        """It gets on: a long file over a bad line is not given up while it grows."""
        self._count = min(self._count, 1)
        self._once = 0

    def again(self, again: Again, wait: float | None = None) -> float | None:
        """Seconds until the next try, None where there is to be none.

        Args:
            again: What the last one says of it.
            wait: Seconds that the host wants to be left alone for, None where it does not say.
        """
        self._once += again is Again.ONCE
        enough = self._count >= self._settings.max_attempts or self._once > 1
        if again is Again.NEVER or enough:
            return None
        return delay_before(self._count, wait, self._settings)

    def may_be_held(self) -> bool:
        """Whether to ask again when the host lets us, which is no try; not after many refusals."""
        self._held += 1
        self.forgive()
        return self._held < _MOST_HOLDS * self._settings.max_attempts


def fault_of(code: int, message: str) -> Fault:
    """What a libcurl error code means."""
    cause, again = _CAUSES.get(code, (f"transfer error {code}", Again.LATER))
    if code in _REDIRECTED and ("redirect" in message or message.startswith("Protocol ")):
        cause, again = _REDIRECTED[code], Again.NEVER
        if message.startswith('Protocol "http"'):
            cause, message = _DOWNGRADED
    return Fault(cause, printable(redact(message)), again, code in _CROWDED)


def out_of_descriptors(os_errno: int) -> bool:
    """Whether the process may open no more sockets: no fault of the server's."""
    return os_errno in (errno.EMFILE, errno.ENFILE)
