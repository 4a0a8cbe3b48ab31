from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.sources import InCatalog, Remote, Unusable, locate

OUT, CATALOG = Path("/out"), Path("/out/ds")


def where(href: str, **settings: object) -> Remote | InCatalog | Unusable:
    return locate(href, OUT, CATALOG, TransferSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("href", "url", "host"),
    [
        ("https://h.org/a.tif", "https://h.org/a.tif", "h.org"),
        ("HTTP://H.org:8080/a?x=1#y", "HTTP://H.org:8080/a?x=1#y", "h.org:8080"),
        (" https://h.org/a b.tif ", "https://h.org/a%20b.tif", "h.org"),
        ("https://h.org/ä%20.tif", "https://h.org/%C3%A4%20.tif", "h.org"),
        ("https://bücher.de/a", "https://xn--bcher-kva.de/a", "bücher.de"),
        ("s3://bucket/a b/c.tif", "https://bucket.s3.amazonaws.com/a%20b/c.tif", None),
        ("s3://buc.ket/a", "https://s3.amazonaws.com/buc.ket/a", "s3.amazonaws.com"),
    ],
)
def test_urls(href: str, url: str, host: str | None) -> None:
    found = where(href)
    assert isinstance(found, Remote)
    assert found.url == url
    assert host in (None, found.host)


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("https://h.org/x/a.tif", "http://m/x/a.tif"),
        ("https://h.org/deep/a.tif", "http://deep/a.tif"),
        ("s3://bucket/a b.tif", "http://s3/a%20b.tif"),
        ("https://other.org/a", "https://other.org/a"),
        ("s3://rewritten/k", "http://rw/k"),
    ],
)
def test_the_longest_prefix_picks_the_mirror(href: str, url: str) -> None:
    mirrors = (
        ("https://h.org/", "http://m/"),
        ("https://h.org/deep/", "http://deep/"),
        ("s3://bucket/", "http://s3/"),
        ("https://rewritten.s3.amazonaws.com/", "http://rw/"),
    )
    found = where(href, mirrors=mirrors)
    assert isinstance(found, Remote)
    assert found.url == url


def test_an_s3_endpoint() -> None:
    found = where("s3://b/k", s3_endpoint="http://127.0.0.1:9000/")
    assert found == Remote("http://127.0.0.1:9000/b/k", "127.0.0.1:9000")


def test_a_relative_href_is_carried() -> None:
    assert where("ds/x/a.json") == InCatalog(Path("/out/ds/x/a.json"))


@given(st.text(max_size=40) | st.text(max_size=30).map(lambda text: "http://" + text))
def test_any_href_is_judged(href: str) -> None:
    found = where(href)
    if isinstance(found, Remote):
        assert found.url.isascii()
        assert found.url.isprintable()
        assert " " not in found.url
        assert found.host
    elif isinstance(found, InCatalog):
        assert found.path.is_relative_to(CATALOG)


@example("http://0:0/")
@example("http://h:0080/")
@given(st.from_regex(r"https?://[A-Za-z0-9.@:-]{1,20}(/[!-~]{0,10})?", fullmatch=True))
def test_a_usual_url_is_judged_like_any_other(href: str) -> None:
    # A mirror that does not apply keeps from the short way.
    assert where(href) == where(href, mirrors=(("ftp://none/", "http://m/"),))
