"""The filter on properties: a condition, asked once for each different text of properties."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from mlhub_core.selection.rowgroup import RowGroup
from mlhub_core.selection.where import parse_where

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_OF_ITEM = frozenset({"id", "collection"})
"""Names that stand for something of the item that is not among its properties."""


class WithProperties:
    """Rows whose item's properties fulfil a condition.

    Args:
        where: The condition, CQL2 text.
    """

    name = "after the where filter"
    about_items = True

    def __init__(self, where: str) -> None:
        self._condition = parse_where(where)
        self._by_item = bool(self._condition.names & _OF_ITEM)
        self._unseen = set(self._condition.names - _OF_ITEM)
        self._known: set[str] = set()

    def verdict(self, group: RowGroup) -> bool | None:
        """Statistics say nothing of properties."""
        return None

    def column(self, group: RowGroup) -> str | None:
        """The properties."""
        return "properties"

    def mask(self, group: RowGroup, among: Mask) -> tuple[Mask, Mask | None]:
        """Equal properties are looked at once; with ``id`` or ``collection``, each item is."""
        rows = np.flatnonzero(among & group.is_item)
        properties = group.coded("properties")
        mask = np.zeros(group.rows, bool)
        kinds = properties.codes[rows] + 1
        if self._by_item:
            owners = group.owners
            kinds = kinds * len(owners.items) + owners.numbers[rows]
        _, first, places = np.unique(kinds, return_index=True, return_inverse=True)
        hits = np.zeros(len(first), bool)
        for at, row in enumerate(rows[first].tolist()):
            code = properties.codes[row]
            found = _parsed(properties.values[code]) if code >= 0 else {}
            if self._unseen:
                self._note(found)
            if self._by_item:
                collection_id, item_id = group.item(int(group.owners.numbers[row]))
                found = {"id": item_id, "collection": collection_id, **found}
            hits[at] = self._condition.holds(found) is True
        mask[rows] = hits[places]
        return mask, None

    def _note(self, found: dict[str, Any]) -> None:
        self._unseen.difference_update(found)
        if len(self._known) < 1000:
            self._known.update(found)

    def complaint(self) -> str:
        """What to say when nothing matched: names that no item has, and what they may have been."""
        said = ""
        for name in sorted(self._unseen) if self._known else ():
            near = difflib.get_close_matches(name, self._known, n=2)
            hint = f": did you mean {' or '.join(map(repr, near))}?" if near else "."
            said += f" No item has a property {name!r}{hint}"
        return said


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
