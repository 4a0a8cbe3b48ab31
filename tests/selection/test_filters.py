from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.cli.arguments import OneLineParser, option_fields
from mlhub_core.cli.downloads import add_download_options
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.options import DownloadOptions
from mlhub_core.selection.filters import AssetFilter
from tests.selection.test_geometry import GEOMETRIES, bboxes

NAMES = st.text(min_size=1, max_size=6)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@st.composite
def _fields(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if draw(st.booleans()):
        fields["collection_filter"] = draw(
            st.dictionaries(NAMES, st.lists(NAMES, max_size=3), max_size=3)
        )
    if draw(st.booleans()):
        first, last = sorted((draw(MOMENTS), draw(MOMENTS)))
        fields["datetime"] = draw(
            st.sampled_from([(first, last), (None, last), (first, None), first, str(first.date())])
        )
    place = draw(st.sampled_from(["", "bbox", "intersects"]))
    if place == "bbox":
        fields["bbox"] = draw(bboxes())
    if place == "intersects":
        fields["intersects"] = draw(GEOMETRIES)
    fields["intersects_with"] = draw(st.sampled_from(["bbox", "geometry"]))
    return fields


@given(_fields())
def test_a_filter_travels_as_json(fields: dict[str, Any]) -> None:
    wanted = AssetFilter.create(**fields)
    again = AssetFilter.create(**json.loads(json.dumps(wanted.to_dict())))
    assert again == wanted
    assert hash(again) == hash(wanted)
    assert again.digest() == wanted.digest()
    assert again.describe() == wanted.describe()


@given(_fields(), _fields())
def test_digests_are_equal_where_filters_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = AssetFilter.create(**one), AssetFilter.create(**other)
    assert (first.digest() == second.digest()) == (first == second)


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=4), st.randoms())
def test_order_and_repetition_do_not_matter(names: dict[str, list[str]], random: Any) -> None:
    pairs = list(names.items())
    random.shuffle(pairs)
    mixed = {collection: random.sample(keys * 2, 2 * len(keys)) for collection, keys in pairs}
    one = AssetFilter.create(collection_filter=names)
    assert AssetFilter.create(collection_filter=mixed) == one
    assert one.is_everything == (not names)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"bbox": [0, 0, 1, 1], "intersects": {"type": "Point"}}, "exclude each other"),
        ({"intersects_with": "shape"}, "use bbox or geometry"),
        ({"collection_filter": ["a"]}, "use a mapping"),
        ({"collection_filter": {"a": "labels"}}, r"\['a'\] is 'labels'"),
        ({"collection_filter": {"a": 7}}, "is 7"),
        ({"collection_filter": {"a": [7]}}, "no name"),
        ({"collection_filter": {"": []}}, "no name"),
    ],
)
def test_what_is_no_filter(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        AssetFilter.create(**fields)


def test_unknown_names_come_with_near_misses() -> None:
    known = {"fields_labels": ["labels", "mask"], "fields_source": []}

    def check(wanted: dict[str, list[str]]) -> None:
        AssetFilter.create(collection_filter=wanted).check_against(known)

    check({"fields_labels": ["labels"], "fields_source": ["whatever is not known"]})
    with pytest.raises(InvalidArgument, match="'fields_label': did you mean 'fields_labels'"):
        check({"fields_label": []})
    with pytest.raises(InvalidArgument, match="no asset 'label': did you mean 'labels'"):
        check({"fields_labels": ["label"]})
    with pytest.raises(InvalidArgument, match="it has fields_labels, fields_source"):
        check({"zzz": []})


# --collection


def _collections(*words: str) -> Any:
    parser = OneLineParser()
    add_download_options(parser)
    fields = option_fields(parser.parse_args(["ds", *words]), DownloadOptions)
    return fields.get("collection_filter")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["a"], {"a": []}),
        (["a=x"], {"a": ["x"]}),
        (["a=x,y"], {"a": ["x", "y"]}),
        (["a= x , y,"], {"a": ["x", "y"]}),
        (["a=x", "a=y"], {"a": ["x", "y"]}),
        (["a=x", "b"], {"a": ["x"], "b": []}),
        (["a=x", "a"], {"a": []}),  # every key, by one of the two
        (["a", "a=x"], {"a": []}),
        (["a", "a=x", "a=y"], {"a": []}),
        (["a=x=y"], {"a": ["x=y"]}),
    ],
)
def test_collection_options(values: list[str], expected: Any) -> None:
    assert _collections(*(f"--collection={value}" for value in values)) == expected


@pytest.mark.parametrize("value", ["", "=", "=x", "a=", "a=,", "a= , "])
def test_collection_options_that_say_nothing(value: str) -> None:
    with pytest.raises(InvalidArgument, match="COLLECTION=KEY"):
        _collections(f"--collection={value}")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "=x", "=y,z"])), max_size=5))
def test_the_order_of_collection_options_does_not_matter(pairs: list[tuple[str, str]]) -> None:
    words = [f"--collection={name}{keys}" for name, keys in pairs]
    one, other = _collections(*words), _collections(*reversed(words))
    assert AssetFilter.create(collection_filter=one) == AssetFilter.create(collection_filter=other)
