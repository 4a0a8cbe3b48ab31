"""The demo's encoders, read back with other people's readers."""

from __future__ import annotations

import csv
import hashlib
import io
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlhub_core.hub import demo_files
from mlhub_core.net.checksums import parse_checksum

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=15, deadline=None)
@given(SHAPES, st.sampled_from([np.uint8, np.uint16]), st.integers(0, 2**31))
def test_geotiff(shape: tuple[int, int], kind: type, seed: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, np.iinfo(kind).max, shape).astype(kind)
    with Image.open(io.BytesIO(demo_files.geotiff(pixels, 34.25, -0.5, 0.0001))) as image:
        assert image.format == "TIFF"
        assert np.array_equal(np.asarray(image), pixels)
        tags = image.tag_v2
        assert tags[33550] == (0.0001, 0.0001, 0.0)
        assert tags[33922] == (0.0, 0.0, 0.0, 34.25, -0.5, 0.0)
        keys = tags[34735]
        assert keys[:4] == (1, 1, 0, len(keys) // 4 - 1)
        values = {keys[i]: keys[i + 3] for i in range(4, len(keys), 4)}
        assert values == {1024: 2, 1025: 1, 2048: 4326}


@settings(max_examples=15, deadline=None)
@given(SHAPES, st.integers(0, 2**31))
def test_png(shape: tuple[int, int], seed: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, 256, (*shape, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(demo_files.png(pixels))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(image), pixels)


def test_npy() -> None:
    mask = np.arange(12).reshape(3, 4) > 5
    assert np.array_equal(np.load(io.BytesIO(demo_files.npy(mask)), allow_pickle=False), mask)


def test_csv_and_geojson() -> None:
    table = demo_files.csv(["a", "b"], [(1, "x"), (2, "y")]).decode()
    assert list(csv.reader(io.StringIO(table))) == [["a", "b"], ["1", "x"], ["2", "y"]]
    assert json.loads(demo_files.geojson([])) == {"type": "FeatureCollection", "features": []}


@settings(max_examples=10)
@given(st.binary(max_size=50))
def test_multihash(data: bytes) -> None:
    expected = ("sha256", hashlib.sha256(data).hexdigest())
    assert parse_checksum(demo_files.multihash(data)) == expected
