"""What is asked for, and the header lines that ask for it: pure."""

from __future__ import annotations

from mlhub_core.net.head import ResponseHead
from mlhub_core.net.response import http_date
from mlhub_core.net.resume import Ask, Kind
from mlhub_core.selection.partition import Asset
from mlhub_core.settings import AZURE_STORAGE_VERSION
from mlhub_core.transfer.contents import suffix_of

_FIELDS = ["Accept-Encoding: identity"]
_AZURE_FIELDS = [*_FIELDS, f"x-ms-version: {AZURE_STORAGE_VERSION}"]
_AZURE = ".blob.core.windows.net"
_OVERLAP = 4096


def ask_for_whole(asset: Asset, total: int | None, head: ResponseHead | None) -> Ask:
    """Ask for the whole file.

    Args:
        asset: The asset.
        total: Its bytes as known from an earlier answer.
        head: Of that answer, None where there was none.
    """
    return Ask(
        Kind.WHOLE,
        suffix_of(asset.save_path),
        total=total,
        size=asset.file_size,
        has_checksum=asset.checksum is not None,
        etag=head.get("etag") if head else None,
        modified=head.get("last-modified") if head else None,
    )


def ask_for_rest(asset: Asset, size: int, total: int | None, head: ResponseHead | None) -> Ask:
    """Ask for the rest of a partial file of ours, and once more for the last bytes of what is here.

    Those are compared: a host may say that it sends the rest, and send the beginning.

    Args:
        asset: The asset.
        size: Bytes already here.
        total: Bytes of the whole as known from an earlier answer.
        head: Of the answer that the bytes here came with.
    """
    etag, modified = (head.get("etag"), head.get("last-modified")) if head else (None, None)
    offset = size - min(_OVERLAP, size // 2)
    return Ask(
        Kind.CONTINUE,
        suffix_of(asset.save_path),
        offset,
        total,
        asset.file_size,
        asset.checksum is not None,
        etag=etag,
        modified=modified,
    )


def ask_about(asset: Asset, size: int, mtime: float) -> Ask:
    """Ask for what is missing of a file that lies there.

    Args:
        asset: The asset.
        size: Its bytes.
        mtime: Its modification time.
    """
    has_checksum = asset.checksum is not None
    return Ask(
        Kind.PROBE,
        suffix_of(asset.save_path),
        size,
        size=asset.file_size,
        has_checksum=has_checksum,
        mtime=mtime,
    )


def fields_for(host: str) -> list[str]:
    """Header lines of a request for a whole file; never to be changed."""
    azure = _AZURE in host and host.partition(":")[0].endswith(_AZURE)
    return _AZURE_FIELDS if azure else _FIELDS


def request_fields(ask: Ask, host: str, validator: str | None) -> list[str]:
    """Header lines of a request.

    Args:
        ask: What is asked for.
        host: Host, and port where given.
        validator: For If-Range, when the rest of a partial file is asked for.

    Returns:
        Lines that must not be changed: those of most requests are one and the same list.
    """
    fields = fields_for(host)
    if ask.kind is Kind.WHOLE:
        return fields
    if ask.kind is Kind.CONTINUE:
        condition = f"If-Range: {validator}"
    else:
        condition = f"If-Unmodified-Since: {http_date(ask.mtime or 0.0)}"
    return [*fields, f"Range: bytes={ask.offset}-", condition]
