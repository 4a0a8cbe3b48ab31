"""The members of a catalog archive: what one is, where it may go, and what is remarked about it.

One function makes a name safe, one says where it lies in the dataset's directory. Both say why
not, in words for people: a member that may go nowhere is worth a remark, and stops nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from mlhub_core.exceptions import ArchiveLimitExceeded
from mlhub_core.paths import COMMON_DIRECTORY, case_key, is_ours
from mlhub_core.redact import redact
from mlhub_core.settings import ArchiveLimits

_MAX_COMPONENT_BYTES = 255
_MAX_PATH_BYTES = 3800
"""Linux takes 4,096 for the whole path, of which the output directory needs some."""
_DRIVE = re.compile(r"[A-Za-z]:")

BEYOND = "%2E%2E"
"""A directory above that of the dataset, as a component of a path."""
_MAX_TEXT = 300
"""Characters of one remark. Names and hrefs come from strangers and can be of any length."""


class MemberKind(StrEnum):
    """What a member is; the value is what people read."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "named pipe"
    SPARSE = "sparse file"
    UNKNOWN = "member of unknown type"


class Member(NamedTuple):
    """One member of an archive.

    Attributes:
        name: As the archive has it. Never use it as a path; see :func:`relative_name`.
        kind: What it is.
        size: Bytes of its data.
    """

    name: str
    kind: MemberKind
    size: int


class MemberStream(Protocol):
    """The members of an archive, one after the other, in bounded memory."""

    @property
    def path(self) -> Path:
        """The archive."""

    @property
    def limits(self) -> ArchiveLimits:
        """Caps."""

    def __enter__(self) -> Self:
        """Begin; the archive is closed at the end of the block."""

    def __exit__(self, *error: object) -> None:
        """Close the archive."""

    def __iter__(self) -> Iterator[Member]:
        """Go through the members.

        Raises:
            ArchiveCorrupt: if the archive is broken off, damaged, or none.
            ArchiveLimitExceeded: if it holds more than the caps allow.
            StorageError: if it cannot be read.
            Interrupted: if the stop flag is set.
        """

    def read(self) -> bytes:
        """All that is left of the data of the current member. Look at its size first."""

    def pieces(self) -> Iterator[bytes]:
        """The data of the current member, a piece at a time."""


def relative_name(raw: str) -> tuple[str, str]:
    """Turn the name of a member into a relative POSIX path that stays where it is put.

    Args:
        raw: The name as the archive has it.

    Returns:
        ``(name, "")``, or ``("", why)`` where there is no such path. The name has no empty, ``.``
        or ``..`` component.
    """
    if not raw:
        return "", "it has no name"
    if raw[0] == "/":
        return "", "its path is absolute"
    if "\0" in raw:
        return "", "its name holds a NUL"
    if "\\" in raw:
        return "", "its name holds a backslash, which separates directories on Windows"
    if _DRIVE.match(raw):
        return "", "its path starts with a drive letter"
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if ".." in parts:
        return "", "its path leaves the directory"
    if not parts:
        return "", "its path names no file"
    try:
        lengths = [len(part.encode("utf-8")) for part in parts]
    except UnicodeEncodeError:
        return "", "its name is not UTF-8"
    if max(lengths) > _MAX_COMPONENT_BYTES or sum(lengths) + len(parts) - 1 > _MAX_PATH_BYTES:
        return "", "its name is longer than file systems take"
    return "/".join(parts), ""


class Placement:
    """Where members lie in the dataset's directory.

    A member below the root of the catalog goes where it says from there on, any other below the
    dataset's directory all the same, with all of its path: never next to it.

    Attributes:
        beyond: What the last member is called from the root, where it lies beside it; else empty.

    Args:
        folder: The root's folder in the archive; empty for the top.
    """

    def __init__(self, folder: str) -> None:
        self._within = f"{folder}/" if folder else ""
        self._parts = folder.split("/") if folder else []
        self.beyond = ""

    def place(self, raw: str) -> tuple[str, str]:
        """Find the place of a file.

        Args:
            raw: The name of the member as the archive has it.

        Returns:
            ``(path, "")`` with a path relative to the dataset's directory, or ``("", why)``.
        """
        name, why = relative_name(raw)
        if why:
            return "", why
        if f"{name}/" == self._within:
            return "", "it stands where the dataset's directory goes"
        is_below = name.startswith(self._within)
        path = name[len(self._within) :] if is_below else name
        self.beyond = "" if is_below else self._seen(name)
        first, deeper, _ = path.partition("/")
        if is_ours(first):
            return "", "it stands where our own state goes"
        if first[0] == "_" and not deeper and case_key(first) == COMMON_DIRECTORY:
            return "", "it stands where the directory of common assets goes"
        return path, ""

    def _seen(self, name: str) -> str:
        parts = name.split("/")
        shared = 0
        for mine, theirs in zip(self._parts, parts[:-1], strict=False):
            if mine != theirs:
                break
            shared += 1
        return "/".join([BEYOND] * (len(self._parts) - shared) + parts[shared:])


def too_many(path: Path, limits: ArchiveLimits) -> ArchiveLimitExceeded:
    """The error for an archive of more members than it may have; the caller raises it."""
    return ArchiveLimitExceeded(
        f"{path} holds more than {limits.max_members:,} members: if you trust it, "
        "raise ArchiveLimits.max_members (--max-members)."
    )


def shown(text: object) -> str:
    """A name or href as it may be shown: no secrets, no control characters, not too long."""
    plain = redact(text)
    if len(plain) > _MAX_TEXT // 2:
        plain = plain[: _MAX_TEXT // 2] + "…"
    return repr(plain)


def lacking(count: int) -> str:
    """How much of what a catalog names is not to be had, as a clause."""
    if count == 1:
        return "1 item, collection or asset that the catalog names is not in it or cannot be read"
    return (
        f"{count:,} items, collections or assets that the catalog names are not in it or cannot "
        "be read"
    )


class Remarks:
    """The first remarks on what a catalog does and should not, and how many there were.

    A catalog full of them does not fill the memory.

    Attributes:
        count: How many there were.

    Args:
        keep: How many are kept.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._first: list[str] = []
        self.count = 0

    def add(self, where: str, what: str) -> None:
        """Note one.

        Args:
            where: The file of the catalog.
            what: What is wrong with it.
        """
        self.count += 1
        if len(self._first) < self._keep:
            self._first.append(f"{shown(where)}: {redact(what)[:_MAX_TEXT]}")

    @property
    def first(self) -> tuple[str, ...]:
        """The ones that were kept, oldest first."""
        return tuple(self._first)
