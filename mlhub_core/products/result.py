"""What came of writing a local STAC: a small value, without what it takes to write one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalStac:
    """A local STAC.

    Attributes:
        catalog: Its root, ``catalog.json``.
        items: Items in it.
        without_time: Items that are here and left out, for they have no time, as STAC asks.
        reused: Whether it was there already.
    """

    catalog: Path
    items: int
    without_time: int = 0
    reused: bool = False
