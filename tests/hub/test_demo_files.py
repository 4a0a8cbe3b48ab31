"""Pictures, read back with other people's readers."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlhub_core.hub import demo_scene
from mlhub_core.png import png

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=15, deadline=None)
@given(SHAPES, st.sampled_from([np.uint8, np.uint16]), st.integers(0, 2**31))
def test_geotiff(shape: tuple[int, int], kind: type, seed: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, np.iinfo(kind).max, shape).astype(kind)
    with Image.open(io.BytesIO(demo_scene.geotiff(pixels, 34.25, -0.5, 0.0001))) as image:
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
    with Image.open(io.BytesIO(png(pixels))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(image), pixels)
