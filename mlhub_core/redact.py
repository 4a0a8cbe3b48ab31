"""Takes secrets out of text before anybody reads it.

API keys travel in the query parameter ``key``, signatures in the query of pre-signed URLs. Both
must never be printed, so every URL and every foreign error text goes through here on its way to a
log line, a report or an exception.
"""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus

HIDDEN = "***"

_SECRET_PARAMETERS = (
    "key|api_key|apikey|access_token|token|sig|signature|x-amz-signature|x-amz-credential|"
    "x-amz-security-token|awsaccesskeyid|googleaccessid|x-goog-signature|x-goog-credential|"
    "password|secret|se|st|skoid|sktid|ske|skt"
)
_PARAMETER = re.compile(rf"(?i)([?&;](?:{_SECRET_PARAMETERS})=)[^&;#\s'\"<>)]*")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s'\"@?#]+@")
_BEARER = re.compile(r"(?i)\b(authorization:\s*\w+\s+|bearer\s+)[\w.~+/=-]{6,}")


def redact(text: object, *secrets: str | None) -> str:
    """Replace keys, signatures and passwords in a text.

    Args:
        text: A URL, an error, any text; anything else is converted by ``str``.
        *secrets: Values known to be secret, removed wherever and however encoded they stand.

    Returns:
        The text with every secret replaced by ``***``.
    """
    result = str(text)
    for secret in secrets:
        if secret:
            for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
                result = result.replace(form, HIDDEN)
    result = _PARAMETER.sub(rf"\g<1>{HIDDEN}", result)
    result = _USERINFO.sub(rf"\g<1>{HIDDEN}@", result)
    return _BEARER.sub(rf"\g<1>{HIDDEN}", result)
