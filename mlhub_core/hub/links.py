"""Links in the API's answers: to this hub, whatever hub they were written for."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

_ANY_ROOT = re.compile(r"https?://[^/]+/mlhub/v1/")


def address(request: Request) -> str:
    """Scheme, host and port as the client knows them."""
    url = request.url
    return f"{url.scheme}://{url.netloc}"


def link(rel: str, href: str, media_type: str = "application/json") -> dict[str, str]:
    """A link as STAC writes it."""
    return {"rel": rel, "type": media_type, "href": href}


def rebased(entry: dict[str, Any], root: str) -> dict[str, Any]:
    """A copy whose links below the root of any MLHub API lead below this one's.

    What was recorded elsewhere, or written before the port was known, names another host.
    """
    links = entry.get("links")
    if not isinstance(links, list):
        return entry
    return {**entry, "links": [_rebased_link(link, root) for link in links]}


def _rebased_link(link: Any, root: str) -> Any:
    href = link.get("href") if isinstance(link, dict) else None
    if not isinstance(href, str) or not (match := _ANY_ROOT.match(href)):
        return link
    return {**link, "href": root + href[match.end() :]}


def page_url(url: str, limit: int, start: int) -> str:
    """The URL of a page of items; it never carries a key, whoever needs one adds it."""
    query = {"limit": limit, "token": start} if start else {"limit": limit}
    return f"{url}?{urlencode(query)}"
