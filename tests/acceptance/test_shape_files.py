"""A shape in a file travels as its path and its digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlhub_core.cli.arguments import OneLineParser, option_fields
from mlhub_core.cli.downloads import add_download_options
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.options import MAX_INLINE_GEOJSON, DownloadOptions

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


def fields_of(*words: str) -> dict[str, object]:
    parser = OneLineParser()
    add_download_options(parser)
    return option_fields(parser.parse_args(["ds", *words]), DownloadOptions)


def test_the_run_gets_the_file_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "square.geojson"
    path.write_text(json.dumps(SQUARE))
    options = DownloadOptions.create(**fields_of("--intersects", str(path)))
    stored = options.model_dump_json()
    assert "coordinates" not in stored, "a large shape would not fit into the parameters"
    assert DownloadOptions.model_validate_json(stored).wanted.intersects is not None
    path.write_text(json.dumps({**SQUARE, "type": "MultiPoint", "coordinates": [[5, 5]]}))
    with pytest.raises(InvalidArgument, match=r"square\.geojson has changed"):
        DownloadOptions.create(**options.model_dump())


def test_a_shape_that_is_too_large_to_travel() -> None:
    ring = [[number / 1e5, 0.5] for number in range(20_000)]
    large = {"type": "LineString", "coordinates": ring}
    assert len(json.dumps(large)) > MAX_INLINE_GEOJSON
    for shape in (large, json.dumps(large)):
        with pytest.raises(InvalidArgument, match="put it in a file"):
            DownloadOptions.create(dataset="ds", intersects=shape)


def test_a_small_shape_travels_as_it_is() -> None:
    for shape in (SQUARE, json.dumps(SQUARE)):
        wanted = DownloadOptions.create(dataset="ds", intersects=shape).wanted
        assert json.loads(wanted.intersects or "")["type"] == "Polygon"
