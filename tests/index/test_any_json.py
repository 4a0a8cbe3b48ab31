"""Whatever is in the JSON of a catalog: each asset is a row, or counted and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlhub_core.index.build import index_assets
from tests.index.kit import DATASET, item, paths_in, rows_of, write_archive

_TEXTS = st.text(max_size=6) | st.sampled_from(
    ["https://x.test/a.tif", "./a.tif", "../../../../x", "image/tiff", "Feature", "\x1b[2J", "\0"]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(2**63) - 1, float("nan"), float("inf"), "\ud800", "\udfff"])
    | st.floats()
    | _TEXTS
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_ASSET_FIELDS = ["href", "type", "roles", "title", "file:size", "file:checksum", "updated"]
_SOUND = st.fixed_dictionaries(
    {"href": st.sampled_from(["https://x.test/a.tif", "a.tif?x", "//y"])}
)
_ASSETS = st.dictionaries(
    _TEXTS,
    _SOUND | st.dictionaries(st.sampled_from(_ASSET_FIELDS), _JSON, max_size=5) | _JSON,
    max_size=5,
)
_ITEM_FIELDS = [
    "type",
    "stac_version",
    "id",
    "collection",
    "bbox",
    "geometry",
    "properties",
    "links",
]
_DEEP: Any = []
for _ in range(300):
    _DEEP = [_DEEP]


def _assets_in(value: Any) -> int:
    """How many assets a document has, wherever they may be read."""
    documents = value if isinstance(value, list) else [value]
    found = 0
    for document in documents:
        if isinstance(document, dict) and document.get("assets"):
            assets = document["assets"]
            found += len(assets) if isinstance(assets, dict) else 1
    return found


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


# Hypothesis listens to the garbage collector, and is called where the stack is nearly full.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(
    max_examples=settings.default.max_examples // 5,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    assets=_ASSETS | _JSON,
    changes=st.dictionaries(st.sampled_from(_ITEM_FIELDS), _JSON | st.just(_DEEP), max_size=3),
    name=st.sampled_from(["any.json", "any.geojson", "collection.json"]),
    wrapped=st.sampled_from(["", "list", "features"]),
)
def test_each_asset_is_a_row_or_named(
    tmp_path_factory: pytest.TempPathFactory,
    assets: Any,
    changes: dict[str, Any],
    name: str,
    wrapped: str,
) -> None:
    directory = tmp_path_factory.mktemp("any")
    raw = {**item("odd"), **changes, "assets": assets}
    document: Any = {"": raw, "list": [raw], "features": {"type": "FeatureCollection"}}[wrapped]
    if wrapped == "features":
        document["features"] = [raw, None]
    files = {
        f"{DATASET}/catalog.json": {"type": "Catalog", "id": DATASET, "links": []},
        f"{DATASET}/any/{name}": _bytes(document),
        f"{DATASET}/coll/sound/sound.json": item("sound"),
    }
    index = index_assets(write_archive(directory, files), paths_in(directory))
    rows = rows_of(index)
    assert index.assets == len(rows)
    assert any(row["item_id"] == "sound" for row in rows)
    put_in = _assets_in(raw)
    got = len(rows) - 1
    if got < put_in:
        # As one for a file that is neither, or as one each.
        assert index.missing in (1, put_in - got)
        assert index.remark_count == len(index.remarks)
        assert sum(f"any/{name}" in text for text in index.remarks) >= index.missing
    for text in index.remarks:
        assert text.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        '{"id": ' + "9" * 5000 + "}",
        '{"properties": {"a": ' + "9" * 5000 + ', "datetime": ' + "1" * 5000 + "}}",
        '{"bbox": [' + ",".join(["9" * 5000] * 4) + "]}",
        '{"assets": {"a": {"href": "https://x.test/a", "file:size": ' + "9" * 5000 + "}}}",
        '{"geometry": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"properties": {"a": ' + "[" * 900 + "]" * 900 + "}}",
        '{"assets": {"\\ud800": {"href": "https://x.test/1"}, "\\ud801": {"href": "https://x.test/2"}}}',
        '{"id": "\\u001b[2J\\u0000", "collection": "\\u0007"}',
    ],
)
def test_one_odd_item_is_not_the_whole_catalog(tmp_path: Path, text: str) -> None:
    plain = json.dumps(item("odd"))[1:]
    changes = text[1:-1]
    for number, data in enumerate(
        (f"{{{plain[:-1]}, {changes}}}", "\ufeff{" + changes + "," + plain)
    ):
        files = {
            f"{DATASET}/catalog.json": {"type": "Catalog", "id": DATASET, "links": []},
            f"{DATASET}/coll/odd/odd.json": data.encode(),
            f"{DATASET}/coll/sound/sound.json": item("sound"),
        }
        where = tmp_path / str(number)
        index = index_assets(write_archive(where, files), paths_in(where))
        rows = rows_of(index)
        assert {row["item_id"] for row in rows} > {"sound"} or (index.missing, len(rows)) == (1, 1)
        assert len(rows) + index.missing >= 2
