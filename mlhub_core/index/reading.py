"""One pass over the documents of a catalog: rows on the one hand, findings on the other."""

from __future__ import annotations

from functools import partial

from mlhub_core.index.findings import Findings
from mlhub_core.index.items import (
    Asset,
    Item,
    as_told,
    links_of,
    read_assets,
    read_collection_id,
    read_item,
)
from mlhub_core.index.places import AT_ONCE, Place, read_places
from mlhub_core.index.rows import ItemBatch
from mlhub_core.index.save_paths import (
    Claim,
    Clashes,
    claim_of,
    item_key,
    json_name,
    settle,
    taken_in_item,
)
from mlhub_core.index.writer import IndexWriter
from mlhub_core.paths import COMMON_ASSET_KEYS, case_key, item_name
from mlhub_core.sources.documents import Document, JsonObject, Kind, text_of


class Reading:
    """Reads one document after the other.

    Args:
        clashes: What earlier passes found out.
        out: Where rows go.

    Attributes:
        findings: What has been found.
    """

    def __init__(self, clashes: Clashes, out: IndexWriter) -> None:
        self._clashes = clashes
        self._out = out
        self._finished = ItemBatch()
        self._waiting = ItemBatch(is_waiting=True)
        self._unplaced: list[tuple[Document, int]] = []
        self.findings = Findings()

    def read(self, document: Document) -> None:
        """Read a document."""
        path, findings = document.path, self.findings
        if document.kind is not Kind.ITEMS or document.problem:
            self._items()  # what is found out stands in the order of the documents
        findings.file(path, document.beyond)
        if document.problem:
            findings.lack(path, document.problem, document.lacks)
        if document.has_more:
            findings.lack(path, "it has assets, and is neither an item nor a collection")
        if document.kind is Kind.ITEMS and document.objects:
            for at in range(len(document.objects)):
                self._unplaced.append((document, at))
                if len(self._unplaced) == AT_ONCE:
                    self._items()
        else:
            self._other(document)
            self._hold(document)
            self._flush_full()

    def finish(self) -> None:
        """Hand on what is left, and note what is known only at the end."""
        self._items()
        for batch in (self._finished, self._waiting):
            if len(batch):
                self._flush(batch)
        self.findings.finish()

    def _items(self) -> None:
        """Read the items that wait for their places."""
        places = read_places([document.objects[at] for document, at in self._unplaced])
        for (document, at), place in zip(self._unplaced, places, strict=True):
            at_home = self._item(document, at, place)
            if at == 0 and not (at_home and len(document.objects) == 1):
                self._hold(document)
            self._flush_full()
        self._unplaced.clear()

    def _hold(self, document: Document) -> None:
        """Note a document whose place no asset may take; that of an item alone goes with it."""
        if document.base is None:
            self.findings.hold(document.path)

    def _flush_full(self) -> None:
        for batch in (self._finished, self._waiting):
            if batch.is_full:
                self._flush(batch)

    def _flush(self, batch: ItemBatch) -> None:
        self._out.add(batch.to_arrow(), is_waiting=batch.is_waiting)
        batch.clear()

    def _other(self, document: Document) -> None:
        """Read what is in a document, but for items."""
        path, findings = document.path, self.findings
        # Who knows the URLs of documents has followed their links, and says itself what is missing.
        if document.kind in (Kind.COLLECTION, Kind.CATALOG) and document.base is None:
            links = [links_of(document.objects[0], relation) for relation in ("child", "item")]
            findings.link(path, [href for hrefs in links for href in hrefs])
        if document.kind is Kind.COLLECTION:
            self._collection(document)
        elif document.kind is Kind.BROKEN:
            findings.lack(path, "it is not JSON, in spite of its name")
            findings.ignore(path)
        elif document.kind is Kind.OTHER and path.lower().endswith(".json"):
            findings.ignore(path)

    def _collection(self, document: Document) -> None:
        path, findings, collection = document.path, self.findings, document.objects[0]
        complain = partial(findings.remarks.add, path)
        collection_id = read_collection_id(collection, path, complain)
        directory = path.rpartition("/")[0]
        findings.collection_ids[directory] = collection_id
        if (license_ := text_of(collection.get("license"))) is not None:
            findings.licenses[collection_id] = license_
        assets = read_assets(collection, directory, complain, document.base)
        findings.missing += _lost(collection, assets)
        findings.collections[collection_id].add([asset.key for asset in assets])
        findings.collection_claims[collection_id] += _claims(assets)
        updated = as_told(collection.get("updated"))
        self._waiting.add(collection_id, None, "", assets, [None] * len(assets), updated)

    def _item(self, document: Document, number: int, place: Place) -> bool:
        """Read an item; True where its document lies in the directory that its assets go to."""
        raw, path, findings = document.objects[number], document.path, self.findings
        complain = partial(findings.remarks.add, path)
        try:
            item = read_item(raw, path, complain, number, document.base, place)
        except RecursionError:
            findings.lack(path, "it is nested too deeply to be read")
            return False
        if item.collection_directory is not None:
            findings.guessed.add(item.collection_directory)
            known = self._clashes.collection_ids.get(item.collection_directory)
            if known is not None:
                item = item._replace(collection_id=known)
        parent = path.rpartition("/")[0]
        assets = read_assets(raw, parent, complain, document.base)
        findings.items += 1
        findings.missing += _lost(raw, assets)
        findings.extent.include(item)
        count = findings.collections[item.collection_id]
        count.items += 1
        count.add([asset.key for asset in assets])
        return self._place(item, assets, parent)

    def _place(self, item: Item, assets: list[Asset], parent: str) -> bool:
        """Give an item's assets their names; True where its document lies in their directory."""
        findings, clashes = self.findings, self._clashes
        name = item_name(item.item_id)
        key = item_key(item.collection_id, name)
        findings.item_keys.append(key)
        # What tells it from another item that wants the same directory.
        content = sorted((one.key, one.name, one.href) for one in assets)
        findings.item_contents.append(hash((item.item_id, *content)))
        directory = clashes.item_directory(item.collection_id, name)
        if key in clashes.clashing:
            findings.clashing_items.append((item.collection_id, item.item_id, _claims(assets)))
            findings.remarks.add(item.path, "it shares its directory with another item")
            for one in assets:
                self._note_common(item, one)
            nameless = [None] * len(assets)
            self._waiting.add(item.collection_id, item, directory, assets, nameless)
        else:
            self._add(item, assets, self._names(item, assets, directory), directory)
        return parent == directory

    def _names(self, item: Item, assets: list[Asset], directory: str) -> list[str]:
        """The file names of an item that is alone in its directory."""
        names = [asset.name for asset in assets]
        held = {json_name(item.item_id)}
        parent, _, own = item.path.rpartition("/")
        if parent == directory:
            held.add(case_key(own))
        folded = {case_key(name) for name in names}
        if len(folded) == len(names) and folded.isdisjoint(held) and not self._clashes.reserved:
            return names
        claims = _claims(assets)
        settled = settle(claims, taken_in_item(directory, held, self._clashes))
        for claim in claims:
            if settled[claim] != claim.name:
                self.findings.remarks.add(
                    item.path, f"asset {claim.key[:80]!r} is saved as {settled[claim][:80]!r}"
                )
        return [settled[claim] for claim in claims]

    def _add(self, item: Item, assets: list[Asset], names: list[str], directory: str) -> None:
        """Add the rows of an item, to those that are finished or to those that wait."""
        waits = [self._note_common(item, one) or not isinstance(one.href, str) for one in assets]
        if len(set(names)) < len(names):
            waits = [True] * len(names)
        collection_id = item.collection_id
        if not any(waits):
            self._finished.add(collection_id, item, directory, assets, names)
            return
        for batch, waiting in ((self._finished, False), (self._waiting, True)):
            chosen = [at for at, waits_too in enumerate(waits) if waits_too is waiting]
            of_batch = [assets[at] for at in chosen], [names[at] for at in chosen]
            batch.add(collection_id, item, directory, *of_batch)

    def _note_common(self, item: Item, asset: Asset) -> bool:
        """Note what an item says of a common asset; whether it is one."""
        if asset.key not in COMMON_ASSET_KEYS:
            return False
        self.findings.agreement.note(item.collection_id, asset.key, asset.identity)
        return True


def _claims(assets: list[Asset]) -> tuple[Claim, ...]:
    return tuple(claim_of(one.key, one.name, one.identity) for one in assets)


def _lost(owner: JsonObject, found: list[Asset]) -> int:
    """How many assets of an item or collection cannot be read."""
    assets = owner.get("assets")
    if isinstance(assets, dict):
        return len(assets) - len(found)
    return 0 if assets is None else 1
