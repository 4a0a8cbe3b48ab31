"""Which reader an archive takes: its first bytes say it, not its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlhub_core.exceptions import StorageError
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.members import MemberStream
from mlhub_core.sources.packed import MAGIC_BYTES, is_packed
from mlhub_core.sources.tar import TarStream
from mlhub_core.sources.zip import ZipMembers
from mlhub_core.threads import StopFlag

_ZIPS = (b"PK\3\4", b"PK\5\6")
"""How a zip begins; one without members begins with its end."""
_TAR_HEAD = 512
_TAR_MAGIC = slice(257, 262), b"ustar"


def open_archive(
    path: Path,
    limits: ArchiveLimits,
    *,
    stop: StopFlag | None = None,
    on_read: Callable[[int], None] = lambda _: None,
) -> MemberStream:
    """The members of an archive.

    Args:
        path: The archive.
        limits: Caps against archives made to do harm.
        stop: Looked at while reading.
        on_read: Called with the packed bytes read so far, a few times a MiB.

    Raises:
        ArchiveCorrupt: if it is none.
        StorageError: if it cannot be opened.
    """
    if _head(path, MAGIC_BYTES).startswith(_ZIPS):
        return ZipMembers(path, limits, stop=stop, on_read=on_read)
    return TarStream(path, limits, stop=stop, on_read=on_read)


def looks_like_archive(path: Path) -> bool:
    """Whether a file that is there begins as an archive does, whatever it is called."""
    try:
        head = _head(path, _TAR_HEAD)
    except StorageError:
        return False
    where, magic = _TAR_MAGIC
    return head.startswith(_ZIPS) or is_packed(head) or head[where] == magic


def _head(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise StorageError(f"Cannot open {path}: {error.strerror or error}.") from error
