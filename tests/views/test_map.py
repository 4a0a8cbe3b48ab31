"""Where items lie: the grid against boxes counted one by one, and the picture it becomes."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.index.schema import box_array, conform, geo_metadata, index_schema
from mlhub_core.selection.footprints import count_footprints
from mlhub_core.selection.partition import Asset, Partition, write_assets
from mlhub_core.views.extent import Bounds
from mlhub_core.views.map import Footprints, data_url, draw, draw_png

Box = tuple[float, float, float, float]


def write_index(path: Path, boxes: list[Box | None], bounds: Bounds | None) -> Path:
    """An index: two rows an item, and two items a row group."""
    twice = [box for box in boxes for _ in range(2)]
    ids = [f"item-{number}" for number in range(len(boxes)) for _ in range(2)]
    table = pa.table(
        {
            "collection_id": ["c"] * len(twice),
            "item_id": ids,
            **dict.fromkeys(("asset_key", "href", "save_path"), ids),
            "common_asset": [False] * len(twice),
            "item_bbox": box_array(twice),
            "bbox": box_array(twice),
        }
    )
    geo = {b"geo": geo_metadata(["Polygon"], bounds).encode()}
    rows = [conform(batch, index_schema()) for batch in table.to_batches()]
    table = pa.Table.from_batches(rows, index_schema()).replace_schema_metadata(geo)
    pq.write_table(table, path, row_group_size=4)
    return path


def partition(path: Path, items: list[str | None]) -> Partition:
    rows = [Asset(f"c/{item}/a", "https://x.example/a", "c", item, "a") for item in items]
    return Partition(1, 1, path, write_assets(path, rows))


def counted(path: Path, boxes: list[Box | None], chosen: list[int]) -> Footprints:
    index = write_index(path / "index.parquet", boxes, (0.0, 0.0, 10.0, 10.0))
    part = partition(path / "part.parquet", [f"item-{number}" for number in chosen])
    found = count_footprints(index, (part,), all_chosen=False)
    assert found is not None
    return found


def test_boxes_are_counted_in_the_cells_that_they_cover(tmp_path: Path) -> None:
    boxes: list[Box | None] = [(0, 0, 10, 10), (0, 0, 1, 1), None, (9, 9, 10, 10)]
    found = counted(tmp_path, boxes, [0, 1])
    west, south, east, north = found.bounds
    assert -4 < west < 0 > south > -2
    assert 10 < north < 12 < east < 14
    rows, columns = found.everything.shape
    assert columns == 240

    def at(grid: np.ndarray, x: float, y: float) -> int:
        row = int((north - y) / (north - south) * rows)
        return int(grid[row, int((x - west) / (east - west) * columns)])

    assert at(found.everything, 5, 5) == 1, "the large one, which has two rows"
    assert at(found.everything, 0.5, 0.5) == 2
    assert at(found.everything, 9.5, 9.5) == 2
    assert at(found.everything, 10.3, 10.3) == 0
    assert at(found.chosen, 0.5, 0.5) == 2
    assert at(found.chosen, 9.5, 9.5) == at(found.chosen, 5, 5) == 1


def test_the_map_is_of_what_was_chosen(tmp_path: Path) -> None:
    found = counted(tmp_path, [(0, 0, 10, 10), (1, 1, 2, 2), (8, 8, 9, 9)], [1])
    west, south, east, north = found.bounds
    assert 0 < west < 1 < 2 < east < 3
    assert 0 < south < 1 < 2 < north < 3
    assert found.everything.min() == 1, "the large one, which is everywhere"
    assert found.everything.max() == 2
    assert 0 < np.count_nonzero(found.chosen) < found.chosen.size


coordinates = st.floats(0, 10, allow_nan=False)


@settings(max_examples=10)
@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=8)
)
def test_as_counted_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, corners: list[Box]
) -> None:
    boxes: list[Box | None] = [
        (min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners
    ]
    found = counted(tmp_path_factory.mktemp("index"), boxes, list(range(len(boxes))))
    west, south, east, north = found.bounds
    rows, columns = found.everything.shape
    expected = np.zeros((rows, columns), int)
    for box in boxes:
        assert box is not None
        x0, x1 = (int((box[i] - west) / (east - west) * columns) for i in (0, 2))
        y0, y1 = (int((north - box[i]) / (north - south) * rows) for i in (3, 1))
        expected[y0 : y1 + 1, x0 : x1 + 1] += 1
    assert (found.everything == expected).all()
    assert (found.chosen == expected).all()


def test_across_the_antimeridian(tmp_path: Path) -> None:
    boxes: list[Box | None] = [(170, -5, -170, 5), (175, 0, 176, 1), (-180, 0, -179, 1)]
    index = write_index(tmp_path / "i.parquet", boxes, (-180, -5, 180, 5))
    found = count_footprints(index, (), all_chosen=True)
    assert found is not None
    west, _, east, _ = found.bounds
    assert 160 < west < 170 < 190 < east < 200, "the short way round"
    middle = found.chosen[found.chosen.shape[0] // 2]
    assert middle.max() == 2
    assert middle[0] == middle[-1] == 0
    picture = draw(found, "Fiji", "3", "3")
    assert {"170°E", "180°", "170°W"} <= set(texts_of(picture))


def test_all_around_the_earth(tmp_path: Path) -> None:
    boxes: list[Box | None] = [(-180, -60, 0, 60), (0, -60, 180, 60)]
    index = write_index(tmp_path / "i.parquet", boxes, (-180, -60, 180, 60))
    found = count_footprints(index, (), all_chosen=True)
    assert found is not None
    assert found.bounds[::2] == (-180, 180)
    assert found.chosen[found.chosen.shape[0] // 2].min() == 1


def test_nothing_has_a_place(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i.parquet", [None], None)
    assert count_footprints(index, (), all_chosen=True) is None


def test_an_index_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"gone\.parquet"):
        count_footprints(tmp_path / "gone.parquet", (), all_chosen=True)


def test_a_collections_own_assets_choose_nothing(tmp_path: Path) -> None:
    index = write_index(tmp_path / "i.parquet", [(1, 1, 2, 2)], (0, 0, 10, 10))
    part = partition(tmp_path / "p.parquet", [None])
    found = count_footprints(index, (part,), all_chosen=False)
    assert found is not None
    assert found.everything.any()
    assert not found.chosen.any()


def elements(svg: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{name}"))


def texts_of(svg: str) -> list[str]:
    return [entry.text or "" for entry in elements(svg, "text")]


def test_the_picture_is_an_svg_that_needs_nothing_else(tmp_path: Path) -> None:
    prints = counted(tmp_path, [(1, 1, 9, 9), (2, 2, 3, 3)], [0])
    svg = draw(prints, 'Fields <of> "gold" & more', "1 chosen", "2 in all")
    assert {'Fields <of> "gold" & more', "1 chosen", "5°E", "8°N"} <= set(texts_of(svg))
    assert "2 in all (up to 2 at a spot)" in texts_of(svg)
    (image,) = elements(svg, "image")
    content = base64.b64decode(image.attrib["href"].removeprefix("data:image/png;base64,"))
    png = Image.open(io.BytesIO(content))
    png.load()
    assert png.size == prints.everything.shape[::-1]
    assert png.info["transparency"] == 0, "land is seen where nothing lies"
    drawn = np.asarray(png)
    assert ((drawn > 4) == (prints.chosen > 0)).all()
    assert ((drawn > 0) == (prints.everything > 0)).all()
    assert len(data_url(svg)) < 70_000


def test_land_and_borders_are_drawn(tmp_path: Path) -> None:
    lagos = counted(tmp_path, [(3, 6, 4, 7)], [0])
    at_sea = counted(tmp_path, [(-30.5, 0, -30, 0.5)], [0])
    drawn, empty = (len(elements(draw(prints, "", "", ""), "path")) for prints in (lagos, at_sea))
    assert drawn - empty == 3, "land, its coast, its borders"


def test_a_picture_of_no_places_says_so() -> None:
    svg = draw(None, "Nowhere", "0 items selected", "0 in all")
    assert "Nothing of it has a place." in texts_of(svg)
    assert len(data_url(svg)) < 90_000
    assert Image.open(io.BytesIO(draw_png(None, "Nowhere", "0", "0"))).size[0] == 1440


def test_no_secret_of_a_title_is_drawn() -> None:
    assert "Signature=abcdef" not in draw(None, "see https://x.example/a?Signature=abcdef", "", "")


@settings(max_examples=10)
@given(
    st.floats(-180, 179, allow_nan=False),
    st.floats(-90, 89, allow_nan=False),
    st.floats(0.02, 360),
    st.floats(0.02, 180),
)
def test_any_extent_can_be_drawn(west: float, south: float, width: float, height: float) -> None:
    bounds = (west, south, min(west + width, 180.0), min(south + height, 90.0))
    grid = np.ones((2, 240), dtype=np.int64)
    texts = texts_of(draw(Footprints(bounds, grid, grid), "x", "", ""))
    degrees = [text for text in texts if text.endswith(tuple("°NSEW"))]
    assert 1 <= len(degrees) <= 20
