"""What a whole body is compared with before it gets its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlhub_core.net.checksums import parse_checksum
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.body import Body, digest_file
from mlhub_core.transfer.failures import Failure

OTHER_BYTES = "another checksum than expected"
"""The cause of a failure that only the bytes tell of."""

Digests = tuple[tuple[str, str], ...]
"""``(algorithm, hexadecimal)`` pairs."""


def with_catalog(digests: Iterable[tuple[str, str]], asset: Asset) -> Digests:
    """Digests of an answer, and that of the catalog."""
    found = tuple(digests)
    if asset.checksum is None:
        return found
    catalog = parse_checksum(asset.checksum)
    return (*found, catalog) if catalog and catalog not in found else found


def failure_of(
    body: Body, total: int | None, digests: Digests, check: Callable[[], None], host: str
) -> Failure | None:
    """Why a body is not the file, None where nothing speaks against it.

    Args:
        body: All its bytes.
        total: How many there should be, None where nothing says.
        digests: What they should come to.
        check: Called between blocks that are read again; raises to stop.
        host: For the failure.

    Raises:
        StorageError: if the disk refuses.
    """
    if total is not None and body.size != total:
        detail = f"{total} bytes expected, {body.size} came"
        return Failure("another length than expected", detail, host=host)
    for algorithm, expected in digests:
        actual = body.digest(algorithm)
        if actual is None:  # first named by the answer that brought the rest
            body.close()
            actual = digest_file(body.path, [algorithm], check)[algorithm]
        if actual != expected:
            detail = f"{algorithm} {expected} expected, {actual} came"
            return Failure(OTHER_BYTES, detail, host=host)
    return None
