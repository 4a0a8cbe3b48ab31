from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlhub_core.index.hrefs import (
    Relative,
    is_absolute,
    linked_directory,
    linked_id,
    plain_href,
    resolve,
)

HERE = "coll/item"


@pytest.mark.parametrize(
    "href",
    ["https://a/b.tif", "s3://bucket/k é.tif", "HTTP://x", "ftp://x/y", "file:///etc/passwd"],
)
def test_urls_stay_as_they_are(href: str) -> None:
    assert resolve(href, HERE, "https://self/x.json") == href


@pytest.mark.parametrize(
    ("href", "candidates"),
    [
        ("./x.tif", ("coll/item/x.tif",)),
        ("../x.tif", ("coll/x.tif",)),
        ("../../../../x.tif", ("%2E%2E/%2E%2E/x.tif",)),
        ("a%20b.tif", ("coll/item/a%20b.tif", "coll/item/a b.tif")),
        ("x.tif?v=1", ("coll/item/x.tif?v=1", "coll/item/x.tif")),
        ("C:/x.tif", ("coll/item/C:/x.tif",)),
        ("%2e%2e/%2e%2e/%2e%2e/x", ("coll/item/%2e%2e/%2e%2e/%2e%2e/x", "%2E%2E/x")),
    ],
)
def test_relative(href: str, candidates: tuple[str, ...]) -> None:
    assert resolve(href, HERE, None) == Relative(candidates, None)


@pytest.mark.parametrize(
    ("href", "plain"),
    [
        ("/vsicurl/https://h/a.tif?x=1", "https://h/a.tif?x=1"),
        ("/vsicurl_streaming/http://h/a.tif", "http://h/a.tif"),
        ("/vsicurl?max_retry=3&url=https%3A%2F%2Fh%2Fa.tif", "https://h/a.tif"),
        ("/vsis3/bucket/k/a.tif", "s3://bucket/k/a.tif"),
        ("/vsis3_streaming/bucket/a.tif", "s3://bucket/a.tif"),
        ("/vsigs/bucket/a.tif", "gs://bucket/a.tif"),
        ("/vsiaz/container/a.tif", "az://container/a.tif"),
        ("/vsizip//vsicurl/https://h/a.zip/in/b.tif", "https://h/a.zip"),
        ("/vsizip/{/vsicurl/https://h/a?f=zip}/b.tif", "https://h/a?f=zip"),
        ("/vsitar//vsis3/bucket/a.tar.gz/b.tif", "s3://bucket/a.tar.gz"),
        ("/vsigzip//vsicurl/https://h/a.tif.gz", "https://h/a.tif.gz"),
        ("/vsizip/./a.zip/b.tif", "./a.zip"),
        ("/vsizip//data/a.zip/b.tif", "/data/a.zip"),
        ("/vsimem/a.tif", "/vsimem/a.tif"),
        ("/data/a.tif", "/data/a.tif"),
        ("..\\up\\a.tif", "../up/a.tif"),
        ("https://h/a\\b.tif", "https://h/a\\b.tif"),
    ],
)
def test_what_was_written_for_gdal_or_windows(href: str, plain: str) -> None:
    assert plain_href(href) == plain


@given(st.text(st.sampled_from("/vsicurlzp3?{}.") | st.characters(), max_size=25))
def test_whatever_was_written(href: str) -> None:
    plain_href(f"/vsi{href}")


def test_an_absolute_path_is_of_the_machine_that_made_the_catalog() -> None:
    assert resolve("/data/x.tif", HERE, None) == Relative(("data/x.tif",), "file:///data/x.tif")
    assert resolve("/x.tif", HERE, "https://h/a/b") == Relative(("x.tif",), "https://h/x.tif")


def test_beside_the_items_own_url() -> None:
    found = resolve("../x.tif", HERE, "https://files.test/c/i/i.json")
    assert found == Relative(("coll/x.tif",), "https://files.test/c/x.tif")
    assert resolve("//h/x", HERE, "http://a/b") == "http://h/x"
    assert resolve("//h/x", HERE, None) == "https://h/x"


@given(st.text(st.sampled_from("./\\%2eE?#:[]aZ \0") | st.characters(), min_size=1, max_size=25))
def test_candidates_never_leave_the_archive(href: str) -> None:
    found = resolve(href, HERE, "https://files.test/c/i/i.json")
    if isinstance(found, Relative):
        for candidate in found.candidates:
            assert not candidate.startswith("/")
            assert not {"..", "."} & set(candidate.split("/"))


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("../../source/a_1/a_1.json", "a_1"),
        ("https://api.test/collections/c/items/a%20b?x=1", "a b"),
        ("a.tif.json", "a.tif"),
        ("https://x/items/a/", "a"),
        ("http://[bad/a.json", "a"),
        (".json", ".json"),
    ],
)
def test_linked_id(href: str, wanted: str) -> None:
    assert linked_id(href) == wanted


def test_linked_directory() -> None:
    assert linked_directory("../collection.json", HERE) == "coll"
    assert linked_directory("https://x/collection.json", HERE) is None
    assert linked_directory("", HERE) is None


_PARTS = st.sampled_from(
    [".", "..", "a", "b.tif", "", "~c", "-", "x y", "a:b", "%20", "?q=1", "#f"]
)


@settings(max_examples=200)
@given(st.lists(_PARTS, min_size=1, max_size=4).map("/".join))
@example("./a/b.tif")
@example("a")
def test_what_is_nearby_is_joined_as_all_else_is(href: str) -> None:
    for base in ("https://x.test/a/i.json", "http://x.test", "http://x.test/a/?q=/b/c"):
        found = resolve(href, "", None, base)
        assert found == (urljoin(base, href) if not is_absolute(href) else href)
