"""What the transfer takes from its surroundings, read when it starts and not at import."""

from __future__ import annotations

import resource

import pycurl

from mlhub_core.net.clients import certificates, check_proxies, no_proxy

_RESERVED_DESCRIPTORS = 64
"""For the interpreter, logs, the ledger, and whatever else the process has open."""


def handle_options() -> dict[int, str]:
    """What each of libcurl's handles is told of certificates and proxies.

    Proxies are its own business otherwise: it reads ``http_proxy``, ``https_proxy``, ``all_proxy``
    and ``no_proxy`` by itself.

    Raises:
        InvalidArgument: if what the environment says of either cannot be.
    """
    check_proxies()
    trusted = certificates()
    options = (pycurl.CAPATH, pycurl.PROXY_CAPATH)
    if not trusted.is_directory:
        options = (pycurl.CAINFO, pycurl.PROXY_CAINFO)
    return {pycurl.NOPROXY: no_proxy()} | dict.fromkeys(options, trusted.path)


def most_transfers() -> int:
    """How many transfers one partition may have under way, by the limit on open files.

    Each needs a socket and at times a file, and another partition as many.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 4096
    return max(1, min(4096, (soft - _RESERVED_DESCRIPTORS) // 4))
