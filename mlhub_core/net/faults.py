"""What broke a transfer off, in words that group well: libcurl's codes and our own time-out."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pycurl

from mlhub_core.net.resume import Again
from mlhub_core.redact import redact
from mlhub_core.say import printable

NOT_HTTP = "an answer that is not HTTP"

_CAUSES = {
    pycurl.E_COULDNT_RESOLVE_HOST: ("unknown host", Again.LATER),
    pycurl.E_COULDNT_RESOLVE_PROXY: ("unknown proxy", Again.LATER),
    pycurl.E_COULDNT_CONNECT: ("no connection", Again.LATER),
    pycurl.E_OPERATION_TIMEDOUT: ("timed out", Again.LATER),
    pycurl.E_GOT_NOTHING: ("connection broken off before the answer", Again.LATER),
    pycurl.E_PARTIAL_FILE: ("connection broken off within the file", Again.LATER),
    pycurl.E_RECV_ERROR: ("connection broken off", Again.LATER),
    pycurl.E_SEND_ERROR: ("connection broken off", Again.LATER),
    pycurl.E_SSL_CONNECT_ERROR: ("no TLS connection", Again.LATER),
    pycurl.E_PEER_FAILED_VERIFICATION: ("TLS certificate not trusted", Again.NEVER),
    pycurl.E_SSL_CACERT_BADFILE: ("CA bundle cannot be read", Again.NEVER),
    pycurl.E_TOO_MANY_REDIRECTS: ("too many redirects", Again.NEVER),
    pycurl.E_UNSUPPORTED_PROTOCOL: (NOT_HTTP, Again.LATER),
    pycurl.E_URL_MALFORMAT: ("malformed URL", Again.NEVER),
    pycurl.E_BAD_CONTENT_ENCODING: ("an unknown Transfer-Encoding", Again.LATER),
    # CURLE_WEIRD_SERVER_REPLY and CURLE_TOO_LARGE, which pycurl has no names for
    8: (NOT_HTTP, Again.LATER),
    100: ("more header fields than are read", Again.LATER),
}
_REDIRECTED = {
    pycurl.E_UNSUPPORTED_PROTOCOL: "redirected to a scheme that is not fetched",
    pycurl.E_URL_MALFORMAT: "redirected to a malformed URL",
}
"""What the same codes mean where a redirect is at fault, which libcurl says in words only."""
_DOWNGRADED = (
    "redirected from https to http",
    "to fetch it without TLS all the same, use --mirror https://HOST/=http://HOST/",
)

_CROWDED = frozenset(
    {pycurl.E_COULDNT_CONNECT, pycurl.E_GOT_NOTHING, pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR}
)
"""What hosts do to which we have too many connections, as they do not always say it in words."""

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


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
    return os_errno in _NO_DESCRIPTORS
