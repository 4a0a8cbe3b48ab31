"""The links of a document lead where PySTAC has them lead, whatever came before them."""

from __future__ import annotations

from urllib.parse import urljoin

from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.net.documents import document_url
from mlhub_core.sources.crawl import Links, path_of

PARTS = st.sampled_from(["a", "b.json", ".", "..", "", "A-1", "x~", "é", "%41", "?q=1", ".h", "_"])
HREFS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
BASES = st.lists(st.sampled_from(["a", "b", "A-1"]), max_size=3).map("/".join)


@settings(max_examples=100)
@given(top=BASES, base=BASES, hrefs=st.lists(HREFS, min_size=1, max_size=6))
def test_where_links_lead(top: str, base: str, hrefs: list[str]) -> None:
    root = f"http://x.test/{top}/catalog.json"
    base = f"http://x.test/{base}/collection.json"
    links = Links(base, root)
    for href in hrefs:
        url = document_url(urljoin(base, href))
        assert links.follow(href) == (url, path_of(url, root))
