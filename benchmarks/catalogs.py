"""Writes a catalog archive of any size, straight into the ``tar.gz``.

    python -m benchmarks.catalogs --manner bigearthnet --items 50002 --output catalog.tar.gz

Nothing but the item at hand is in memory, and no tree is on disk. Headers are those of GNU tar,
which the hub's archives were made with: an entry per directory, and long names in members of their
own.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from benchmarks.manners import MANNERS

_BLOCK = 512
_CHUNK = 1024 * 1024
_NAME = 100
_MTIME = 1_651_000_000


class Written(NamedTuple):
    """What an archive holds: items, assets, and its size unpacked and packed."""

    items: int
    assets: int
    unpacked: int
    packed: int


def write_catalog(output: Path, manner: str, items: int, level: int = 6) -> Written:
    """Write an archive.

    Args:
        output: The file.
        manner: One of ``MANNERS``.
        items: How many items; of a time series, the whole chips that fit.
        level: Of the compression; 6 is what ``tar czf`` does.
    """
    found = assets = 0
    with output.open("wb") as file:
        tar = _Tar(file, level)
        directories: set[str] = set()
        for document in MANNERS[manner](items):
            parent = document.path.rpartition("/")[0]
            # A catalog's items come in order: only the directories above them come up again.
            for end in [at for at, char in enumerate(parent) if char == "/"]:
                if parent[:end] not in directories:
                    directories.add(parent[:end])
                    tar.directory(parent[:end])
            if parent not in directories:
                tar.directory(parent)
                if parent.count("/") < 2:
                    directories.add(parent)
            tar.file(document.path, orjson.dumps(document.content, option=orjson.OPT_INDENT_2))
            found += document.content["type"] == "Feature"
            assets += document.assets
        tar.close()
        return Written(found, assets, tar.unpacked, file.tell())


class _Tar:
    def __init__(self, file: BinaryIO, level: int) -> None:
        self._file = file
        self._packer = zlib.compressobj(level, wbits=16 + zlib.MAX_WBITS)
        self._parts: list[bytes] = []
        self._held = 0
        self.unpacked = 0

    def directory(self, path: str) -> None:
        self._member(f"{path}/", b"", b"5", 0o755)

    def file(self, path: str, data: bytes) -> None:
        self._member(path, data, b"0", 0o644)

    def close(self) -> None:
        self._put(bytes(2 * _BLOCK))
        self._put(bytes(-self.unpacked % (20 * _BLOCK)))
        self._flush()
        self._file.write(self._packer.flush())

    def _member(self, path: str, data: bytes, flag: bytes, mode: int) -> None:
        name = path.encode()
        if len(name) >= _NAME:
            long = name + b"\0"
            self._put(_header(b"././@LongLink", len(long), b"L", 0o644, 0))
            self._data(long)
        self._put(_header(name[:_NAME], len(data), flag, mode, _MTIME))
        self._data(data)

    def _data(self, data: bytes) -> None:
        self._put(data + bytes(-len(data) % _BLOCK))

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)
        self.unpacked += len(data)
        if self._held >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._packer.compress(b"".join(self._parts)))
        self._parts.clear()
        self._held = 0


def _header(name: bytes, size: int, flag: bytes, mode: int, mtime: int) -> bytes:
    def octal(value: int, digits: int) -> bytes:
        return b"%0*o\0" % (digits, value)

    before = name.ljust(_NAME, b"\0") + octal(mode, 7) + octal(1000, 7) * 2
    before += octal(size, 11) + octal(mtime, 11)
    after = flag + bytes(100) + b"ustar  \0" + b"mlhub".ljust(32, b"\0") * 2 + bytes(183)
    total = sum(before) + sum(after) + 8 * ord(" ")
    return before + b"%06o\0 " % total + after


def main() -> int:
    """Write what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogs", description=__doc__)
    parser.add_argument("--manner", choices=MANNERS, default="bigearthnet")
    parser.add_argument("--items", type=int, default=50_002, metavar="N", help="default: 50002")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--level", type=int, default=6, help="of gzip; default: 6")
    options = parser.parse_args()
    done = write_catalog(options.output, options.manner, options.items, options.level)
    print(
        f"{options.output}: {done.items:,} items, {done.assets:,} assets, "
        f"{done.packed / 1e6:,.1f} MB packed, {done.unpacked / 1e6:,.1f} MB unpacked"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
