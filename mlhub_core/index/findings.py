"""What a pass over a catalog finds out besides rows.

Memory: 24 bytes an item, 8 a file of the catalog and 8 more where it is in the way of something,
besides what grows with the number of collections. Paths and contents are compared by their hashes,
which are sorted or looked up by NumPy: a set would take 60 bytes each. Python draws the key of its
hashes anew for each process: nobody can make a catalog in which two of them are the same.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection
from itertools import compress
from typing import Any

import numpy as np
import orjson

from mlhub_core.index.hrefs import above_of, linked_paths
from mlhub_core.index.items import Item
from mlhub_core.index.places import Bounds
from mlhub_core.index.save_paths import Claim, Clashes, settle_collections
from mlhub_core.paths import COMMON_DIRECTORY, case_key
from mlhub_core.sources.members import Remarks

_REMARKS_KEPT = 1000
_MAX_KEYS = 10_000
"""Asset keys listed per collection; a filter that names one is checked against the list."""
_SAVE_DEPTH = 3
"""Components of the longest save path: ``collection/item/file``."""


class CollectionCount:
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

    @property
    def listed_keys(self) -> tuple[str, ...]:
        """Its asset keys; none where there are too many to list."""
        return tuple(sorted(self.keys)) if len(self.keys) <= _MAX_KEYS else ()


class Extent:
    """What the index as a whole spans, for its metadata.

    Attributes:
        kinds: Of geometries.
        bounds: Around everything; None where nothing has a place.
        boxes_agree: Whether the box of every item, as it gives it, is the one that covers it.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.bounds: Bounds | None = None
        self.boxes_agree = True

    def include(self, item: Item) -> None:
        """Widen it by an item."""
        if item.shape is not None:
            self.kinds.add(item.shape.kind)
        self.boxes_agree = self.boxes_agree and item.bbox == item.cover
        if item.cover is None:
            return
        if self.bounds is None:
            self.bounds = item.cover
            return
        west, south, east, north = self.bounds
        w, s, e, n = item.cover
        if w < west or s < south or e > east or n > north:
            self.bounds = min(west, w), min(south, s), max(east, e), max(north, n)


class Agreement:
    """Whether all items that have a common asset point at one file, in the dataset or a part."""

    def __init__(self) -> None:
        self._files: dict[tuple[str | None, str], str | None] = {}

    def note(self, collection_id: str, key: str, identity: str) -> None:
        """Note what one item says."""
        for scope in (None, collection_id):
            if self._files.setdefault((scope, key), identity) != identity:
                self._files[scope, key] = None

    def directory(self, collection_id: str, key: str, clashes: Clashes) -> str | None:
        """The ``_common`` directory that a common asset lies in; None for with its item."""
        if self._files.get((None, key)) is not None:
            return COMMON_DIRECTORY
        if self._files.get((collection_id, key)) is not None:
            return f"{clashes.collection_directory(collection_id)}/{COMMON_DIRECTORY}"
        return None


class Findings:
    """Filled while a catalog is read, used to settle names when all has been read.

    Attributes:
        remarks: In order of the catalog.
        ignored: JSON files that are no part of the catalog.
        first_ignored: The first of them.
        missing: What the catalog names and does not hold, or holds and cannot be read.
        items: Items read.
        collections: What is counted of each, by id.
        agreement: On common assets.
        extent: What the items span.
        item_keys: Of each item, see :func:`~mlhub_core.index.save_paths.item_key`.
        item_contents: Of each item, the hash of what is in it.
        clashing_items: Collection, item and claims of those that share a directory.
        collection_claims: What the assets of collections claim, by collection.
        collection_ids: Ids of collections by their directories; of several in one, the last.
        licenses: Of collections, by id; of those that give one.
        guessed: Directories that were taken for collections.
        files: Hashes of the paths of all files, and of what those beside the root are called there.
        above: Where directories above the root are, by what they are called from there.
        held_files: Hashes of folded paths of files that an asset's may come to.
        held_directories: Hashes of folded paths of directories, likewise.
    """

    def __init__(self) -> None:
        self.remarks = Remarks(_REMARKS_KEPT)
        self.ignored = 0
        self.first_ignored = ""
        self.missing = 0
        self.items = 0
        self.collections: dict[str, CollectionCount] = defaultdict(CollectionCount)
        self.agreement = Agreement()
        self.extent = Extent()
        self.item_keys = array("q")
        self.item_contents = array("q")
        self.clashing_items: list[tuple[str, str, tuple[Claim, ...]]] = []
        self.collection_claims: dict[str, list[Claim]] = defaultdict(list)
        self.collection_ids: dict[str, str] = {}
        self.licenses: dict[str, str] = {}
        self.guessed: set[str] = set()
        self.files = array("q")
        self.held_files = array("q")
        self.held_directories = array("q")
        self.above: dict[str, str] = {}
        self._beside = array("q")
        self._beyond = array("q")
        self._links: list[tuple[str, bytes]] = []

    @property
    def assets(self) -> int:
        """Assets read."""
        return sum(count.assets for count in self.collections.values())

    def ignore(self, path: str) -> None:
        """Note a JSON file that is no part of the catalog."""
        self.ignored += 1
        self.first_ignored = self.first_ignored or path

    def lack(self, where: str, what: str, count: int = 1) -> None:
        """Note something that the catalog names and that is not to be had, or several of it."""
        self.missing += count
        self.remarks.add(where, what)

    def link(self, path: str, hrefs: list[str]) -> None:
        """Note which items and collections a catalog or collection links.

        Whether they are there is known at the end only. Hrefs are alike: packed, they take a
        tenth, and no more than one file's are unpacked at a time.
        """
        if hrefs:
            self._links.append((path, zlib.compress(orjson.dumps(hrefs), 1)))

    def file(self, path: str, beyond: str) -> None:
        """Note a file of the catalog, and what it is called from the root if it lies beside it."""
        if not beyond:
            self.files.append(hash(path))
            return
        self._beside.append(hash(path))
        self._beyond.append(hash(beyond))
        up = above_of(beyond)
        self.above[up] = path.removesuffix(beyond.removeprefix(up))

    def hold(self, path: str) -> None:
        """Note what a file of the catalog may be in the way of.

        ``catalog.json`` and ``collection.json`` are on the lists of names that ids and keys never
        get, so the catalogs that keep the rules have nothing to note.
        """
        parts = case_key(path).split("/")
        if parts[-1] == ("catalog.json", "collection.json", "")[min(len(parts), _SAVE_DEPTH) - 1]:
            return
        if len(parts) <= _SAVE_DEPTH:
            self.held_files.append(hash("/".join(parts)))
        for depth in range(2, min(len(parts), _SAVE_DEPTH + 1)):
            self.held_directories.append(hash("/".join(parts[:depth])))

    def finish(self) -> None:
        """Note what is known only now that all has been read."""
        is_own = membership(self.files)
        apart = [not is_own(place) for place in self._beside]
        for names in (self._beside, self._beyond):
            self.files.extend(compress(names, apart))
        if not all(apart):
            count = apart.count(False)
            self.remarks.add(
                "", f"{count:,} files beside the root have the places of files below it"
            )
        self._note_absent()

    def clashes(self, before: Clashes) -> Clashes:
        """What the next pass has to know; equal to that before where nothing new came up."""
        ids = {
            directory: self.collection_ids[directory]
            for directory in self.guessed
            if directory in self.collection_ids
            and directory.rpartition("/")[2] != self.collection_ids[directory]
        }
        return Clashes(
            collection_names=settle_collections(self.collections, membership(self.held_files)),
            collection_ids=ids,
            clashing=before.clashing | self._clashing_items(),
            reserved=before.reserved,
        )

    def _clashing_items(self) -> frozenset[int]:
        """Keys that items with different ids or files share."""
        keys = np.frombuffer(self.item_keys, dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        repeated = keys[1:] == keys[:-1]
        if not repeated.any():
            return frozenset()
        contents = np.frombuffer(self.item_contents, dtype=np.int64)[order]
        different = repeated & (contents[1:] != contents[:-1])
        return frozenset(keys[1:][different].tolist())

    def _note_absent(self) -> None:
        """Note the items and collections that the catalog links and does not hold."""
        is_there = membership(self.files)
        told: set[str] = set()
        for path, packed in self._links:
            directory = path.rpartition("/")[0]
            for href in orjson.loads(zlib.decompress(packed)):
                candidates = linked_paths(href, directory)
                if not candidates or candidates[0] in told:
                    continue
                if not any(is_there(hash(candidate)) for candidate in candidates):
                    problem = "is not in the archive"
                elif not candidates[-1].lower().endswith((".json", ".geojson")):
                    problem = "is not called .json, and not read"
                else:
                    continue
                told.add(candidates[0])
                self.lack(path, f"links what {problem}: {href[:200]!r}")


def membership(hashes: array[int]) -> Callable[[int], bool]:
    """What a set of the hashes would test, in 8 bytes each instead of 60."""
    ordered = array("q", np.sort(np.frombuffer(hashes, dtype=np.int64)).tobytes())

    def is_member(wanted: int) -> bool:
        at = bisect_left(ordered, wanted)
        return at < len(ordered) and ordered[at] == wanted

    return is_member


def count_distinct(hashes: Any) -> int:
    """How many different ones there are."""
    return len(np.unique(np.frombuffer(hashes, dtype=np.int64)))
