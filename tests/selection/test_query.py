"""The query against a naive one: random catalogs through the real index, random filters."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import NothingMatches
from mlhub_core.index.build import index_assets
from mlhub_core.index.places import read_places
from mlhub_core.selection.filters import AssetFilter, TimeRange, parse_time_range
from mlhub_core.selection.partition import read_assets
from mlhub_core.selection.plan import Plan
from mlhub_core.selection.query import plan_assets
from tests.index.kit import item, paths_in, tree, write_archive

Json = dict[str, Any]
COLLECTIONS = ("alpha", "beta")
KEYS = ("image", "labels", "documentation")

# Few values, so that boxes touch, share edges and meet at the antimeridian and the poles.
LONGITUDES = st.sampled_from([-180.0, -179.0, -90.0, -1.0, 0.0, 1.0, 90.0, 179.0, 180.0])
LATITUDES = st.sampled_from([-90.0, -89.0, -1.0, 0.0, 1.0, 89.0, 90.0])
MOMENTS = st.sampled_from(
    [
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1, 12, tzinfo=UTC),
        datetime(2020, 1, 1, 23, 59, 59, 999999, UTC),
        datetime(2020, 1, 2, tzinfo=UTC),
        datetime(2020, 2, 29, 6, 30, tzinfo=UTC),
        datetime(2500, 6, 1, tzinfo=UTC),  # beyond what nanoseconds reach
    ]
)


@st.composite
def boxes(draw: st.DrawFn) -> list[float]:
    south, north = sorted((draw(LATITUDES), draw(LATITUDES)))
    return [draw(LONGITUDES), south, draw(LONGITUDES), north]


def _polygon(box: list[float]) -> Json:
    west, south, east, north = box
    west, east = sorted((west, east))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _triangle(box: list[float]) -> Json:
    west, south, east, north = box
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, south]]],
    }


POINTS = st.builds(
    lambda x, y: {"type": "Point", "coordinates": [x, y]},
    LONGITUDES,
    LATITUDES,
)
AREAS = boxes().filter(lambda box: box[0] != box[2] and box[1] != box[3])
GEOMETRIES = st.one_of(
    POINTS,
    AREAS.map(_polygon),
    AREAS.map(_triangle),
    st.builds(
        lambda one, other: {"type": "MultiPoint", "coordinates": [one, other]},
        POINTS.map(lambda point: point["coordinates"]),
        POINTS.map(lambda point: point["coordinates"]),
    ),
)
NO_GEOMETRIES = st.sampled_from(
    [
        None,
        {"type": "Polygon", "coordinates": []},
        {"type": "GeometryCollection", "geometries": []},
    ]
)
BBOXES = st.one_of(
    st.none(),
    boxes(),
    boxes().map(lambda box: [box[0], box[1], -5.0, box[2], box[3], 800.0]),
)


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


@st.composite
def times(draw: st.DrawFn) -> Json:
    """The properties of an item's time: a moment, an interval, half of one, or nothing."""
    kind = draw(st.sampled_from(["moment", "interval", "from", "to", "none", "absent"]))
    first, last = sorted((draw(MOMENTS), draw(MOMENTS)))
    if kind == "absent":
        return {}
    found: Json = {"datetime": None}
    if kind == "moment":
        found["datetime"] = _stamp(first)
    if kind in ("interval", "from"):
        found["start_datetime"] = _stamp(first)
    if kind in ("interval", "to"):
        found["end_datetime"] = _stamp(last)
    if kind == "interval" and draw(st.booleans()):
        found["datetime"] = _stamp(first)
    return found


KINDS = st.sampled_from(
    [
        {},
        {"type": "image/tiff; application=geotiff"},
        {"type": "IMAGE/TIFF", "roles": ["data", "visual"]},
        {"type": "application/json", "roles": []},
        {"roles": ["labels"]},
    ]
)
MEDIA_TYPES: Json = {
    "image/tiff": lambda text: text.lower().startswith("image/tiff"),
    "image/*": lambda text: text.lower().startswith("image/"),
    "image/tiff; application=geotiff": lambda text: text == "image/tiff; application=geotiff",
}
CLOUDS = st.sampled_from([{}, {"c": 5}, {"c": 10.5}, {"c": "5"}, {"c": None}, {"c": 5, "p": "x"}])
CONDITIONS: Json = {
    "c < 10": lambda c, p: isinstance(c, int | float) and c < 10,
    "NOT c < 10": lambda c, p: isinstance(c, int | float) and c >= 10,
    "c IS NULL": lambda c, p: c is None,
    "c IN (5, 7) AND p = 'x'": lambda c, p: c == 5 and p == "x",
    "c = '5' OR p IS NOT NULL": lambda c, p: c == "5" or p is not None,
    "NOT (p = 'x' AND c < 10)": lambda c, p: (
        (isinstance(c, int | float) and c >= 10) or (p is not None and p != "x")
    ),
}


# A box and the geometry that fills it, as most items have them, or neither.
AGREEING = st.one_of(
    st.just({"bbox": None, "geometry": None}),
    boxes()
    .map(lambda box: [*sorted(box[::2]), *sorted(box[1::2])])
    .map(lambda sides: [sides[0], sides[2], sides[1], sides[3]])
    .map(lambda box: {"bbox": box, "geometry": _polygon(box)}),
)
ODD = st.fixed_dictionaries({"bbox": BBOXES, "geometry": st.one_of(GEOMETRIES, NO_GEOMETRIES)})


def _means_what_it_says(place: Json) -> bool:
    """Not a geometry that seems to cross the antimeridian, nor a box that contradicts itself."""
    (found,) = read_places([place])
    return set(found.told) <= {"bbox and geometry have no point in common"}


@st.composite
def items(draw: st.DrawFn) -> list[Json]:
    made = []
    places = draw(st.sampled_from([AGREEING, ODD])).filter(_means_what_it_says)
    for number in range(draw(st.integers(1, 7))):
        name = f"i{number}"
        assets: Json = {}
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=3)):
            shared = key == "documentation"
            href = f"https://files.test/{key if shared else f'{name}-{key}'}.bin"
            assets[key] = {"href": href}
            assets[key] |= draw(KINDS)
            if draw(st.booleans()):
                assets[key]["file:size"] = 7 if shared else draw(st.integers(0, 10**12))
        made.append(
            item(
                name,
                draw(st.sampled_from(COLLECTIONS)),
                **draw(places),
                properties={**draw(times()), **draw(CLOUDS)},
                assets=assets,
            )
        )
    return made


@st.composite
def filters(draw: st.DrawFn) -> AssetFilter:
    wanted: Json = {}
    if draw(st.booleans()):
        wanted["collection_filter"] = draw(
            st.dictionaries(
                st.sampled_from(COLLECTIONS), st.lists(st.sampled_from(KEYS), max_size=2)
            )
        )
    if draw(st.booleans()):
        first, last = sorted((draw(MOMENTS), draw(MOMENTS)))
        day = first.date()
        wanted["datetime"] = draw(
            st.sampled_from([first, (first, last), (first, None), (None, last), day, str(day)])
        )
    place = draw(st.sampled_from(["", "bbox", "intersects"]))
    if place == "bbox":
        wanted["bbox"] = draw(boxes())
    if place == "intersects":
        wanted["intersects"] = draw(GEOMETRIES)
        wanted["intersects_with"] = draw(st.sampled_from(["bbox", "geometry"]))
    wanted["media_type"] = draw(st.one_of(st.none(), st.sampled_from(sorted(MEDIA_TYPES))))
    wanted["role"] = draw(st.sampled_from([None, None, "data", ["labels", "visual"]]))
    wanted["where"] = draw(st.one_of(st.none(), st.sampled_from(sorted(CONDITIONS))))
    return AssetFilter.create(**wanted)


# The naive query: an item at a time, boxes compared by their numbers


@dataclass
class Naive:
    wanted: AssetFilter
    timeless: int = 0
    placeless: int = 0

    def keys(self, one: Json) -> set[str]:
        """The asset keys of an item that are left."""
        keys = self._listed(one)
        # In the order of the funnel, which shows in the counts of items that lack something.
        if keys and self.wanted.bbox:
            keys = keys if self._in_place(one) else set()
        if keys and self.wanted.time is not None:
            keys = keys if self._in_time(one["properties"], self.wanted.time) else set()
        if keys and self.wanted.intersects:
            keys = keys if self._in_place(one) else set()
        keys = {key for key in keys if self._of_kind(one["assets"][key])}
        if self.wanted.where is not None:
            found = one["properties"]
            holds = CONDITIONS[self.wanted.where](found.get("c"), found.get("p"))
            keys = keys if holds else set()
        return keys

    def _of_kind(self, asset: Json) -> bool:
        types = self.wanted.media_types
        return (not types or any(_is_type(name, asset.get("type")) for name in types)) and (
            not self.wanted.roles or bool(set(self.wanted.roles) & set(asset.get("roles", [])))
        )

    def _listed(self, one: Json) -> set[str]:
        keys = set(one["assets"])
        if self.wanted.collections is None:
            return keys
        listed = dict(self.wanted.collections)
        if one["collection"] not in listed:
            return set()
        return keys & set(listed[one["collection"]]) if listed[one["collection"]] else keys

    def _in_time(self, properties: Json, wanted: TimeRange) -> bool:
        start, end = properties.get("start_datetime"), properties.get("end_datetime")
        if not (start or end):
            start = end = properties.get("datetime")
            if not start:
                self.timeless += 1
                return False
        first = datetime.min.replace(tzinfo=UTC) if start is None else _moment(start)
        last = datetime.max.replace(tzinfo=UTC) if end is None else _moment(end)
        return (wanted.end is None or first <= wanted.end) and (
            wanted.start is None or last >= wanted.start
        )

    def _in_place(self, one: Json) -> bool:
        box, own = _box(one), _own(one)
        if box is not None:
            pass
        elif not own.is_empty:
            box = list(own.bounds)
        else:
            self.placeless += 1
            return False
        if self.wanted.bbox is not None:
            return _overlap(list(self.wanted.bbox), box)
        shape = shapely.from_geojson(self.wanted.intersects)
        if self.wanted.intersects_with == "geometry" and not own.is_empty:
            return bool(own.intersects(shape))
        return any(shape.intersects(_shape(part)) for part in _parts(box))


def _own(one: Json) -> Any:
    geometry = one.get("geometry")
    return shapely.geometry.shape(geometry) if geometry else shapely.Point()


def _box(one: Json) -> list[float] | None:
    box = one.get("bbox")
    if box is None:
        return None
    half = len(box) // 2
    return [box[0], box[1], box[half], box[half + 1]]


def _cover(one: Json) -> list[float] | None:
    """What holds the box and the geometry of an item."""
    parts = [part for part in (_box(one), list(_own(one).bounds)) if part and part[1] == part[1]]
    if any(west > east for west, _, east, _ in parts):
        parts.append([-180.0, parts[0][1], 180.0, parts[0][3]])
    return _around(parts)


def _around(parts: list[list[float]]) -> list[float] | None:
    if not parts:
        return None
    sides = list(zip(*parts, strict=True))
    return [min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])]


def _is_type(wanted: str, found: str | None) -> bool:
    tests = {name.replace(" ", ""): test for name, test in MEDIA_TYPES.items()}
    return found is not None and bool(tests[wanted](found))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _parts(box: list[float]) -> list[list[float]]:
    west, south, east, north = box
    if west <= east:
        return [box]
    return [[west, south, 180.0, north], [-180.0, south, east, north]]


def _shape(box: list[float]) -> Any:
    """As small a shape as the box is: shapely has no boxes without an area."""
    west, south, east, north = box
    corners = [(west, south), (east, south), (east, north), (west, north)]
    return shapely.MultiPoint(corners).convex_hull


def _overlap(one: list[float], other: list[float]) -> bool:
    return any(
        a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
        for a in _parts(one)
        for b in _parts(other)
    )


def regroup(path: Path, size: int, told: bool = True) -> None:
    """Cut an index into small row groups, so that their statistics decide something.

    Args:
        path: The index.
        size: Rows of a row group.
        told: Whether it says that paths differ, where it does.
    """
    table = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata
    names = [b"geo", b"mlhub", b"mlhub_facts"][: 3 if told else 2]
    noted = {name: metadata[name] for name in names}
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.add_key_value_metadata(noted)
        writer.write_table(table, row_group_size=size)


def _plan(
    where: Path,
    made: list[Json],
    wanted: AssetFilter,
    workers: int = 2,
    group: tuple[int, bool] | None = None,
) -> Any:
    """The plan and the rows of the index, of a catalog of these items."""
    paths = paths_in(where)
    index = index_assets(write_archive(where, tree(*made)), paths)
    facts = json.loads(pq.read_metadata(index.path).metadata[b"mlhub_facts"])
    assert facts["boxes_agree"] == all(_box(one) == _cover(one) for one in made)
    if group is not None:
        regroup(index.path, *group)
    table = pq.read_table(
        index.path, columns=["collection_id", "item_id", "asset_key", "save_path"]
    )
    places = {
        (row["collection_id"], row["item_id"], row["asset_key"]): row["save_path"]
        for row in table.to_pylist()
    }
    plan = plan_assets(
        paths.dataset_id, index.path, wanted, paths.plan_dir, workers=workers, allow_empty=True
    )
    return plan, places


# One to four rows a row group: most filters leave some of them unread.
GROUPS = st.tuples(st.integers(1, 4), st.booleans())


@settings(max_examples=settings.default.max_examples // 5)
@given(items(), filters(), st.integers(1, 5), GROUPS)
def test_the_plan_is_what_a_naive_query_finds(
    made: list[Json], wanted: AssetFilter, workers: int, group: tuple[int, bool]
) -> None:
    _compare(made, wanted, workers, group)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(items(), filters(), st.integers(1, 5), GROUPS)
def test_the_plan_is_what_a_naive_query_finds_very_often(
    made: list[Json], wanted: AssetFilter, workers: int, group: tuple[int, bool]
) -> None:
    _compare(made, wanted, workers, group)


def _compare(made: list[Json], wanted: AssetFilter, workers: int, group: tuple[int, bool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan, places = _plan(Path(folder), made, wanted, workers, group)
        assets = [asset for part in plan.partitions for asset in read_assets(part.path)]
    naive = Naive(wanted)
    found = {one["id"]: naive.keys(one) for one in made}
    by_id = {one["id"]: one for one in made}
    expected: dict[str, str] = {}
    for name, keys in found.items():
        for key in keys:
            expected[places[by_id[name]["collection"], name, key]] = by_id[name]["assets"][key][
                "href"
            ]
    assert sorted((asset.save_path, asset.href) for asset in assets) == sorted(expected.items())
    assert plan.files == plan.funnel[-1][1] == len(expected)
    assert plan.items == sum(map(bool, found.values()))
    assert (plan.without_time, plan.without_place) == (naive.timeless, naive.placeless)
    sizes = [asset.file_size for asset in assets]
    assert plan.known_bytes == sum(size for size in sizes if size is not None)
    assert plan.unknown_sizes == sizes.count(None)
    covers = [_cover(one) for one in made if found[one["id"]]]
    assert (plan.box and list(plan.box)) == _around([cover for cover in covers if cover])
    assert plan.funnel[0] == ("in the dataset", len(set(places.values())))
    counts = [count for _, count in plan.funnel]
    assert counts == sorted(counts, reverse=True)


def _one(**fields: Any) -> Json:
    return item("one", "alpha", assets={"image": {"href": "https://files.test/a.tif"}}, **fields)


@pytest.mark.parametrize(
    ("own", "wanted", "matches"),
    [
        ([179, 10, -179, 11], [-179.5, 10, -179.2, 11], True),  # item across the antimeridian
        ([179, 10, -179, 11], [0, 10, 1, 11], False),  # it does not go around the globe
        ([178, 10, 179, 11], [178.5, 10, -178, 11], True),  # filter across the antimeridian
        ([0, 10, 1, 11], [178.5, 10, -178, 11], False),
        ([179, 10, -179, 11], [179.5, 10, -179.5, 11], True),  # both
        ([-180, -90, -180, -90], [-179, -90, -180, -90], True),  # a crossing filter without an area
        ([0, 5, 1, 6], [180, 5, 0, 6], True),  # a crossing filter of which one half is a line
        ([-180, 89, 180, 90], [3, 90, 3, 90], True),  # a pole, and a box without an area
        ([0, 0, 1, 1], [1, 1, 2, 2], True),  # a corner
        ([0, 0, 1, 1], [1.0000001, 1, 2, 2], False),
        ([5, 5, 5, 5], [5, 5, 5, 5], True),  # two points
        ([0, 0, -9, 1, 1, 9], [1, 0, 2, 1], True),  # heights
    ],
)
def test_boxes(own: list[float], wanted: list[float], matches: bool, tmp_path: Path) -> None:
    plan, _ = _plan(tmp_path, [_one(bbox=own, geometry=None)], AssetFilter.create(bbox=wanted))
    assert plan.files == int(matches)


def test_collection_assets_follow_the_collection_filter_alone(tmp_path: Path) -> None:
    own = {"type": "Collection", "id": "alpha", "assets": {"table": {"href": "https://f.test/t"}}}
    files = {**tree(_one()), "demo/alpha/collection.json": own}
    paths = paths_in(tmp_path)
    index = index_assets(write_archive(tmp_path, files), paths)

    def plan(**wanted: Any) -> Plan:
        chosen = AssetFilter.create(**wanted)
        return plan_assets(paths.dataset_id, index.path, chosen, paths.plan_dir)

    everywhere, elsewhere = {"bbox": [9, 49, 12, 52]}, {"bbox": [0, 0, 1, 1]}
    assert plan().files == 2
    assert plan(**everywhere).files == 2
    assert plan(collection_filter={"alpha": ["table"]}).files == 1
    assert plan(collection_filter={"alpha": ["image"]}, **everywhere).files == 1
    with pytest.raises(NothingMatches, match="none of them an item's") as caught:
        plan(**elsewhere)
    assert caught.value.funnel == (("in the dataset", 2), ("after the bbox filter", 1))
    with pytest.raises(NothingMatches):
        plan(collection_filter={"alpha": ["table"]}, datetime="1999")


def test_what_has_no_time_or_place_is_counted(tmp_path: Path) -> None:
    assets = {"image": {"href": "https://files.test/b.tif"}}
    lacking = item(
        "two", "alpha", bbox=None, geometry=None, properties={"datetime": None}, assets=assets
    )
    paths = paths_in(tmp_path)
    index = index_assets(write_archive(tmp_path, tree(_one(), lacking)), paths)
    for wanted, counts in (
        ({"datetime": "2021"}, (1, 0)),
        ({"bbox": [9, 49, 12, 52]}, (0, 1)),
        ({"datetime": "2021", "bbox": [9, 49, 12, 52]}, (0, 1)),
        ({}, (0, 0)),
    ):
        plan = plan_assets("demo", index.path, AssetFilter.create(**wanted), paths.plan_dir)
        assert (plan.without_time, plan.without_place) == counts
    with pytest.raises(NothingMatches, match=r"1 items have no time"):
        plan_assets("demo", index.path, AssetFilter.create(datetime="1999"), paths.plan_dir)


def test_a_plan_can_be_saved_and_loaded(tmp_path: Path) -> None:
    plan, _ = _plan(tmp_path, [_one()], AssetFilter())
    assert Plan.load(plan.directory / "plan.json") == plan
    assert plan.describe()[0] == "1 file of 1 item, 0 B known, 1 file of unknown size"


def test_the_filter_of_a_day_is_that_of_the_reference_documentation() -> None:
    found = parse_time_range("2020-01-01")
    assert found == TimeRange(
        datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 23, 59, 59, 999999, UTC)
    )
