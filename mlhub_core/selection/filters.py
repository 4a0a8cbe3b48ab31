"""What to download: an allow-list, checked once and then carried around unchanged."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.datetimes import edges, moment_of
from mlhub_core.selection.cql2 import check_where
from mlhub_core.selection.geometry import BBox, parse_bbox, parse_geojson

_COLLECTION_HOW = (
    'use a mapping of collection ids to lists of asset keys, such as {"my_labels": ["labels"]}; '
    "an empty list means every key"
)
INTERSECTS_WITH = ("bbox", "geometry")
_TIME_HOW = (
    "use a date (2016-07-01), a month (2016-07), a year (2016), a time (2016-07-01T12:00:00Z), "
    "or two of them with a slash between (2016-01-01/2016-12-31), '..' for an open end"
)
_OPEN = ("", "..")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A closed range of time; either end may be open.

    Attributes:
        start: First moment, UTC, or None.
        end: Last moment, UTC, or None. Equal to ``start`` for a single moment.
    """

    start: datetime | None
    end: datetime | None

    def __str__(self) -> str:
        start, end = (".." if side is None else side.isoformat() for side in (self.start, self.end))
        return start if self.start == self.end else f"{start}/{end}"


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
        media_types: What an asset's media type must be one of, lower case without blanks;
            ``image/*`` stands for all that begin so.
        roles: What one of an asset's roles must be among.
        bands: What one of an asset's bands must be called, by its name or its common name.
        where: A condition on the properties of items, CQL2 text.
        sample: How many items to keep, chosen by ``seed``; None for all.
        seed: Another one chooses other items.
        limit: How many items to keep, the first of the index; None for all.
        with_sources: Whether the items that selected ones name as their source are wanted too.
    """

    collections: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    time: TimeRange | None = None
    bbox: BBox | None = None
    intersects: str | None = None
    intersects_with: str = "bbox"
    media_types: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    where: str | None = None
    sample: int | None = None
    seed: int = 0
    limit: int | None = None
    with_sources: bool = False
    bands: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        *,
        collection_filter: Mapping[str, Iterable[str]] | None = None,
        datetime: Any = None,
        bbox: Any = None,
        intersects: Any = None,
        intersects_with: str = "bbox",
        media_type: str | Iterable[str] | None = None,
        role: str | Iterable[str] | None = None,
        band: str | Iterable[str] | None = None,
        where: str | None = None,
        sample: int | None = None,
        seed: int = 0,
        limit: int | None = None,
        with_sources: bool = False,
    ) -> AssetFilter:
        """Check and normalise filters as a user gives them.

        Args:
            collection_filter: Asset keys by collection id, an empty list meaning every key. An
                empty mapping is no filter, as in the reference client.
            datetime: As for :func:`parse_time_range`.
            bbox: As for :func:`~mlhub_core.selection.geometry.parse_bbox`.
            intersects: As for :func:`~mlhub_core.selection.geometry.parse_geojson`.
            intersects_with: ``bbox`` or ``geometry``.
            media_type: One or several, such as ``image/tiff`` or ``image/*``; parameters after a
                semicolon are compared only where they are given.
            role: One or several, such as ``data``.
            band: One or several, by name (``B04``) or common name (``red``).
            where: As for :func:`~mlhub_core.selection.cql2.parse_where`.
            sample: How many items, chosen at random, the same ones for the same ``seed``.
            seed: Any whole number.
            limit: How many items, the first ones.
            with_sources: Whether to add the items that selected ones name as their source. They
                are added whatever the other filters say of them, with the assets that the
                collection filter lists for their collection, else with all.

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
            _media_types(media_type),
            _words("role", role, "data"),
            check_where(where),
            _count("sample", sample),
            _whole("seed", seed),
            _count("limit", limit),
            bool(with_sources),
            _words("band", band, "red"),
        )

    @property
    def is_everything(self) -> bool:
        """Whether nothing is filtered at all."""
        return not (
            self.collections
            or self.media_types
            or self.roles
            or self.bands
            or self.narrows
            or self.about_items
        )

    @property
    def narrows(self) -> bool:
        """Whether something is asked that no row answers by itself: sample, limit, sources."""
        return self.sample is not None or self.limit is not None or self.with_sources

    @property
    def about_items(self) -> bool:
        """Whether time, place or properties are filtered, which only items have."""
        return bool(self.time or self.bbox or self.intersects or self.where)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable form: the arguments of :meth:`create`."""
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
            **self._further(),
        }

    def _further(self) -> dict[str, Any]:
        """What is seldom asked, where it is: the digests of other filters stay what they were."""
        fields = {
            "media_type": list(self.media_types),
            "role": list(self.roles),
            "band": list(self.bands),
            "where": self.where,
            "sample": self.sample,
            "seed": self.seed if self.sample is not None else None,
            "limit": self.limit,
            "with_sources": self.with_sources,
        }
        return {name: value for name, value in fields.items() if value not in (None, [], False)}

    def digest(self) -> str:
        """A short hexadecimal digest: equal filters have equal ones."""
        canonical = json.dumps(self.to_dict(), sort_keys=True).encode()
        return hashlib.sha256(canonical).hexdigest()[:16]

    def describe(self) -> list[str]:
        """One short phrase for each filter that is set."""
        phrases = [
            *(
                f"collection {collection}" + (f": {', '.join(keys)}" if keys else "")
                for collection, keys in self.collections or ()
            ),
            self.time and f"datetime {self.time}",
            self.bbox and "bbox " + ",".join(f"{number:g}" for number in self.bbox),
            self.intersects and f"intersects a {json.loads(self.intersects)['type']}",
            self.media_types and f"media type {' or '.join(self.media_types)}",
            self.roles and f"role {' or '.join(self.roles)}",
            self.bands and f"band {' or '.join(self.bands)}",
            self.where and f"where {self.where}",
            self.sample and f"a sample of {self.sample:,} items, seed {self.seed}",
            self.limit and f"the first {self.limit:,} items",
            self.with_sources and "with their sources",
        ]
        return [phrase for phrase in phrases if phrase]

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
                    f"The dataset has no collection {collection!r}{suggest(collection, asset_keys)}"
                )
            known = set(asset_keys[collection])
            for key in keys if known else ():
                if key not in known:
                    raise InvalidArgument(
                        f"The collection {collection!r} has no asset {key!r}{suggest(key, known)}"
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


def _words(name: str, value: str | Iterable[str] | None, such_as: str) -> tuple[str, ...]:
    if value is None:
        return ()
    words = [value] if isinstance(value, str) else value
    listed = list(words) if isinstance(words, Iterable) else [words]
    if not all(isinstance(word, str) and word.strip() for word in listed):
        raise InvalidArgument(f"{name} is {value!r}: give one or several texts, such as {such_as}.")
    return tuple(sorted({word.strip() for word in listed}))


def _media_types(value: str | Iterable[str] | None) -> tuple[str, ...]:
    words = _words("media_type", value, "image/tiff or image/*")
    for word in words:
        if "/" not in word:
            raise InvalidArgument(
                f"media_type holds {word!r}: write type/subtype, such as image/tiff, or image/*."
            )
    return tuple(sorted({word.lower().replace(" ", "") for word in words}))


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(f"{name} is {value!r}: give a number of items, 1 or more.")
    return value


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{name} is {value!r}: give a whole number.")
    return value


def suggest(name: str, known: Iterable[str]) -> str:
    """What an unknown name may have meant, or what there is: the end of a sentence about it."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f": did you mean {' or '.join(map(repr, near))}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f": it has {shown}." if names else ": it has none."


# Times


def parse_time_range(value: Any) -> TimeRange | None:
    """Read a temporal filter.

    Naive times are UTC. A date without a time is that whole day, a month or year all of it.

    Args:
        value: None; a ``datetime`` or ``date``; text, one moment or ``start/end``; or a pair of
            these, None or ``..`` for an open end.

    Raises:
        InvalidArgument: for anything else, and for a range that ends before it starts.
    """
    if value is None:
        return None
    if isinstance(value, TimeRange):
        return value
    if isinstance(value, str) and "/" in value:
        ends = value.split("/")
    elif isinstance(value, tuple | list):
        ends = list(value)
    else:
        ends = [value, value]
        if isinstance(value, str) and value.strip() in _OPEN:
            raise InvalidArgument(f"datetime is {value!r}: {_TIME_HOW}.")
    if len(ends) != 2:
        raise InvalidArgument(f"datetime has {len(ends)} parts instead of one or two: {_TIME_HOW}.")
    start, end = _edges(ends[0])[0], _edges(ends[1])[1]
    if start is None and end is None:
        raise InvalidArgument(
            f"datetime {value!r} is open at both ends and selects everything: leave it out."
        )
    if start is not None and end is not None and start > end:
        raise InvalidArgument(f"datetime {value!r} ends before it starts: swap the two.")
    return TimeRange(start, end)


def _edges(value: Any) -> tuple[datetime | None, datetime | None]:
    """First and last moment of what a value means."""
    if value is None or (isinstance(value, str) and value.strip() in _OPEN):
        return None, None
    if isinstance(value, datetime):
        moment = _utc(value)
        return moment, moment
    if isinstance(value, date):
        return _text_edges(value.isoformat())
    if isinstance(value, str):
        return _text_edges(value.strip())
    raise InvalidArgument(f"datetime holds {value!r}, a {type(value).__name__}: {_TIME_HOW}.")


def _text_edges(text: str) -> tuple[datetime, datetime]:
    found = edges(text)
    if found is None:
        raise InvalidArgument(f"datetime {text!r} is no date: {_TIME_HOW}.")
    return moment_of(found[0]), moment_of(found[1])


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidArgument(f"datetime {moment} is out of range in UTC.") from error
