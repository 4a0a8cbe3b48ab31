"""Collections of old and careless hubs, as ``Dataset.collections`` and ``Collection`` give them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlhub_core import Collection, Dataset
from tests.acceptance.kit import DATASET, api, collection, publish
from tests.faultserver import FaultServer

_BOX, _SPAN = [10, 50, 11, 51], ["2019-01-01T00:00:00Z", None]
_EXTENT = {"spatial": {"bbox": [_BOX]}, "temporal": {"interval": [_SPAN]}}
_SHAPES: dict[str, Any] = {
    "old": {"stac_version": "0.9.0", "type": None, "extent": _EXTENT},
    "old_typed": {"stac_version": "1.0.0-beta.2", "type": "Collection", "extent": _EXTENT},
    "older": {"stac_version": "0.6.2", "extent": {"spatial": _BOX, "temporal": _SPAN}},
    "flat": {"extent": {"spatial": {"bbox": _BOX}, "temporal": {"interval": _SPAN}}},
    "future": {"stac_version": "1.9.0", "extent": _EXTENT},
    "careless": {
        **dict.fromkeys(("links", "description", "license", "title", "assets", "providers")),
        "stac_version": None,
        "summaries": [],
        "extent": _EXTENT,
    },
    "odd": {
        "links": [None, {"rel": "self"}, {"rel": "license", "href": "https://x.test/l"}],
        "assets": {"a": None, "b": {}, "c": {"href": "https://x.test/c"}},
        "providers": [None, {}, {"name": "somebody"}],
        "stac_extensions": [None, 5],
        "extent": _EXTENT,
    },
}


def test_collections_of_every_kind(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, collections=tuple(_SHAPES)))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    for name, changes in _SHAPES.items():
        body = json.dumps({**collection(name), **changes}).encode()
        server.put(api(f"collections/{name}"), body)
    found = {one.id: one for one in Dataset.fetch(DATASET).collections}
    assert list(found) == list(_SHAPES)
    for one in found.values():
        assert one.extent.spatial.bboxes == [_BOX]
        ((start, end),) = one.extent.temporal.intervals
        assert (start and start.year, end) == (2019, None)
        assert one.to_dict(include_self_link=False)["type"] == "Collection"
    odd = Collection.fetch("odd")
    assert (list(odd.assets), len(odd.get_links("license")), len(odd.providers or [])) == (
        ["c"],
        1,
        1,
    )
    assert "read in part: links, providers, assets, stac_extensions" in caplog.text


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["bbox", "interval", "rel", "href", "name"]), inner)
    ),
    max_leaves=8,
)
_FIELDS = ["id", "description", "license", "links", "assets", "providers", "summaries", "type"]
_FIELDS += ["stac_version", "stac_extensions", "extent"]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(_FIELDS), _ANY, max_size=4),
    st.none() | st.fixed_dictionaries({"spatial": _ANY, "temporal": _ANY}),
)
def test_whatever_is_in_it(changes: dict[str, Any], extent: Any) -> None:
    found = Collection.from_dict(
        {**collection("c"), **changes, **({"extent": extent} if extent else {})}
    )
    assert found.extent.spatial.bboxes
    assert found.extent.temporal.intervals
