"""What the transfer takes from its surroundings, read when it starts and not at import.

Proxies are libcurl's own business: it reads ``http_proxy``, ``https_proxy``, ``all_proxy`` and
``no_proxy`` by itself.
"""

from __future__ import annotations

import os
import resource

from mlhub_core.exceptions import InvalidArgument

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_RESERVED_DESCRIPTORS = 64
"""For the interpreter, logs, the ledger, and whatever else the process has open."""


def ca_bundle() -> str:
    """The file with the certificates that are trusted.

    The first of ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` and ``SSL_CERT_FILE``, so that the API's
    client and the transfer trust the same; else certifi's, since the libcurl in pycurl's wheels
    looks where only some distributions keep theirs.

    Raises:
        InvalidArgument: if a variable names no readable file.
    """
    for name in _CA_VARIABLES:
        path = os.environ.get(name, "").strip()
        if path:
            if not os.access(path, os.R_OK):
                raise InvalidArgument(f"{name} is {path!r}: no such file. Correct or unset it.")
            return path
    import certifi

    return certifi.where()


def most_transfers() -> int:
    """How many transfers one partition may have under way, by the limit on open files.

    Each needs a socket and at times a file, and another partition as many.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 4096
    return max(1, min(4096, (soft - _RESERVED_DESCRIPTORS) // 4))
