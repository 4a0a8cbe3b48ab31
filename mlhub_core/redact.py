"""Takes secrets out of text before anybody reads it.

API keys travel in the query parameter ``key``, signatures in the query of pre-signed URLs under
names that nobody can list. So of a URL neither query nor fragment is ever shown, nor who logs in;
and every URL and every foreign text goes through here on its way to a log line, a report or an
exception.
"""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_CUT = "?…"
"""What stands for a query or a fragment."""

_LEAST, _LEAST_MIXED = 16, 8
"""Characters of a secret that is remembered, of letters alone or not."""
_MAX_URL = 2_000

_URL = re.compile(r"(?i)((?:\b[a-z][a-z0-9+.-]{0,20}:)?//)([^/\s?#]*@)?([^\s?#]*)([?#]\S*)?")
_PAIR = re.compile(r"[?&#][\w.~%+-]{1,100}=\S*")
"""A query whose URL has no host in the text, or has white space in it."""
_CLOSING = ")]}>'\".,;:!"
"""What may follow a URL in a text, and is kept."""
_NO_VALUE = re.compile(r"(?:\?(?:[\w.-]+=)?)?")
"""Such as that of ``https://proxy.example/fetch?url=``, to which a URL is added."""
_PARAMETER = re.compile(
    r"(?i)(;(?:key|token|access_token|sig|signature|jsessionid|password|secret)=)[^&;#\s'\"<>)]*"
)
_BEARER = re.compile(r"(?i)\b(authorization:\s*\w+\s+|bearer\s+)[\w.~+/=-]{6,}")

_remembered: dict[str, None] = {}


def remember(secret: str | None) -> None:
    """Take a key or password out of all texts from now on, whoever repeats it.

    One that could be a word is not remembered: texts of others would lose it.
    """
    if secret and len(secret) >= (_LEAST if secret.isalpha() else _LEAST_MIXED):
        _remembered[secret] = None


def without_secrets(text: str) -> str:
    """A text without the secrets that are remembered; all else stays as it is."""
    return _without(text, tuple(_remembered))


def holds(text: str, secret: str) -> bool:
    """Whether a secret stands in a text, however it is encoded."""
    return _without(text, (secret,)) != text


def redact(text: object, *secrets: str | None) -> str:
    """Take keys, passwords and the queries of URLs out of a text.

    Args:
        text: A URL, an error, any text; anything else is converted by ``str``.
        *secrets: Values known to be secret, removed wherever and however encoded they stand.
    """
    result = _without(str(text), (*filter(None, secrets), *_remembered))
    result = _URL.sub(_shown, result)
    result = _PAIR.sub(lambda found: _CUT + _after(found[0]), result)
    result = _PARAMETER.sub(rf"\g<1>{HIDDEN}", result)
    return _BEARER.sub(rf"\g<1>{HIDDEN}", result)


def redact_url(url: str) -> str:
    """A URL, whatever is in it, as people may read it: without userinfo, query and fragment."""
    head, *query = re.split("[?#]", url, maxsplit=1)
    scheme, slashes, rest = head.partition("//")
    host, slash, path = rest.partition("/")
    if slashes and "@" in host:
        head = f"{scheme}//{HIDDEN}@{host.rpartition('@')[2]}{slash}{path}"
    shown = redact(head)
    if len(shown) > _MAX_URL:
        shown = shown[:_MAX_URL] + "…"
    return shown + _CUT if query else shown


def has_secret(url: str) -> bool:
    """Whether a URL says who logs in, or has a query or fragment with a value."""
    found = _URL.search(url)
    return bool(found and (found[2] or not _NO_VALUE.fullmatch(found[4] or "")))


def _shown(found: re.Match[str]) -> str:
    scheme, userinfo, rest, query = found.groups()
    return (
        scheme + (f"{HIDDEN}@" if userinfo else "") + rest + (_CUT + _after(query) if query else "")
    )


def _after(query: str) -> str:
    return query[len(query.rstrip(_CLOSING)) :]


def _without(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if not _may_hold(text, secret):
            continue
        for form in _forms(secret):
            text = text.replace(form, HIDDEN)
    return text


def _may_hold(text: str, secret: str) -> bool:
    """A quick look: what of a secret is the same however it is encoded."""
    plain = re.search("[A-Za-z0-9]*", secret)
    return plain is None or plain[0] in text


def _forms(secret: str) -> set[str]:
    encoded = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    small = {re.sub("%..", lambda found: found[0].lower(), form) for form in encoded}
    return {secret, *encoded, *small, json.dumps(secret)[1:-1], html.escape(secret)}
