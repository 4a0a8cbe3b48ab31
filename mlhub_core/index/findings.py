"""What a pass over the archive finds out besides rows; that of two processes makes one.

Memory: 16 bytes an item, and 8 a file that is in the way of something, besides what grows with the
number of collections. Numbers are those of ``contents``, the same in all processes. Nothing here
depends on who read what: merged, it is what one process would have found.
"""

from __future__ import annotations

import zlib
from array import array
from collections import defaultdict
from collections.abc import Collection

import orjson

from mlhub_core.index.aside import Agreement
from mlhub_core.index.rows import Extent
from mlhub_core.index.save_paths import Claim
from mlhub_core.sources.remarks import Oddities

_ODDITIES_KEPT = 1000
_MAX_KEYS = 10_000
"""Asset keys listed per collection; a filter that names one is checked against the list."""


class Found:
    """What is counted of a collection."""

    def __init__(self) -> None:
        self.items = 0
        self.assets = 0
        self.keys: set[str] = set()

    def add(self, keys: Collection[str]) -> None:
        """Count assets and list their keys."""
        self.assets += len(keys)
        if len(self.keys) <= _MAX_KEYS:
            self.keys.update(keys)

    def merge(self, other: Found) -> None:
        """Add what somebody else counted."""
        self.items += other.items
        self.assets += other.assets
        if len(self.keys) <= _MAX_KEYS:
            self.keys |= other.keys

    @property
    def listed_keys(self) -> tuple[str, ...]:
        """Its asset keys; none where there are too many to list."""
        return tuple(sorted(self.keys)) if len(self.keys) <= _MAX_KEYS else ()


class Findings:
    """Filled by the reader, used to settle names when all has been read.

    Attributes:
        at: Which member of the archive is being read, by its number.
        oddities: In order of the archive.
        ignored: JSON files that are no part of the catalog.
        missing: What the catalog names and does not hold, or holds and cannot be read.
        linked: Which items and collections each catalog and collection links: its place among the
            members, its path, and hrefs as packed JSON.
        items: Items read.
        finished_rows: Rows that need not wait.
        collections: What is counted of each, by id.
        agreement: On common assets.
        extent: What the items span.
        item_keys: Of each item, the number of its directory.
        item_contents: Of each item, the number of what is in it.
        clashing_items: Collection, item and claims of those that share a directory.
        collection_claims: What the assets of collections claim, by collection.
        guessed: Directories that were taken for collections.
        held_files: Numbers of folded paths of files of the archive.
        held_directories: Numbers of folded paths of its directories.
    """

    def __init__(self) -> None:
        self.at = 0
        self.oddities = Oddities(_ODDITIES_KEPT)
        self.ignored = 0
        self.missing = 0
        self.linked: list[tuple[int, str, bytes]] = []
        self.items = 0
        self.finished_rows = 0
        self.collections: dict[str, Found] = defaultdict(Found)
        self.agreement = Agreement()
        self.extent = Extent()
        self.item_keys = array("q")
        self.item_contents = array("q")
        self.clashing_items: list[tuple[str, str, tuple[Claim, ...]]] = []
        self.collection_claims: dict[str, list[Claim]] = defaultdict(list)
        self.guessed: set[str] = set()
        self.held_files = array("q")
        self.held_directories = array("q")
        self._first_ignored: tuple[int, str] | None = None
        self._collection_ids: dict[str, tuple[int, str]] = {}

    @property
    def assets(self) -> int:
        """Assets read."""
        return sum(found.assets for found in self.collections.values())

    @property
    def first_ignored(self) -> str:
        """The first JSON file that is no part of the catalog."""
        return self._first_ignored[1] if self._first_ignored else ""

    @property
    def collection_ids(self) -> dict[str, str]:
        """Ids of collections by their directories; of several in one, that of the last."""
        return {directory: found for directory, (_, found) in self._collection_ids.items()}

    def begin(self, number: int) -> None:
        """Whatever comes next is of this member of the archive."""
        self.at = self.oddities.at = number

    def ignore(self, path: str) -> None:
        """Note a JSON file that is no part of the catalog."""
        self.ignored += 1
        self._first_ignored = self._first_ignored or (self.at, path)

    def lack(self, where: str, what: str) -> None:
        """Note something that the catalog names and that is not to be had."""
        self.missing += 1
        self.oddities.add(where, what)

    def link(self, path: str, hrefs: list[str]) -> None:
        """Note which items and collections a catalog or collection links.

        Whether they are there is known at the end only. Hrefs are alike: packed, they take a
        tenth, and no more than one file's are unpacked at a time.
        """
        if hrefs:
            self.linked.append((self.at, path, zlib.compress(orjson.dumps(hrefs), 1)))

    def name_collection(self, directory: str, collection_id: str) -> None:
        """Note which collection lies in a directory."""
        self._collection_ids[directory] = self.at, collection_id

    def merge(self, other: Findings) -> None:
        """Add what another process found in other members of the same archive."""
        self.oddities.merge(other.oddities)
        self.ignored += other.ignored
        self.missing += other.missing
        self.linked += other.linked
        first = [found for found in (self._first_ignored, other._first_ignored) if found]
        self._first_ignored = min(first, default=None)
        self.items += other.items
        self.finished_rows += other.finished_rows
        for collection_id, found in other.collections.items():
            self.collections[collection_id].merge(found)
        self.agreement.merge(other.agreement)
        self.extent.merge(other.extent)
        self.item_keys.extend(other.item_keys)
        self.item_contents.extend(other.item_contents)
        self.clashing_items += other.clashing_items
        for collection_id, claims in other.collection_claims.items():
            self.collection_claims[collection_id] += claims
        for directory, named in other._collection_ids.items():
            self._collection_ids[directory] = max(named, self._collection_ids.get(directory, named))
        self.guessed |= other.guessed
        self.held_files.extend(other.held_files)
        self.held_directories.extend(other.held_directories)
