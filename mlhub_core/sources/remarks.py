"""Remarks on what a catalog does and should not, and that stops nothing.

They are counted, and only the first ones are kept, so that a catalog full of them does not fill
the memory.
"""

from __future__ import annotations

from mlhub_core.redact import redact

_MAX_TEXT = 300
"""Characters of one remark. Names and hrefs come from strangers and can be of any length."""


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
    """The first remarks, and how many there were.

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
