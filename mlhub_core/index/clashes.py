"""What clashes by what a pass found: collections, items, and the archive's own files.

Whatever is compared are numbers of ``contents`` and hashes, 8 bytes each, sorted or looked up by
NumPy: a set would take 60 bytes each.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlhub_core.index.save_paths import (
    Claim,
    Plan,
    settle,
    settle_directories,
    settle_items,
)
from mlhub_core.layout import COMMON_DIRECTORY, case_key, collection_name, encode_first

if TYPE_CHECKING:
    from mlhub_core.index.findings import Findings
    from mlhub_core.index.writer import IndexFile


def plan_after(found: Findings, plan: Plan) -> Plan:
    """What the next pass has to know; the same plan where nothing new came up."""
    ids = {
        directory: found.collection_ids[directory]
        for directory in found.guessed
        if directory in found.collection_ids
        and directory.rpartition("/")[2] != found.collection_ids[directory]
    }
    return Plan(
        key=plan.key,
        collection_names=_collection_names(found, plan),
        collection_ids=ids,
        clashing=plan.clashing | _clashing_items(found),
        reserved=plan.reserved,
    )


def _collection_names(found: Findings, plan: Plan) -> dict[str, str]:
    """Directories of collections that differ in case only, or that a file is in the way of."""
    held = set(found.held_files) if len(found.collections) else set()
    wanted = {one: collection_name(one) for one in found.collections}
    spelled = settle_directories(wanted.values())
    names = {}
    for one, name in wanted.items():
        settled_name = spelled.get(name, name)
        if plan.path_number(case_key(settled_name)) in held:
            settled_name = encode_first(settled_name)
        if settled_name != name:
            names[one] = settled_name
    return names


def _clashing_items(found: Findings) -> frozenset[int]:
    """Numbers of directories that items with different ids or files share."""
    import numpy as np

    keys = np.frombuffer(found.item_keys, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    repeated = keys[1:] == keys[:-1]
    if not repeated.any():
        return frozenset()
    contents = np.frombuffer(found.item_contents, dtype=np.int64)[order]
    different = repeated & (contents[1:] != contents[:-1])
    return frozenset(keys[1:][different].tolist())


def settled(found: Findings, plan: Plan) -> dict[tuple[str, str | None, Claim], str]:
    """Save paths of everything that had to be settled with others in its directory."""
    paths = settle_items(found.clashing_items, plan)
    if any(found.collection_claims.values()):
        item_directories = membership(found.item_keys)
        for collection_id, claims in found.collection_claims.items():
            directory = plan.collection_directory(collection_id)
            is_taken = _taken_in_collection(collection_id, directory, item_directories, plan)
            for claim, name in settle(claims, is_taken).items():
                paths[collection_id, None, claim] = f"{directory}/{name}"
                if name != claim.name:
                    found.oddities.add(
                        collection_id, f"asset {claim.key[:80]!r} is saved as {name[:80]!r}"
                    )
    return paths


def _taken_in_collection(
    collection_id: str, directory: str, item_directories: Callable[[int], bool], plan: Plan
) -> Callable[[str], bool]:
    """Which names in a collection's directory are not for its own assets."""

    def is_taken(name: str) -> bool:
        return (
            case_key(name) in (COMMON_DIRECTORY, "collection.json")
            or item_directories(plan.item_key(collection_id, name))
            or plan.is_reserved(f"{directory}/{name}")
        )

    return is_taken


def held_paths(found: Findings, out: IndexFile, root: str, plan: Plan) -> frozenset[int]:
    """Numbers of folded paths that an asset got though the archive has something there.

    An asset whose file the archive itself has in that very place is fine.
    """
    import numpy as np

    if not len(found.held_files) and not len(found.held_directories):
        return frozenset()
    files = np.frombuffer(found.held_files, dtype=np.int64)
    anything = np.append(files, np.frombuffer(found.held_directories, dtype=np.int64))
    number = plan.path_number
    held: set[int] = set()
    for batch in out.read_columns("save_path", "href"):
        paths = batch.column("save_path").to_pylist()
        numbers = np.fromiter((number(case_key(path)) for path in paths), np.int64, len(paths))
        hits = np.flatnonzero(np.isin(numbers, anything))
        for hit in hits.tolist():
            if batch.column("href")[hit].as_py() != f"{root}/{paths[hit]}":
                held.add(int(numbers[hit]))
        parents = {case_key(path).rpartition("/")[0] for path in paths}
        held.update({number(parent) for parent in parents}.intersection(files.tolist()))
    return frozenset(held)


def membership(hashes: array[int]) -> Callable[[int], bool]:
    """What a set of the hashes would test, in 8 bytes each instead of 60."""
    import numpy as np

    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))

    def is_member(wanted: int) -> bool:
        at = int(np.searchsorted(ordered, wanted))
        return at < len(ordered) and int(ordered[at]) == wanted

    return is_member


def count_distinct(hashes: array[int]) -> int:
    """How many different ones there are."""
    import numpy as np

    from mlhub_core.buffers import distinct

    return len(distinct(np.frombuffer(hashes, dtype=np.int64)))
