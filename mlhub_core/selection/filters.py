"""What to download: an allow-list, checked once and then carried around unchanged."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.spatial import BBox, parse_bbox, parse_geojson
from mlhub_core.selection.temporal import TimeRange, parse_time_range

_COLLECTION_HOW = (
    'use a mapping of collection ids to lists of asset keys, such as {"my_labels": ["labels"]}; '
    "an empty list means every key"
)
INTERSECTS_WITH = ("bbox", "geometry")


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Which assets of a dataset are wanted. Make one with :meth:`create`.

    Attributes:
        collections: ``(collection id, asset keys)`` pairs in order of id, no keys meaning every
            key; None for all collections.
        time: The range that an item's time must overlap.
        bbox: The box that an item's bounding box must touch.
        intersects: The shape that an item must touch, as GeoJSON text.
        intersects_with: Whether ``intersects`` is tested against the item's ``bbox`` or its
            ``geometry``.
    """

    collections: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    time: TimeRange | None = None
    bbox: BBox | None = None
    intersects: str | None = None
    intersects_with: str = "bbox"

    @classmethod
    def create(
        cls,
        *,
        collection_filter: Mapping[str, Iterable[str]] | None = None,
        datetime: Any = None,
        bbox: Any = None,
        intersects: Any = None,
        intersects_with: str = "bbox",
    ) -> AssetFilter:
        """Check and normalise filters as a user gives them.

        Args:
            collection_filter: Asset keys by collection id, an empty list meaning every key. An
                empty mapping is no filter, as in the reference client.
            datetime: As for :func:`~mlhub_core.selection.temporal.parse_time_range`.
            bbox: As for :func:`~mlhub_core.selection.spatial.parse_bbox`.
            intersects: As for :func:`~mlhub_core.selection.spatial.parse_geojson`.
            intersects_with: ``bbox`` or ``geometry``.

        Raises:
            InvalidArgument: naming the argument and what would do.
        """
        if bbox is not None and intersects is not None:
            raise InvalidArgument("bbox and intersects exclude each other: give one of them.")
        if intersects_with not in INTERSECTS_WITH:
            raise InvalidArgument(
                f"intersects_with is {intersects_with!r}: use {' or '.join(INTERSECTS_WITH)}."
            )
        return cls(
            _collections(collection_filter),
            parse_time_range(datetime),
            parse_bbox(bbox),
            parse_geojson(intersects),
            intersects_with,
        )

    @property
    def is_everything(self) -> bool:
        """Whether nothing is filtered at all."""
        return not (self.collections or self.time or self.bbox or self.intersects)

    @property
    def about_items(self) -> bool:
        """Whether time or place is filtered, which only items have."""
        return bool(self.time or self.bbox or self.intersects)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable form, the inverse of :meth:`from_dict`."""
        return {
            "collection_filter": None
            if self.collections is None
            else {collection: list(keys) for collection, keys in self.collections},
            "datetime": None
            if self.time is None
            else [side and side.isoformat() for side in (self.time.start, self.time.end)],
            "bbox": self.bbox and list(self.bbox),
            "intersects": self.intersects and json.loads(self.intersects),
            "intersects_with": self.intersects_with,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> AssetFilter:
        """Read what :meth:`to_dict` gave.

        Raises:
            InvalidArgument: if it holds an unknown field, or a value that :meth:`create` refuses.
        """
        known = {"collection_filter", "datetime", "bbox", "intersects", "intersects_with"}
        if unknown := set(fields) - known:
            raise InvalidArgument(
                f"a filter has no {', '.join(sorted(map(repr, unknown)))}: it has "
                f"{', '.join(sorted(known))}."
            )
        return cls.create(**fields)

    def digest(self) -> str:
        """A short hexadecimal digest: equal filters have equal ones."""
        canonical = json.dumps(self.to_dict(), sort_keys=True).encode()
        return hashlib.sha256(canonical).hexdigest()[:16]

    def describe(self) -> list[str]:
        """One short phrase for each filter that is set."""
        phrases = []
        for collection, keys in self.collections or ():
            phrases.append(f"collection {collection}" + (f": {', '.join(keys)}" if keys else ""))
        if self.time:
            phrases.append(f"datetime {self.time}")
        if self.bbox:
            phrases.append("bbox " + ",".join(f"{number:g}" for number in self.bbox))
        if self.intersects:
            phrases.append(f"intersects a {json.loads(self.intersects)['type']}")
        return phrases

    def check_against(self, asset_keys: Mapping[str, Iterable[str]]) -> None:
        """Check that the dataset has the collections and asset keys that the filter names.

        Args:
            asset_keys: The keys of each collection; none where they are not known.

        Raises:
            InvalidArgument: naming what is unknown, near misses and what there is.
        """
        for collection, keys in self.collections or ():
            if collection not in asset_keys:
                raise InvalidArgument(
                    f"The dataset has no collection {collection!r}"
                    f"{_suggest(collection, asset_keys)}"
                )
            known = set(asset_keys[collection])
            for key in keys if known else ():
                if key not in known:
                    raise InvalidArgument(
                        f"The collection {collection!r} has no asset {key!r}{_suggest(key, known)}"
                    )


def _collections(
    value: Mapping[str, Iterable[str]] | None,
) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"collection_filter is {value!r}: {_COLLECTION_HOW}.")
    pairs = []
    for collection, keys in value.items():
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise InvalidArgument(
                f"collection_filter[{collection!r}] is {keys!r}: {_COLLECTION_HOW}."
            )
        names = list(keys)
        if not all(isinstance(name, str) and name for name in (collection, *names)):
            raise InvalidArgument(
                f"collection_filter[{collection!r}] holds something that is no name: "
                f"{_COLLECTION_HOW}."
            )
        pairs.append((collection, tuple(sorted(set(names)))))
    return tuple(sorted(pairs)) or None


def _suggest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f": did you mean {' or '.join(map(repr, near))}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f": it has {shown}." if names else ": it has none."
