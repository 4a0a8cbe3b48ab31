"""The quick way gives what the exact one gives, or nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.index.items import read_assets
from mlhub_core.index.patterns import Patterns
from mlhub_core.index.plain import pattern_of, plain_assets
from mlhub_core.index.save_paths import claim_of

NAMES = st.text("aB.1_-/:%?# é", max_size=12)
HREFS = st.one_of(
    NAMES,
    st.builds("{}://{}/{}{}".format, st.sampled_from(["https", "s3", "ftp", "HTTP"]), *[NAMES] * 3),
    st.builds(
        "https://h.test/{}/{}.{}".format,
        st.text("ab/", max_size=4),
        st.text("ab.", min_size=1, max_size=4),
        st.sampled_from(["tif", "tar.gz", "aux.xml", "json", "", "x" * 20]),
    ),
)
ODD: st.SearchStrategy[Any] = st.sampled_from([None, 1, 2.0, True, "", [], ["a", 1], {"a": 1}, "x"])
ASSETS = st.one_of(
    ODD,
    st.fixed_dictionaries(
        {"href": st.one_of(HREFS, HREFS, HREFS, ODD)},
        optional={
            "type": st.one_of(st.sampled_from(["image/tiff", "text/csv; x"]), ODD),
            "roles": st.one_of(st.just(["data"]), ODD),
            "file:size": st.one_of(st.integers(-5, 2**64), ODD),
            "file:checksum": st.one_of(st.just("1220ab"), ODD),
            "checksum:multihash": ODD,
        },
    ),
)


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.dictionaries(st.text("aB.é_/", max_size=5), ASSETS, max_size=4), ODD))
def test_the_same_as_the_exact_way(assets: Any) -> None:
    item = {"assets": assets}
    plain = plain_assets(item)
    if plain is None:
        return
    try:
        pattern = pattern_of(plain.looks)
    except TypeError:
        return
    if pattern is None:
        return
    exact = read_assets(item, "coll/i", lambda _: None)
    assert plain.hrefs == [one.href for one in exact]
    assert plain.sizes == [one.file_size for one in exact]
    assert plain.checksums == [one.checksum for one in exact]
    assert [kind.key for kind in pattern.kinds] == [one.key for one in exact]
    assert [kind.media_type for kind in pattern.kinds] == [one.media_type for one in exact]
    assert [list(kind.roles) for kind in pattern.kinds] == [one.roles for one in exact]
    claims = [claim_of(one.key, one.written_href, one.media_type, one.identity) for one in exact]
    assert [kind.name for kind in pattern.kinds] == [claim.name for claim in claims]
    assert list(pattern.claims) == [(claim.key, claim.suffix) for claim in claims]


def test_plain_ones_go_the_quick_way() -> None:
    plain = plain_assets(
        {
            "assets": {
                "B01": {"href": "https://h/a/b_B01.tif", "type": "image/tiff", "roles": ["data"]},
                "meta": {"href": "s3://bucket/a.tar.gz", "file:size": 3.0},
            }
        }
    )
    assert plain is not None
    pattern = pattern_of(plain.looks)
    assert pattern is not None
    assert [kind.name for kind in pattern.kinds] == ["B01.tif", "meta.tar.gz"]
    assert plain.sizes == [None, 3]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text("aB.é_/", max_size=5), ASSETS, min_size=1, max_size=3),
    st.lists(st.tuples(st.text("ab./", max_size=3), st.text("ab.", max_size=3)), max_size=4),
)
def test_templates_change_nothing(assets: dict[str, Any], heads: list[tuple[str, str]]) -> None:
    """Items that differ in what their URLs begin with, read with and without a memory of others."""
    learnt = Patterns()
    for directory, stem in [("", "x"), *heads]:
        item = {"assets": {key: moved(one, directory, stem) for key, one in assets.items()}}
        assert learnt.read(item) == Patterns().read(item)


def moved(asset: Any, directory: str, stem: str) -> Any:
    if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
        return asset
    parent, _, name = asset["href"].rpartition("/")
    return asset | {"href": f"{parent}{directory}/{stem}{name}"}


def test_a_template_is_learnt_once_and_refused_where_it_does_not_fit() -> None:
    def read(head: str, **changes: Any) -> Any:
        one = {"href": f"{head}_B01.tif", "type": "image/tiff", "roles": ["data"]} | changes
        return patterns.read({"assets": {"B01": one, "B02": {"href": f"{head}_B02.tif"}}})

    patterns = Patterns()
    first = read("https://h/a/one")
    plain, pattern = read("https://h/b/two", **{"file:size": 7})
    assert pattern is first[1]
    assert plain.looks is first[0].looks
    assert plain.hrefs == ["https://h/b/two_B01.tif", "https://h/b/two_B02.tif"]
    assert plain.sizes == [7, None]
    assert read("https://h/a?x=/b") is None
    assert read("ftp://h/b/c") is None
    assert read("https://h/b/c", type="image/jp2")[1] is not pattern
    assert read("https://h/b/.") is None
