"""The members of a catalog archive: where each may go on disk, and what is remarked about it.

One function makes a name safe, one says where it lies in the dataset's directory. Both say why
not, in words for people: a member that may go nowhere is worth a remark, and stops nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mlhub_core.paths import COMMON_DIRECTORY, case_key, is_ours, safe_name
from mlhub_core.redact import redact
from mlhub_core.sources.tar import Member, MemberKind, TarStream

_MAX_COMPONENT_BYTES = 255
_MAX_PATH_BYTES = 3800
"""Linux takes 4,096 for the whole path, of which the output directory needs some."""
_DRIVE = re.compile(r"[A-Za-z]:")

_TOPS = frozenset({"catalog.json", "collection.json"})
"""The file that everything else of a catalog hangs on."""
_MAX_TEXT = 300
"""Characters of one remark. Names and hrefs come from strangers and can be of any length."""


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

    A member below ``{dataset_id}/`` goes where it says, any other below the dataset's directory
    all the same: never next to it. An archive that begins with the dataset's own catalog has no
    such directory, and one of that name in it is a part of the catalog.

    Attributes:
        is_below: Whether the last member lay in ``{dataset_id}/``.

    Args:
        dataset_id: The dataset's id.
    """

    def __init__(self, dataset_id: str) -> None:
        self._roots = frozenset({dataset_id, safe_name(dataset_id)})
        self._is_begun = False
        self.is_below = False

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
        root, _, rest = name.partition("/")
        if not self._is_begun and name in _TOPS:
            self._roots = frozenset()
        self.is_below = root in self._roots
        self._is_begun = self._is_begun or self.is_below
        path = rest if self.is_below else name
        if not path:
            return "", "it stands where the dataset's directory goes"
        first, deeper, _ = path.partition("/")
        if is_ours(first):
            return "", "it stands where our own state goes"
        if first[0] == "_" and not deeper and case_key(first) == COMMON_DIRECTORY:
            return "", "it stands where the directory of common assets goes"
        return path, ""


class Placed(NamedTuple):
    """A file of an archive, and its place in the catalog's directory.

    Attributes:
        path: The place, relative to the directory.
        member: The file.
        is_beside: Whether it lies beside the directory in the archive.
    """

    path: str
    member: Member
    is_beside: bool


def files_in(stream: TarStream, dataset_id: str) -> Iterator[Placed]:
    """The files of an archive that have a place in the catalog's directory.

    Raises:
        CatalogError: if it cannot be read.
        StorageError: if the disk refuses.
        Interrupted: if the stream's stop flag is set.
    """
    placement = Placement(dataset_id)
    for member in stream:
        if member.kind is MemberKind.FILE:
            path, _ = placement.place(member.name)
            if path:  # of the others, whoever unarchives it tells
                yield Placed(path, member, not placement.is_below)


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
