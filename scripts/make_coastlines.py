"""Makes ``mlhub_core/views/coastlines.wkt.gz`` of Natural Earth, as npm's ``world-atlas`` has it.

Two lines of WKT: land, borders. They are as coarse as a map of the world needs them:
1:110 million, hundredths of a degree. ``npm`` must be there; nothing else asks for it.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely

PACKAGE = "world-atlas@2.0.2"
TARGET = Path(__file__).parent.parent / "mlhub_core" / "views" / "coastlines.wkt.gz"
DIGITS = 2
_POLE = -90.0


def main() -> None:
    """Fetch the atlas, and write land and borders."""
    atlas = fetched()
    arcs = decoded(atlas)
    (land_object,) = atlas["objects"]["land"]["geometries"]
    rings = [ring for polygon in land_object["arcs"] for ring in polygon]
    land = on_the_map(joined(ring, arcs) for ring in rings)
    owners = Counter(number if number >= 0 else ~number for number in used(atlas))
    shared = [arcs[number] for number, count in owners.items() if count > 1]
    borders = shapely.MultiLineString([line for arc in shared for line in cut(arc)])
    shapes = (shapely.set_precision(land, 10**-DIGITS), borders)
    text = "\n".join(shapely.to_wkt(shape, rounding_precision=DIGITS) for shape in shapes)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


def fetched() -> Any:
    """The atlas of countries, as TopoJSON."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=scratch, check=True)
        (packed,) = Path(scratch).glob("*.tgz")
        with tarfile.open(packed) as files:
            member = files.extractfile("package/countries-110m.json")
            assert member is not None
            return json.load(io.TextIOWrapper(member, "utf-8"))


def decoded(atlas: Any) -> list[np.ndarray]:
    """The arcs in degrees: TopoJSON has whole numbers, each the step from the one before."""
    scale, shift = (np.array(atlas["transform"][name]) for name in ("scale", "translate"))
    return [np.cumsum(np.array(arc), axis=0) * scale + shift for arc in atlas["arcs"]]


def used(atlas: Any) -> Iterator[int]:
    """The numbers of the arcs that countries use; of one between two there are two."""
    nested = [country["arcs"] for country in atlas["objects"]["countries"]["geometries"]]
    while nested:
        part = nested.pop()
        if isinstance(part, int):
            yield part
        else:
            nested.extend(part)


def joined(numbers: list[int], arcs: list[np.ndarray]) -> np.ndarray:
    """A ring of arcs; one with a negative number goes backwards."""
    parts = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in numbers]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def unwrapped(line: np.ndarray) -> np.ndarray:
    """A line whose longitudes go on across the antimeridian instead of jumping."""
    return np.column_stack([np.unwrap(line[:, 0], period=360.0), line[:, 1]])


def on_the_map(rings: Iterable[np.ndarray]) -> Any:
    """Rings on a sphere as polygons of a map from -180 to 180; one around a pole reaches it."""
    parts = []
    for ring in map(unwrapped, rings):
        west, east = ring[0, 0], ring[-1, 0]
        if abs(east - west) > 180:
            ring = np.concatenate([ring, [(east, _POLE), (west, _POLE)]])
        parts.append(shapely.make_valid(shapely.Polygon(ring)))
    # A ring in another is a lake.
    whole = parts[0]
    for part in parts[1:]:
        whole = shapely.symmetric_difference(whole, part)
    return shapely.union_all([_shifted(whole, turn) for turn in (-360.0, 0.0, 360.0)])


def _shifted(shape: Any, turn: float) -> Any:
    moved = shapely.transform(shape, partial(np.add, (turn, 0.0)))
    return shapely.intersection(moved, shapely.box(-180, -90, 180, 90))


def cut(arc: np.ndarray) -> list[Any]:
    """A line, in two where it crosses the antimeridian."""
    jumps = np.flatnonzero(np.abs(np.diff(arc[:, 0])) > 180) + 1
    return [shapely.LineString(part) for part in np.split(arc, jumps) if len(part) > 1]


if __name__ == "__main__":
    main()
