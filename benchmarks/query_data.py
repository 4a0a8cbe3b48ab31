"""An asset index of any size, made at once: what filters are measured on.

In the manner of BigEarthNet: patches of 1.2 km in one part of the world over a year, twelve bands
of each, and a label of each that points at them. Rows stand as in an index of ours: by place, in
cells of a degree along a Morton curve, and by time within a cell. It is written a row group at a
time, so ten million rows take no more memory than a hundred thousand.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlhub_core.index.schema import FACTS_KEY, IDENTITY_KEY, conform, geo_metadata, index_schema

IMAGES, LABELS = "bigearthnet_v1_source", "bigearthnet_v1_labels"
WEST, SOUTH, EAST, NORTH = -10, 36, 30, 54
FIRST_DAY = np.datetime64("2017-06-01T00:00:00", "us")
DAYS = 365
GROUP_ROWS = 32_768

_BANDS = [f"B{number:02d}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12)] + ["B8A"]
_KEYS = [*_BANDS, "labels", "labels_metadata"]
_SIDE = 0.0108
"""Degrees; 1.2 km from south to north."""
_MOMENT = pa.timestamp("us", tz="UTC")
_PLAIN = {"href", "save_path", "properties", "checksum", "geometry"}


def write_index(path: Path, rows: int, *, seed: int = 1) -> int:
    """Write an index.

    Args:
        path: Where to.
        rows: About how many assets.
        seed: Another one gives other places and times.

    Returns:
        How many assets.
    """
    patches = max(1, rows // len(_KEYS))
    leaves = [name for name in _leaves() if name.split(".")[0] not in _PLAIN]
    schema = index_schema()
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=leaves) as writer:
        for batch in _batches(patches, seed):
            writer.write_batch(batch, row_group_size=batch.num_rows)
            written += batch.num_rows
        bounds = (float(WEST), float(SOUTH), float(EAST), float(NORTH))
        writer.add_key_value_metadata(
            {
                FACTS_KEY: json.dumps({"paths_differ": True, "boxes_agree": True}),
                "geo": geo_metadata(["Polygon"], bounds),
                IDENTITY_KEY: json.dumps(
                    {"version": 0, "dataset_id": "bench", "sha256": f"{seed}"}
                ),
            }
        )
    return written


def _batches(patches: int, seed: int) -> Iterator[pa.RecordBatch]:
    random = np.random.default_rng(seed)
    cells = _cells()
    share = np.bincount(random.integers(0, len(cells), patches), minlength=len(cells))
    size = GROUP_ROWS // len(_KEYS)
    held: list[tuple[Any, Any, Any]] = []
    number = 0
    for (west, south), count in zip(cells, share, strict=True):
        days = np.sort(random.integers(0, DAYS * 1440, count))
        x = west + random.random(count) * (1 - _SIDE)
        y = south + random.random(count) * (1 - _SIDE)
        held.append((x, y, days))
        while sum(len(part[0]) for part in held) >= size:
            x, y, days = (np.concatenate(parts) for parts in zip(*held, strict=True))
            yield _batch(x[:size], y[:size], days[:size], number)
            number += size
            held = [(x[size:], y[size:], days[size:])]
    x, y, days = (np.concatenate(parts) for parts in zip(*held, strict=True))
    if len(x):
        yield _batch(x, y, days, number)


def _cells() -> list[tuple[int, int]]:
    """Cells of a degree, along a Morton curve."""

    def morton(cell: tuple[int, int]) -> int:
        x, y = cell[0] - WEST, cell[1] - SOUTH
        return sum(
            ((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << 2 * bit + 1) for bit in range(8)
        )

    return sorted(((x, y) for x in range(WEST, EAST) for y in range(SOUTH, NORTH)), key=morton)


def _batch(x: Any, y: Any, minutes: Any, number: int) -> pa.RecordBatch:
    """Patches as rows, those of a patch one after the other: twelve bands, then the label."""
    count, each = len(x), len(_KEYS)
    stamps = FIRST_DAY + minutes.astype("timedelta64[m]")
    names = [
        f"S2A_{stamp}_{number + at}" for at, stamp in enumerate(stamps.astype("datetime64[D]"))
    ]
    labels = [f"{name}_labels" for name in names]
    is_label = np.tile(np.arange(each) >= len(_BANDS), count)
    owner = np.repeat(np.arange(count) * 2, each) + is_label
    items = pa.array([name for pair in zip(names, labels, strict=True) for name in pair])
    item_id = items.take(pa.array(owner))
    collection_id = pa.array([IMAGES, LABELS]).take(pa.array(is_label.astype(np.int8)))
    key = pa.array(_KEYS * count)
    suffix = pa.array([".tif", ".json"]).take(pa.array(is_label.astype(np.int8)))
    end = pc_join(item_id, key, suffix)
    twice = pa.array(np.arange(count * 2) // 2)
    clouds = (minutes * 7919) % 1000 / 10
    properties = pa.array(
        [f'{{"datetime":"{t}Z","eo:cloud_cover":{c}}}' for t, c in zip(stamps, clouds, strict=True)]
    )
    sources = pa.array(
        [found for name in names for found in ([], [name])],
        index_schema().field("source_items").type,
    )
    suffixes = pa.array([".json"] * len(items))
    source_paths = pa.array(
        [found for name in names for found in ([], [f"{name}/{name}.json"])],
        index_schema().field("source_paths").type,
    )
    box = np.stack([x, y, x + _SIDE, y + _SIDE], axis=1)
    boxes = pa.StructArray.from_arrays(
        [pa.array(box[:, side]) for side in range(4)],
        fields=list(index_schema().field("bbox").type),
    ).take(twice)
    where = pa.array(owner)
    rows = count * each
    columns = {
        "collection_id": collection_id,
        "item_id": item_id,
        "asset_key": key,
        "href": _joined("https://files.example/", end),
        "media_type": pa.array(["image/tiff; application=geotiff", "application/json"]).take(
            pa.array(is_label.astype(np.int8))
        ),
        "roles": pa.array([["data"], ["labels"]], index_schema().field("roles").type).take(
            pa.array(is_label.astype(np.int8))
        ),
        "save_path": _joined("", pc_join(collection_id, end, pa.array([""] * rows))),
        "common_asset": pa.repeat(False, rows),
        "datetime": pa.array(stamps).cast(_MOMENT).take(twice).take(where),
        "start_datetime": pa.nulls(rows, _MOMENT),
        "end_datetime": pa.nulls(rows, _MOMENT),
        "file_size": pa.array(np.where(is_label, 400, 29_000 + owner % 1000)),
        "checksum": pa.nulls(rows, pa.string()),
        "item_bbox": boxes.take(where),
        "bbox": boxes.take(where),
        "properties": properties.take(twice).take(where),
        "source_items": sources.take(where),
        "item_path": _joined("", pc_join(items, items, suffixes)).take(where),
        "source_paths": source_paths.take(where),
        "geometry": pa.array(_polygons(box), pa.binary()).take(twice).take(where),
    }
    return conform(pa.RecordBatch.from_pydict(columns), index_schema())


def pc_join(one: pa.Array, two: pa.Array, three: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pc.binary_join_element_wise(one, two, "/"), three, "")


def _joined(prefix: str, ends: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(prefix, ends, "")


def _polygons(box: Any) -> list[bytes]:
    west, south, east, north = box.T
    ring = np.stack([west, south, east, south, east, north, west, north, west, south], axis=1)
    head = struct.pack("<BIII", 1, 3, 1, 5)
    return [head + one.tobytes() for one in ring]


def _leaves() -> list[str]:
    names = []
    for field in index_schema():
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{part.name}" for part in field.type]
        else:
            names.append(field.name)
    return names


def coast(vertices: int) -> dict[str, Any]:
    """A polygon in the manner of a coast line: a wavy, jagged ring around the middle."""
    random = np.random.default_rng(7)
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    waves = sum(np.sin(angle * k + random.random() * 6.28) / k for k in (3, 7, 19, 53, 211, 1013))
    radius = 1 + 0.18 * waves + random.random(vertices) * 0.0005
    middle = ((WEST + EAST) / 2, (SOUTH + NORTH) / 2)
    ring = [
        [round(middle[0] + 9 * r * np.cos(a), 7), round(middle[1] + 5 * r * np.sin(a), 7)]
        for r, a in zip(radius, angle, strict=True)
    ]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.query_data", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = write_index(options.output, options.rows)
    size = options.output.stat().st_size
    print(f"{rows:,} rows, {size / rows:.1f} bytes each")


if __name__ == "__main__":
    main()
