"""Which save path each asset gets when several want the same one.

Two names are the same where some file system takes them for the same (``paths.case_key``). The
rules, none of which depends on the order of things in the catalog:

- names that differ only in case are spelled out, every one of them (``encode_case``);
- different files of exactly the same name get a tag made of name and URL, every one of them;
- a name that something else holds, such as the catalog's own JSON, gives way (``encode_first``);
- the same URL under the same name twice is one file.

Nobody knows what clashes before all has been read. So a pass over the catalog assumes that nothing
does, and notes hashes; where something clashed, the next pass is told by :class:`Clashes`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from mlhub_core.paths import (
    COMMON_DIRECTORY,
    case_key,
    collection_name,
    encode_case,
    encode_first,
    extension,
    item_name,
    safe_name,
)

_TAG_DIGITS = 8
_PLAIN_URL = re.compile(r"https?://[\w.:-]+/(?:[\w.~+=,@-]+/)*([\w~+=,@-][\w.~+=,@-]*)", re.ASCII)

stem_of = lru_cache(maxsize=4096)(safe_name)
"""The file name of an asset without its extension, by its key."""
_suffix = lru_cache(maxsize=4096)(extension)
_collection_name = lru_cache(maxsize=4096)(collection_name)


class Claim(NamedTuple):
    """A file that wants a name in a directory.

    Attributes:
        stem: The name without extension, safe.
        suffix: The extension, dot included.
        key: Its asset key.
        identity: What it shares with others exactly when they are one file.
    """

    stem: str
    suffix: str
    key: str
    identity: str

    @property
    def name(self) -> str:
        """The name it wants."""
        return self.stem + self.suffix


def claim_of(key: str, name: str, identity: str) -> Claim:
    """The claim of an asset, by its key and the name that it wants."""
    stem = stem_of(key)
    return Claim(stem, name[len(stem) :], key, identity)


def suffix_of(href: str, media_type: str | None) -> str:
    """``paths.extension``, quicker for plain URLs: few endings make up millions of them."""
    plain = _PLAIN_URL.fullmatch(href)
    if plain is None:
        return extension(href, media_type)
    last = plain[1]
    ending = last[last.rfind(".") :] if "." in last else ""
    # Of .gz and .xml the suffix before counts too.
    return _suffix(last if ending.lower() in (".gz", ".xml") else "x" + ending, media_type)


@dataclass(frozen=True, slots=True)
class Clashes:
    """What earlier passes over the catalog found out, for the sake of the next one.

    Attributes:
        collection_names: Directories of collections other than ``paths.collection_name`` says.
        collection_ids: Ids of collections by their directories in the catalog, where an item that
            names no collection would guess another.
        clashing: Item keys, see :func:`item_key`, that different items share.
        reserved: Hashes of folded paths that files of the catalog hold and assets wanted.
    """

    collection_names: Mapping[str, str] = field(default_factory=dict)
    collection_ids: Mapping[str, str] = field(default_factory=dict)
    clashing: frozenset[int] = frozenset()
    reserved: frozenset[int] = frozenset()

    def collection_directory(self, collection_id: str) -> str:
        """The directory of a collection within the dataset's."""
        found = self.collection_names.get(collection_id)
        return _collection_name(collection_id) if found is None else found

    def item_directory(self, collection_id: str, name: str) -> str:
        """The directory of an item within the dataset's, by the name that it wants."""
        parent = self.collection_directory(collection_id)
        if self.is_reserved(f"{parent}/{name}"):
            name = encode_first(name)
        return f"{parent}/{name}"

    def is_reserved(self, path: str) -> bool:
        """Whether a file of the catalog holds a path that an asset wanted."""
        return bool(self.reserved) and hash(case_key(path)) in self.reserved


def item_key(collection_id: str, name: str) -> int:
    """What two items share when their directories would be the same."""
    # The name is a directory's: it holds no slash.
    return hash(f"{case_key(name)}/{collection_id}")


def settle(
    claims: Iterable[Claim], is_taken: Callable[[str], bool] = lambda _: False
) -> dict[Claim, str]:
    """Give every claim on a directory a name of its own.

    Args:
        claims: The files, in any order.
        is_taken: Whether something else holds a name.

    Returns:
        The name of each claim. Claims on one and the same file may share it.
    """
    names = {claim: claim.name for claim in sorted(set(claims))}
    attempt = 0
    while changes := _changes(names, is_taken, attempt):
        names.update(changes)
        attempt += 1
    return names


def _changes(
    names: Mapping[Claim, str], is_taken: Callable[[str], bool], attempt: int
) -> dict[Claim, str]:
    groups: dict[str, list[Claim]] = defaultdict(list)
    for claim, name in names.items():
        groups[case_key(name)].append(claim)
    changes = {}
    for group in groups.values():
        spellings = {names[claim] for claim in group}
        if len(spellings) > 1 and attempt == 0:
            for claim in group:
                changes[claim] = encode_case(claim.stem) + encode_case(claim.suffix)
        elif len(spellings) > 1 or len({claim.identity for claim in group}) > 1:
            for claim in group:
                changes[claim] = _tagged(claim, attempt)
        elif is_taken(names[group[0]]):
            for claim in group:
                changes[claim] = encode_first(names[claim])
    return changes


def _tagged(claim: Claim, attempt: int) -> str:
    """A name with a tag that no other file shares, not even one whose name differs in case only.

    Later attempts are for those who made their keys to look like our tags.
    """
    text = f"{claim.name}\0{claim.identity}" + f"\0{attempt}" * (attempt > 1)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{claim.stem}~{digest[: _TAG_DIGITS + 4 * attempt]}{claim.suffix}"


def settle_directories(names: Iterable[str]) -> dict[str, str]:
    """Spell out those of several directory names that differ in nothing but case.

    Returns:
        The changed ones, by what they wanted to be.
    """
    groups: dict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[case_key(name)].add(name)
    return {
        name: encode_case(name) for group in groups.values() if len(group) > 1 for name in group
    }


def settle_collections(
    collection_ids: Iterable[str], is_held: Callable[[int], bool]
) -> dict[str, str]:
    """Directories of collections that differ in case only, or that a file is in the way of.

    Args:
        collection_ids: All of the dataset.
        is_held: Whether a file of the catalog has a path, by the hash of that, folded.
    """
    wanted = {one: collection_name(one) for one in collection_ids}
    spelled = settle_directories(wanted.values())
    names = {}
    for one, name in wanted.items():
        found = spelled.get(name, name)
        if is_held(hash(case_key(found))):
            found = encode_first(found)
        if found != name:
            names[one] = found
    return names


def settle_items(
    items: Iterable[tuple[str, str, tuple[Claim, ...]]], clashes: Clashes
) -> dict[tuple[str, str | None, Claim], str]:
    """Give the assets of clashing items their save paths.

    Args:
        items: ``(collection id, item id, claims)``, every clashing item of the dataset.
        clashes: Says where collections lie and which paths are held.

    Returns:
        Save path by ``(collection id, item id, claim)``.
    """
    claims_of: dict[tuple[str, str], set[Claim]] = defaultdict(set)
    for collection_id, item_id, claims in items:
        claims_of[collection_id, item_id].update(claims)
    names_of: dict[str, set[str]] = defaultdict(set)
    for collection_id, item_id in claims_of:
        names_of[collection_id].add(item_name(item_id))
    spelled = {collection: settle_directories(names) for collection, names in names_of.items()}
    paths: dict[tuple[str, str | None, Claim], str] = {}
    for (collection_id, item_id), claims_here in claims_of.items():
        name = item_name(item_id)
        name = spelled[collection_id].get(name, name)
        directory = clashes.item_directory(collection_id, name)
        is_taken = taken_in_item(directory, {json_name(item_id)}, clashes)
        for claim, found in settle(claims_here, is_taken).items():
            paths[collection_id, item_id, claim] = f"{directory}/{found}"
    return paths


def json_name(item_id: str) -> str:
    """The folded name in an item's directory that is not for assets, but for its JSON.

    That has its id for a name in every catalog that keeps the rules; the name is never an asset's,
    wherever this item's JSON may lie.
    """
    return case_key(item_name(item_id) + ".json")


def taken_in_item(directory: str, held: Collection[str], clashes: Clashes) -> Callable[[str], bool]:
    """Which names in an item's directory are not for assets.

    Args:
        directory: The directory.
        held: Folded names that its JSON has.
        clashes: Says which paths are held.
    """

    def is_taken(name: str) -> bool:
        return case_key(name) in held or clashes.is_reserved(f"{directory}/{name}")

    return is_taken


def taken_in_collection(
    collection_id: str, has_item: Callable[[int], bool], clashes: Clashes
) -> Callable[[str], bool]:
    """Which names in a collection's directory are not for its own assets.

    Args:
        collection_id: The collection.
        has_item: Whether some item has a key, see :func:`item_key`.
        clashes: Says which paths are held.
    """
    directory = clashes.collection_directory(collection_id)

    def is_taken(name: str) -> bool:
        return (
            case_key(name) in (COMMON_DIRECTORY, "collection.json")
            or has_item(item_key(collection_id, name))
            or clashes.is_reserved(f"{directory}/{name}")
        )

    return is_taken
