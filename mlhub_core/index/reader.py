"""From the JSON files of the archive to rows and findings, in whatever process it runs."""

from __future__ import annotations

import re
from functools import partial

from mlhub_core.index.collecting import Rows
from mlhub_core.index.contents import number_of
from mlhub_core.index.findings import Findings
from mlhub_core.index.hrefs import Relative
from mlhub_core.index.items import (
    AssetEntry,
    ItemEntry,
    as_told,
    both_updated,
    links_of,
    read_assets,
    read_collection_id,
    read_item_head,
)
from mlhub_core.index.patterns import Patterns
from mlhub_core.index.plain import AssetKind, Pattern, PlainAssets, claims_text, content_text
from mlhub_core.index.rows import known_href
from mlhub_core.index.save_paths import Claim, Plan, claim_of, settle, taken_in_item
from mlhub_core.index.waiting import Owner, Waiting
from mlhub_core.layout import COMMON_ASSET_KEYS, COMMON_DIRECTORY, case_key, item_name
from mlhub_core.sources.documents import JsonObject, Sort, parse_document

_PLAIN_ID = re.compile(r"[a-zA-Z0-9_-]{5,200}")
"""Ids that are directory names as they are: none as short as the devices of Windows."""
_SAVE_DEPTH = 3
"""Components of the longest save path: ``collection/item/file``."""


class Reader:
    """Reads one JSON file after the other.

    Args:
        plan: What earlier passes found out.
        rows: Where rows go.
    """

    def __init__(self, plan: Plan, rows: Rows) -> None:
        self._plan = plan
        self._rows = rows
        self._patterns = Patterns()
        self.findings = Findings()

    def read(self, data: bytes, path: str, number: int) -> None:
        """Read a JSON file of the archive.

        Args:
            data: Its bytes.
            path: Where it lies in the dataset's directory.
            number: Which member of the archive it is.
        """
        self.findings.begin(number)
        self._rows.begin(number)
        if not self._document(data, path):
            self.hold(path)

    def hold(self, path: str) -> None:
        """Note what a file of the archive may be in the way of.

        ``catalog.json`` and ``collection.json`` are on the lists of names that ids and keys never
        get, so the archives that keep the rules have nothing to note.
        """
        parts = case_key(path).split("/")
        if parts[-1] == ("catalog.json", "collection.json", "")[min(len(parts), _SAVE_DEPTH) - 1]:
            return
        number = self._plan.path_number
        if len(parts) <= _SAVE_DEPTH:
            self.findings.held_files.append(number("/".join(parts)))
        for depth in range(2, min(len(parts), _SAVE_DEPTH + 1)):
            self.findings.held_directories.append(number("/".join(parts[:depth])))

    def _document(self, data: bytes, path: str) -> bool:
        """Read a JSON file; True for an item's in the directory that its assets go to."""
        document = parse_document(data, path)
        if document.has_more:
            self.findings.lack(path, "it has assets, and is neither an item nor a collection")
        if document.sort is Sort.ITEMS:
            own = [self._item(item, path, at) for at, item in enumerate(document.objects)]
            return own == [True]
        if document.sort in (Sort.COLLECTION, Sort.CATALOG):
            links = [links_of(document.objects[0], relation) for relation in ("child", "item")]
            self.findings.link(path, [href for hrefs in links for href in hrefs])
        if document.sort is Sort.COLLECTION:
            self._collection(document.objects[0], path)
        elif document.sort is Sort.BROKEN:
            self.findings.lack(path, "it is not JSON, in spite of its name")
            self.findings.ignore(path)
        elif document.sort is Sort.OTHER and path.lower().endswith(".json"):
            self.findings.ignore(path)
        return False

    def _collection(self, collection: JsonObject, path: str) -> None:
        complain = partial(self.findings.oddities.add, path)
        collection_id = read_collection_id(collection, path, complain)
        directory = path.rpartition("/")[0]
        self.findings.name_collection(directory, collection_id)
        assets = read_assets(collection, directory, complain)
        self.findings.missing += _lost(collection, assets)
        self.findings.collections[collection_id].add([asset.key for asset in assets])
        owner = Owner(collection_id, None)
        updated = as_told(collection.get("updated"))
        for asset in assets:
            asset = asset._replace(updated=both_updated(asset.updated, updated))
            claim = _claim(asset)
            self.findings.collection_claims[collection_id].append(claim)
            self._rows.aside.add(owner, asset, "", Waiting(None, claim, unsettled=True))
        self._rows.flush_full()

    def _item(self, raw: JsonObject, path: str, number: int) -> bool:
        findings, plan = self.findings, self._plan
        complain = partial(findings.oddities.add, path)
        try:
            item = read_item_head(raw, path, complain, number)
        except RecursionError:
            findings.lack(path, "it is nested too deeply to be read")
            return False
        if item.collection_directory is not None:
            findings.guessed.add(item.collection_directory)
            known = plan.collection_ids.get(item.collection_directory)
            if known is not None:
                item = item._replace(collection_id=known)
        findings.items += 1
        findings.extent.include(item)
        collection = findings.collections[item.collection_id]
        collection.items += 1
        name = _directory_name(item.item_id)
        key = plan.item_key(item.collection_id, name)
        findings.item_keys.append(key)
        directory = plan.item_directory(plan.collection_directory(item.collection_id), name)
        parent = path.rpartition("/")[0]
        found = self._patterns.read(raw)
        if found is not None and self._is_alone(item, key, found[1], path):
            plain, pattern = found
            order, hrefs = pattern.order, plain.hrefs
            self._note(item, pattern.content, [hrefs[at] for at in order] if order else hrefs)
            collection.add(pattern.keys)
            self._add_plain(item, directory, plain, pattern)
        else:
            item = item._replace(assets=read_assets(raw, parent, complain))
            findings.missing += _lost(raw, item.assets)
            collection.add([asset.key for asset in item.assets])
            self._add_any(item, directory, key, path)
        self._rows.flush_full()
        return parent == directory

    def _is_alone(self, item: ItemEntry, key: int, pattern: Pattern, path: str) -> bool:
        """Whether an item's assets get the names that they want, whatever else there is."""
        if key in self._plan.clashing or self._plan.reserved:
            return False
        if not pattern.json_names:
            return True
        own = path.rpartition("/")[2]
        held = (case_key(_directory_name(item.item_id) + ".json"), case_key(own))
        return pattern.json_names.isdisjoint(held)

    def _note(self, item: ItemEntry, claims: bytes, files: list[str]) -> None:
        """Note what tells an item from another one that wants the same directory."""
        text = content_text(item.item_id, claims, files)
        self.findings.item_contents.append(number_of(text, self._plan.key))

    def _add_plain(
        self, item: ItemEntry, directory: str, plain: PlainAssets, pattern: Pattern
    ) -> None:
        if not plain.hrefs:
            return
        self._rows.ready.add(
            item,
            directory,
            pattern.kinds,
            plain.hrefs,
            plain.sizes,
            plain.checksums,
            [both_updated(own, item.updated) for own in plain.updates],
        )
        self.findings.finished_rows += len(plain.hrefs)

    def _add_any(self, item: ItemEntry, directory: str, key: int, path: str) -> None:
        """Add an item that may need anything: names settled, rows set aside."""
        claims = tuple(map(_claim, item.assets))
        by_key = sorted(claims, key=lambda claim: claim.key)
        self._note(
            item,
            claims_text([(claim.key, claim.suffix) for claim in by_key]),
            [claim.identity for claim in by_key],
        )
        if key in self._plan.clashing:
            self.findings.clashing_items.append((item.collection_id, item.item_id, claims))
            self.findings.oddities.add(path, "it shares its directory with another item")
            self._add(item, claims, None, directory)
        else:
            self._add(item, claims, self._names(item, claims, directory, path), directory)

    def _names(
        self, item: ItemEntry, claims: tuple[Claim, ...], directory: str, path: str
    ) -> list[str]:
        """The file names of an item that is alone in its directory."""
        is_taken = taken_in_item(directory, item.item_id, self._plan, path)
        names = [claim.name for claim in claims]
        folded = {case_key(name) for name in names}
        if len(folded) == len(names) and not any(map(is_taken, names)):
            return names
        settled = settle(claims, is_taken)
        for claim in claims:
            if settled[claim] != claim.name:
                self.findings.oddities.add(
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
                self.findings.agreement.note(item.collection_id, asset.key, claim.identity)
            name = "" if names is None else names[number]
            if common_name is not None or wait_all or isinstance(asset.href, Relative):
                waiting = Waiting(common_name, claim, unsettled=names is None)
                path = f"{directory}/{name}" if name else ""
                self._rows.aside.add(owner, asset, path, waiting)
            else:
                ready.append((asset, name))
        if ready:
            self._rows.ready.add(
                item,
                directory,
                tuple(
                    AssetKind(one.key, one.media_type, tuple(one.roles), name)
                    for one, name in ready
                ),
                [known_href(one) for one, _ in ready],
                [one.file_size for one, _ in ready],
                [one.checksum for one, _ in ready],
                [both_updated(one.updated, item.updated) for one, _ in ready],
            )
            self.findings.finished_rows += len(ready)


def _lost(owner: JsonObject, found: list[AssetEntry]) -> int:
    """How many assets of an item or collection cannot be read."""
    assets = owner.get("assets")
    if isinstance(assets, dict):
        return len(assets) - len(found)
    return 0 if assets is None else 1


def _directory_name(item_id: str) -> str:
    """``layout.item_name``, quicker for plain ids."""
    if _PLAIN_ID.fullmatch(item_id) and item_id.lower() != COMMON_DIRECTORY:
        return item_id
    return item_name(item_id)


def _claim(asset: AssetEntry) -> Claim:
    return claim_of(asset.key, asset.written_href, asset.media_type, asset.identity)
