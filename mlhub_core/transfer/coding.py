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

import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from mlhub_core.exceptions import StorageError
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.net.resume import DECODED, PACKED, UNKNOWN_CODING
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.body import Body, digest_file
from mlhub_core.transfer.checks import OTHER_BYTES
from mlhub_core.transfer.contents import cause_against, suffix_of
from mlhub_core.transfer.failures import Failure

if TYPE_CHECKING:
    from zlib import _Decompress

_MAGIC = b"\x1f\x8b"
_BEGIN = 8
_ARROW = {"br": "brotli", "bzip2": "bz2", "zstd": "zstd"}
_GZIP = 16 + zlib.MAX_WBITS
_DEFLATE = {"zlib": zlib.MAX_WBITS, "raw": -zlib.MAX_WBITS}
_PIECE = 1024 * 1024
"""Plain bytes made at a time, however few coded ones they come from."""
_FREE = 1024 * 1024 * 1024
_MOST_TIMES = 200
"""Plain bytes may be 1 GiB, or so many times the coded ones if that is more: masks of nothing but
zeros shrink a thousandfold, and so do files made to fill disks."""


class BadCoding(ValueError):
    """Coded bytes that do not come to a file, in words."""


class TooMuch(BadCoding):
    """More plain bytes than there may be."""


def settle_coding(
    body: Body, coding: str, asset: Asset, check: Callable[[], None], host: str
) -> Body | Failure:
    """Decide by the table above what the file is.

    Args:
        body: All coded bytes; discarded when the plain ones take its place.
        coding: As :func:`~mlhub_core.net.response.parse_codings` names it.
        asset: What the catalog says.
        check: Called between pieces; raises to stop.
        host: For the failure.

    Returns:
        The body of the file, or why there is none.

    Raises:
        StorageError: if the disk refuses.
    """
    wanted = _Wanted(asset.file_size, parse_checksum(asset.checksum))
    if wanted.told and wanted.is_met(body, check):
        return body
    packed, magic = PACKED.get(coding, ((), b""))
    packed_alike = suffix_of(asset.save_path) in packed
    if coding not in DECODED:
        if packed_alike and not wanted.told:
            return body
        return Failure(UNKNOWN_CODING, f"Content-Encoding {coding}", host=host)
    algorithms = [wanted.checksum[0]] if wanted.checksum else []
    plain = Body(f"{body.path.removesuffix('.part')}.plain.part", algorithms)
    try:
        begin = _decode(body, plain, coding, asset.file_size, check)
        if wanted.told:
            failure = None if wanted.is_met(plain, check) else wanted.failure(body, plain, host)
        elif not plain.size and (cause := cause_against(plain.answer(None), asset)):
            failure = Failure(cause, "once decoded", host=host)
        elif packed_alike and not (magic and begin.startswith(magic)):
            plain.discard()
            return body
        else:
            failure = None
    except TooMuch as error:
        cause = "compressed though not asked for, and damaged"
        if wanted.size is not None:
            cause = "another size than in the catalog"
        failure = Failure(cause, str(error), host=host)
    except BadCoding as error:
        failure = Failure("compressed though not asked for, and damaged", str(error), host=host)
    except BaseException:
        plain.discard()
        raise
    if failure is not None:
        plain.discard()
        return failure
    body.discard()
    return plain


class _Wanted(NamedTuple):
    """What the catalog says of the file."""

    size: int | None
    checksum: tuple[str, str] | None

    @property
    def told(self) -> bool:
        return self.size is not None or self.checksum is not None

    def is_met(self, body: Body, check: Callable[[], None]) -> bool:
        if self.size is not None and body.size != self.size:
            return False
        if self.checksum is None:
            return True
        algorithm, expected = self.checksum
        digest = body.digest(algorithm)
        if digest is None:
            body.close()
            digest = digest_file(body.path, [algorithm], check)[algorithm]
        return digest == expected

    def failure(self, body: Body, plain: Body, host: str) -> Failure:
        if self.size is not None and self.size not in (body.size, plain.size):
            came = f"{body.size} came, {plain.size} decoded"
            detail = f"{self.size} bytes in the catalog, {came}"
            return Failure("another size than in the catalog", detail, host=host)
        assert self.checksum is not None
        detail = f"{' '.join(self.checksum)} expected, of the bytes as sent or decoded"
        return Failure(OTHER_BYTES, detail, host=host)


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
    for piece in _decoded(coded, coding):
        size += len(piece)
        if size > most:
            raise TooMuch(f"more than {most} bytes come out")
        yield piece


def _decoded(coded: Iterable[bytes], coding: str) -> Iterator[bytes]:
    if coding in _ARROW:
        yield from _by_arrow(coded, _ARROW[coding])
        return
    decoder = _Decoder(coding)
    for block in coded:
        yield from decoder.feed(block)
    decoder.finish()


class _Reader(io.RawIOBase):
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


def _by_arrow(coded: Iterable[bytes], codec: str) -> Iterator[bytes]:
    """Decode with what Arrow brings along."""
    import pyarrow as pa

    with io.BufferedReader(_Reader(coded), _PIECE) as file:
        if not file.peek(1):  # of nothing at all, nothing is the plain form
            return
        try:
            with pa.CompressedInputStream(file, codec) as stream:
                while piece := stream.read(_PIECE):
                    yield piece
        except pa.ArrowInvalid as error:
            raise BadCoding(str(error)) from error
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise BadCoding(str(error)) from error


class _Decoder:
    """One stream after the other, as far as there are any."""

    def __init__(self, coding: str) -> None:
        self._gzip = coding == "gzip"
        self._head = b""
        """What came before it is known which kind of stream it is."""
        self._stream: _Decompress | None = None
        self._untouched = True
        self._ended = False
        """Whether one stream at least is whole, and none is begun."""

    def feed(self, block: bytes) -> Iterator[bytes]:
        data = self._head + block
        self._untouched = self._untouched and not data
        self._head = b""
        waiting = False
        """Whether zlib has taken bytes in whose plain ones it had no room for."""
        while data or waiting:
            if self._stream is None:
                data = self._begin(data)
                continue
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                raise BadCoding(str(error)) from error
            if piece:
                yield piece
            if self._stream.eof:
                data, waiting = self._stream.unused_data, False
                self._stream = None
                self._ended = True
            else:
                data, waiting = self._stream.unconsumed_tail, len(piece) == _PIECE

    def _begin(self, data: bytes) -> bytes:
        if self._ended and not data.strip(b"\0"):
            return b""  # padding
        if len(data) < 2:
            self._head = data
            return b""
        if self._ended and not (self._gzip and data[:2] == _MAGIC):
            raise BadCoding("something follows its end")
        self._ended = False
        if self._gzip:
            self._stream = zlib.decompressobj(_GZIP)
        else:
            framed = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._stream = zlib.decompressobj(_DEFLATE["zlib" if framed else "raw"])
        return data

    def finish(self) -> None:
        if self._untouched:  # of nothing at all, nothing is the plain form
            return
        if self._stream is not None or self._head or not self._ended:
            raise BadCoding("it ends too early")


def _decode(
    body: Body, plain: Body, coding: str, size: int | None, check: Callable[[], None]
) -> bytes:
    """Write the plain bytes; returns the first few of them."""
    most = max(_FREE, _MOST_TIMES * body.size) if size is None else size
    begin = b""
    for piece in plain_pieces(body.pieces(check), coding, most):
        check()
        if len(begin) < _BEGIN:
            begin = (begin + piece)[:_BEGIN]
        plain.write((piece,))
    return begin
