"""Bodies in a content coding that nobody asked for: are the coded bytes the file, or the plain?

Some objects are stored compressed with ``Content-Encoding: gzip``, and their hosts send them so
whatever is asked for. Length, ETag and digests of the answer are those of the coded bytes, so these
are taken and checked like any body; only then is it decided what the file is:

==========================================  ====================================================
what is known                               the file is
==========================================  ====================================================
size or digest of the catalog               the bytes that agree, the coded ones first; neither
                                            do: a failure
``.gz``, ``.tgz``, plain bytes are gzip     the plain bytes: what was packed was packed once more
``.gz``, ``.tgz``, plain bytes are not      the coded bytes: the host calls the format a coding
any other name                              the plain bytes, as a browser would save them
==========================================  ====================================================

So for the other codings and their extensions (``.zst``, ``.br``, …). Of a coding that cannot be
taken back, or of several, it is the coded bytes or a failure.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.net.body import OTHER_BYTES, Body, Mismatch
from mlhub_core.net.resume import DECODED, PACKED, UNKNOWN_CODING, Expected

_ARROW = {"br": "brotli", "bzip2": "bz2", "zstd": "zstd"}
_PIECE = 1024 * 1024
"""Plain bytes made at a time, however few coded ones they come from."""
_FREE = 1024 * 1024 * 1024
_MOST_TIMES = 200
"""Plain bytes may be 1 GiB, or so many times the coded ones if that is more: masks of nothing but
zeros shrink a thousandfold, and so do files made to fill disks."""
_DAMAGED = "compressed though not asked for, and damaged"
_OTHER_SIZE = "another size than in the catalog"


class BadCoding(ValueError):
    """Coded bytes that do not come to a file, in words."""


class TooMuch(BadCoding):
    """More plain bytes than there may be."""


def decoded_body(
    body: Body, coding: str, expected: Expected, check: Callable[[], None]
) -> Body | Mismatch:
    """Decide by the table above what the file is.

    Args:
        body: All coded bytes; discarded when the plain ones take its place.
        coding: As :func:`~mlhub_core.net.response.parse_codings` names it.
        expected: What the catalog says.
        check: Called between pieces; raises to stop.

    Returns:
        The body of the file, or why there is none.

    Raises:
        StorageError: if the disk refuses.
    """
    if expected.is_told and _agrees(body, expected, check):
        return body
    packed, magic = PACKED.get(coding, ((), b""))
    packed_alike = expected.suffix in packed and not expected.is_told
    if coding not in DECODED:
        return body if packed_alike else Mismatch(UNKNOWN_CODING, f"Content-Encoding {coding}")
    algorithms = [expected.checksum[0]] if expected.checksum else []
    plain = Body(f"{body.path.removesuffix('.part')}.plain.part", algorithms)
    try:
        found = _decode(body, plain, coding, expected.size, check)
        if found is None and expected.is_told and not _agrees(plain, expected, check):
            found = _neither(body, plain, expected)
    except BaseException:
        plain.discard()
        raise
    if found is not None:
        plain.discard()
        return found
    if packed_alike and plain.size and not (magic and plain.begin(len(magic)) == magic):
        plain.discard()
        return body
    body.discard()
    return plain


def _agrees(body: Body, expected: Expected, check: Callable[[], None]) -> bool:
    digests = [expected.checksum] if expected.checksum else []
    return body.mismatch(expected.size, digests, check) is None


def _neither(body: Body, plain: Body, expected: Expected) -> Mismatch:
    if expected.size is not None and expected.size not in (body.size, plain.size):
        came = f"{body.size} came, {plain.size} decoded"
        return Mismatch(_OTHER_SIZE, f"{expected.size} bytes in the catalog, {came}")
    checksum = " ".join(expected.checksum or ())
    return Mismatch(OTHER_BYTES, f"{checksum} expected, of the bytes as sent or decoded")


def _decode(
    body: Body, plain: Body, coding: str, size: int | None, check: Callable[[], None]
) -> Mismatch | None:
    """Write the plain bytes, as far as there may be any."""
    most = max(_FREE, _MOST_TIMES * body.size) if size is None else size
    try:
        for piece in plain_pieces(body.pieces(check), coding, most):
            check()
            plain.write((piece,))
    except TooMuch as error:
        return Mismatch(_DAMAGED if size is None else _OTHER_SIZE, str(error))
    except BadCoding as error:
        return Mismatch(_DAMAGED, str(error))
    return None


def plain_pieces(coded: Iterable[bytes], coding: str, most: int) -> Iterator[bytes]:
    """Decode, in pieces of bounded size.

    Args:
        coded: The coded bytes.
        coding: ``gzip`` (several members in a row are one), ``deflate`` (with or without the
            frame that it should have), ``br``, ``bzip2`` or ``zstd``.
        most: Plain bytes after which it is too much.

    Raises:
        TooMuch: if they come to too much.
        BadCoding: if the bytes are not in that coding, or end too early.
    """
    size = 0
    with io.BufferedReader(_Blocks(coded), _PIECE) as file:
        if not file.peek(1):  # of nothing at all, nothing is the plain form
            return
        for piece in _decoded(file, coding):
            size += len(piece)
            if size > most:
                raise TooMuch(f"more than {most} bytes come out")
            yield piece


class _Blocks(io.RawIOBase):
    """A file to read, of blocks that come one after the other."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as one block does."""
        if not self._rest:  # an empty block is not the end
            self._rest = memoryview(next(filter(None, self._blocks), b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _decoded(file: io.BufferedReader[_Blocks], coding: str) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        if coding == "deflate":
            yield from _inflated(file)
            return
        stream = gzip.GzipFile(fileobj=file) if coding == "gzip" else _arrow(file, _ARROW[coding])
        with stream:
            while piece := stream.read(_PIECE):
                yield piece
    except EOFError as error:
        raise BadCoding("it ends too early") from error
    except (zlib.error, gzip.BadGzipFile, pa.ArrowInvalid) as error:
        raise BadCoding(str(error)) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise BadCoding(str(error)) from error  # as Arrow says it


def _arrow(file: io.BufferedReader[_Blocks], codec: str) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(file, codec)


def _inflated(file: io.BufferedReader[_Blocks]) -> Iterator[bytes]:
    data = file.read(2)
    framed = data[0] & 0x0F == 8 and int.from_bytes(data) % 31 == 0
    stream = zlib.decompressobj(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)
    while not stream.eof:
        piece = stream.decompress(data, _PIECE)
        if piece:
            yield piece
        elif not data:
            raise EOFError
        data = stream.unconsumed_tail or file.read(_PIECE)
    if stream.unused_data or data:
        raise BadCoding("something follows its end")
