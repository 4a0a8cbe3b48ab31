"""One pass over the archive: its items become rows, and what they clash with is noted.

Memory: 16 bytes an item and 8 a file of the archive, as hashes, besides the batch at hand and what
grows with the number of collections.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Collection
from functools import partial

from mlhub_core.catalog.aside import Agreement
from mlhub_core.catalog.documents import JsonObject, Sort, parse_document
from mlhub_core.catalog.hrefs import Relative
from mlhub_core.catalog.index_file import IndexFile
from mlhub_core.catalog.items import (
    AssetEntry,
    ItemEntry,
    read_assets,
    read_collection_id,
    read_item_head,
)
from mlhub_core.catalog.members import Placement
from mlhub_core.catalog.oddities import Oddities, shown
from mlhub_core.catalog.plain import (
    AssetKind,
    Look,
    Pattern,
    PlainAssets,
    pattern_of,
    plain_assets,
)
from mlhub_core.catalog.rows import Extent, known_href
from mlhub_core.catalog.savepaths import (
    Claim,
    Plan,
    claim_of,
    fold,
    item_key,
    settle,
    taken_in_item,
)
from mlhub_core.catalog.tarheader import Kind
from mlhub_core.catalog.tarstream import Member, TarStream
from mlhub_core.catalog.waiting import Owner, Waiting
from mlhub_core.exceptions import ArchiveLimitExceeded
from mlhub_core.layout import COMMON_ASSET_KEYS, COMMON_DIRECTORY, item_name
from mlhub_core.settings import ArchiveLimits

_ODDITIES_KEPT = 1000
_MAX_KEYS = 10_000
"""Asset keys listed per collection; a filter that names one is checked against the list."""
_MAX_PATTERNS = 10_000
"""Remembered; catalogs have a few, unless each item has asset keys of its own."""
_PLAIN_ID = re.compile(r"[a-zA-Z0-9_-]{5,200}")
"""Ids that are directory names as they are: none as short as the devices of Windows."""
_SAVE_DEPTH = 3
"""Components of the longest save path: ``collection/item/file``."""


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

    @property
    def listed_keys(self) -> tuple[str, ...]:
        """Its asset keys; none where there are too many to list."""
        return tuple(sorted(self.keys)) if len(self.keys) <= _MAX_KEYS else ()


class Scan:
    """Collects what one pass finds.

    Args:
        dataset_id: The dataset's id.
        plan: What earlier passes found out.
        out: Where rows go.
        limits: Caps.
    """

    def __init__(self, dataset_id: str, plan: Plan, out: IndexFile, limits: ArchiveLimits) -> None:
        self._plan = plan
        self._out = out
        self._limits = limits
        self._placement = Placement(dataset_id)
        self.oddities = Oddities(_ODDITIES_KEPT)
        self.ignored = 0
        self.first_ignored = ""
        self.items = 0
        self.finished_rows = 0
        self.collections: dict[str, Found] = defaultdict(Found)
        self.agreement = Agreement()
        self.extent = Extent()
        self.item_keys = array("q")
        self.item_contents = array("q")
        self.clashing_items: list[tuple[str, str, tuple[Claim, ...]]] = []
        self.collection_claims: dict[str, list[Claim]] = defaultdict(list)
        self.collection_ids: dict[str, str] = {}
        self.guessed: set[str] = set()
        self.files = array("q")
        self.held_files = array("q")
        self.held_directories = array("q")
        self._patterns: dict[tuple[Look, ...], Pattern | None] = {}

    def member(self, stream: TarStream, member: Member) -> None:
        """Take one member of the archive."""
        if member.kind is not Kind.FILE:
            return
        path, why = self._placement.place(member.name)
        if why:
            return  # unarchive names it
        self.files.append(hash(path))
        own = False
        lower = path[-8:].lower()
        if lower.endswith((".json", ".geojson")) and self._fits_in_memory(member, path, lower):
            own = self._document(stream.read(), path)
        if not own:
            self._hold(path)

    def _fits_in_memory(self, member: Member, path: str, lower: str) -> bool:
        if member.size <= self._limits.max_json_bytes:
            return True
        if lower.endswith(".geojson"):
            self.oddities.add(path, f"not read: {member.size:,} bytes are too many for an item")
            return False
        raise ArchiveLimitExceeded(
            f"{shown(path)} of the archive has {member.size:,} bytes of JSON: if you trust it, "
            "raise ArchiveLimits.max_json_bytes (--max-json-bytes)."
        )

    def _document(self, data: bytes, path: str) -> bool:
        """Read a JSON file; True for an item's in the directory that its assets go to."""
        document = parse_document(data, path)
        if document.sort is Sort.ITEMS:
            own = [self._item(item, path, at) for at, item in enumerate(document.objects)]
            return own == [True]
        if document.sort is Sort.COLLECTION:
            self._collection(document.objects[0], path)
        elif document.sort is Sort.BROKEN:
            self.oddities.add(path, "it is not JSON, in spite of its name")
            self._ignore(path)
        elif document.sort is Sort.OTHER and path.lower().endswith(".json"):
            self._ignore(path)
        return False

    def _ignore(self, path: str) -> None:
        self.ignored += 1
        self.first_ignored = self.first_ignored or path

    def _collection(self, collection: JsonObject, path: str) -> None:
        complain = partial(self.oddities.add, path)
        collection_id = read_collection_id(collection, path, complain)
        directory = path.rpartition("/")[0]
        self.collection_ids[directory] = collection_id
        assets = read_assets(collection, directory, complain)
        self.collections[collection_id].add([asset.key for asset in assets])
        owner = Owner(collection_id, None)
        for asset in assets:
            claim = _claim(asset)
            self.collection_claims[collection_id].append(claim)
            self._out.aside.add(owner, asset, "", Waiting(None, claim, unsettled=True))
        self._out.flush_full()

    def _item(self, raw: JsonObject, path: str, number: int) -> bool:
        complain = partial(self.oddities.add, path)
        item = read_item_head(raw, path, complain, number)
        if item.collection_directory is not None:
            self.guessed.add(item.collection_directory)
            known = self._plan.collection_ids.get(item.collection_directory)
            if known is not None:
                item = item._replace(collection_id=known)
        self.items += 1
        self.extent.include(item)
        collection = self.collections[item.collection_id]
        collection.items += 1
        name = _directory_name(item.item_id)
        key = item_key(item.collection_id, name)
        self.item_keys.append(key)
        directory = self._plan.item_directory(
            self._plan.collection_directory(item.collection_id), name
        )
        plain = plain_assets(raw)
        pattern = None if plain is None else self._pattern(plain.looks)
        if plain is not None and pattern is not None and self._is_alone(item, key, pattern, path):
            self._note(item, frozenset(zip(pattern.claims, plain.hrefs, strict=True)))
            collection.add(pattern.keys)
            self._add_plain(item, directory, plain, pattern)
        else:
            parent = path.rpartition("/")[0]
            item = item._replace(assets=read_assets(raw, parent, complain))
            collection.add([asset.key for asset in item.assets])
            self._add_any(item, directory, key, path)
        self._out.flush_full()
        return path.rpartition("/")[0] == directory

    def _pattern(self, looks: tuple[Look, ...]) -> Pattern | None:
        try:
            return self._patterns[looks]
        except KeyError:
            if len(self._patterns) >= _MAX_PATTERNS:
                self._patterns.clear()
            found = self._patterns[looks] = pattern_of(looks)
            return found
        except TypeError:  # a media type or role that is no text, but a list
            return None

    def _is_alone(self, item: ItemEntry, key: int, pattern: Pattern, path: str) -> bool:
        """Whether an item's assets get the names that they want, whatever else there is."""
        if key in self._plan.clashing or self._plan.reserved:
            return False
        if not pattern.json_names:
            return True
        own = path.rpartition("/")[2]
        held = (fold(_directory_name(item.item_id) + ".json"), fold(own))
        return pattern.json_names.isdisjoint(held)

    def _note(self, item: ItemEntry, claims: frozenset[tuple[tuple[str, str], str]]) -> None:
        """Note what tells an item from another one that wants the same directory."""
        self.item_contents.append(hash((item.item_id, claims)))

    def _add_plain(
        self, item: ItemEntry, directory: str, plain: PlainAssets, pattern: Pattern
    ) -> None:
        if not plain.hrefs:
            return
        self._out.ready.add(
            item, directory, pattern.kinds, plain.hrefs, plain.sizes, plain.checksums
        )
        self.finished_rows += len(plain.hrefs)

    def _add_any(self, item: ItemEntry, directory: str, key: int, path: str) -> None:
        """Add an item that may need anything: names settled, rows set aside."""
        claims = tuple(map(_claim, item.assets))
        self._note(item, frozenset(((claim.key, claim.suffix), claim.identity) for claim in claims))
        if key in self._plan.clashing:
            self.clashing_items.append((item.collection_id, item.item_id, claims))
            self.oddities.add(path, "it shares its directory with another item")
            self._add(item, claims, None, directory)
        else:
            self._add(item, claims, self._names(item, claims, directory, path), directory)

    def _names(
        self, item: ItemEntry, claims: tuple[Claim, ...], directory: str, path: str
    ) -> list[str]:
        """The file names of an item that is alone in its directory."""
        is_taken = taken_in_item(directory, item.item_id, self._plan, path)
        names = [claim.name for claim in claims]
        folded = {fold(name) for name in names}
        if len(folded) == len(names) and not any(map(is_taken, names)):
            return names
        settled = settle(claims, is_taken)
        for claim in claims:
            if settled[claim] != claim.name:
                self.oddities.add(
                    path, f"asset {claim.key[:80]!r} is saved as {settled[claim][:80]!r}"
                )
        return [settled[claim] for claim in claims]

    def _add(
        self,
        item: ItemEntry,
        claims: tuple[Claim, ...],
        names: list[str] | None,
        directory: str,
    ) -> None:
        """Add the rows of an item, to those that are finished or to those that wait."""
        # Assets that share a path are one file: counted once, with all others that wait.
        wait_all = names is None or len(set(names)) < len(names)
        ready: list[tuple[AssetEntry, str]] = []
        owner = Owner(item.collection_id, item)
        for number, (asset, claim) in enumerate(zip(item.assets, claims, strict=True)):
            common_name = None
            if asset.key in COMMON_ASSET_KEYS:
                common_name = claim.name
                self.agreement.note(item.collection_id, asset.key, claim.identity)
            name = "" if names is None else names[number]
            if common_name is not None or wait_all or isinstance(asset.href, Relative):
                waiting = Waiting(common_name, claim, unsettled=names is None)
                path = f"{directory}/{name}" if name else ""
                self._out.aside.add(owner, asset, path, waiting)
            else:
                ready.append((asset, name))
        if ready:
            self._out.ready.add(
                item,
                directory,
                tuple(
                    AssetKind(one.key, one.media_type, tuple(one.roles), name)
                    for one, name in ready
                ),
                [known_href(one) for one, _ in ready],
                [one.file_size for one, _ in ready],
                [one.checksum for one, _ in ready],
            )
            self.finished_rows += len(ready)

    def _hold(self, path: str) -> None:
        """Note what a file of the archive may be in the way of.

        ``catalog.json`` and ``collection.json`` are on the lists of names that ids and keys never
        get, so the archives that keep the rules have nothing to note.
        """
        parts = fold(path).split("/")
        if parts[-1] == ("catalog.json", "collection.json", "")[min(len(parts), _SAVE_DEPTH) - 1]:
            return
        if len(parts) <= _SAVE_DEPTH:
            self.held_files.append(hash("/".join(parts)))
        for depth in range(2, min(len(parts), _SAVE_DEPTH + 1)):
            self.held_directories.append(hash("/".join(parts[:depth])))


def _directory_name(item_id: str) -> str:
    """``layout.item_name``, quicker for plain ids."""
    if _PLAIN_ID.fullmatch(item_id) and item_id.lower() != COMMON_DIRECTORY:
        return item_id
    return item_name(item_id)


def _claim(asset: AssetEntry) -> Claim:
    return claim_of(asset.key, asset.written_href, asset.media_type, asset.identity)
