"""What the reference client gets wrong about filters and names, in whole runs of ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.exceptions import NothingMatches
from mlhub_core.settings import RunSettings, TransferSettings
from tests.acceptance.kit import DATASET, catalog_members, collection, item
from tests.faultserver import FaultServer

Files = Callable[[], dict[str, bytes]]


@pytest.fixture
def catalog(server: FaultServer) -> list[Any]:
    """Items with all that the reference client stumbles over."""

    def one(name: str, **fields: Any) -> Any:
        return item(name, {"image": server.put(f"/{name}.tif", name.encode())}, **fields)

    point = {"type": "Point", "coordinates": [10.5, 50.5]}
    return [
        one("plain", properties={"datetime": "2020-06-01T12:00:00Z"}),
        one("fiji", bbox=[179.0, -18.0, -179.0, -17.0], geometry=None),
        one("high", bbox=[10.0, 50.0, -5.0, 11.0, 51.0, 900.0]),
        one("nowhere", bbox=None, geometry=None),
        one("shape", bbox=None, geometry=point),
        one("never", properties={"datetime": None}),
        one(
            "season",
            properties={
                "datetime": None,
                "start_datetime": "2019-01-01T00:00:00Z",
                "end_datetime": "2020-05-31T00:00:00Z",
            },
        ),
        {k: v for k, v in one("orphan").items() if k != "collection"},
    ]


def _names(files: dict[str, bytes]) -> set[str]:
    return {content.decode() for content in files.values()}


EVERYTHING = {"plain", "fiji", "high", "nowhere", "shape", "never", "season", "orphan"}
IN_PLACE = EVERYTHING - {"fiji", "nowhere"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, EVERYTHING),
        ({"datetime": datetime(2020, 6, 1, 12)}, EVERYTHING - {"never", "season"}),
        (
            {"datetime": (datetime(2020, 6, 1), datetime(2020, 6, 2))},
            EVERYTHING - {"never", "season"},
        ),
        ({"datetime": (None, datetime(2020, 5, 1))}, {"season"}),
        ({"datetime": (datetime(2020, 5, 1), None)}, EVERYTHING - {"never"}),
        ({"datetime": "2019"}, {"season"}),
        ({"bbox": [10.2, 50.2, 10.8, 50.8]}, IN_PLACE),
        ({"bbox": [10.2, 50.2, 0, 10.8, 50.8, 100]}, IN_PLACE),
        ({"bbox": [178, -19, -178, -16]}, {"fiji"}),
        ({"intersects": {"type": "Point", "coordinates": [10.5, 50.5]}}, IN_PLACE),
        (
            {
                "intersects": {
                    "type": "FeatureCollection",
                    "features": [
                        {
                            "type": "Feature",
                            "geometry": {"type": "Point", "coordinates": [10.1, 50.1]},
                        },
                        {
                            "type": "Feature",
                            "geometry": {"type": "Point", "coordinates": [-179.5, -17.5]},
                        },
                    ],
                }
            },
            (IN_PLACE | {"fiji"}) - {"shape"},
        ),
    ],
    # In an order that is the same in each process, as running them side by side wants it.
    ids=lambda given: " ".join(sorted(given)) if isinstance(given, set) else str(given),
)
def test_filters(
    filters: Any, expected: set[str], catalog: list[Any], download: Any, files: Files
) -> None:
    report = download(*catalog, **filters)
    assert _names(files()) == expected
    assert report.files == len(expected)
    assert report.without_place == ("bbox" in filters or "intersects" in filters)
    assert report.without_time == ("datetime" in filters)


def test_nothing_left_says_what_was_left_after_each_filter(
    catalog: list[Any], download: Any, files: Files, server: FaultServer
) -> None:
    """A collection's own asset does not hide that no item matched."""
    own = collection(assets={"table": server.put("/table.csv", b"table")})
    with pytest.raises(NothingMatches) as caught:
        download(own, *catalog, datetime="2020-06", bbox=[0, 0, 1, 1])
    message = str(caught.value)
    assert "9 files in the dataset" in message
    assert "after the datetime filter" in message
    assert "after the bbox filter" in message
    assert "<" not in message
    assert files() == {}


# Names


def test_every_file_has_its_own_name_and_extension(
    download: Any, files: Files, server: FaultServer
) -> None:
    hrefs = {
        "tiff": server.put("/x.tiff", b"tiff"),
        "nested": server.put("/a.jpg/b.png", b"png"),
        "query": server.put("/c.npy?name=x.tif", b"npy"),
        "bare": server.put("/bare", b"bare"),
        "typed": {"href": server.put("/typed", b"typed"), "type": "image/png"},
        "archive": server.put("/d.tar.gz", b"tar"),
        "B8A": server.put("/B8A.tif", b"upper"),
        "B8a": server.put("/B8a.tif", b"lower"),
    }
    download(item("a", hrefs))
    found = {place.removeprefix("pictures/a/"): content for place, content in files().items()}
    assert found.pop("tiff.tiff") == b"tiff"
    assert found.pop("nested.png") == b"png"
    assert found.pop("query.npy") == b"npy"
    assert found.pop("bare") == b"bare"
    assert found.pop("typed.png") == b"typed"
    assert found.pop("archive.tar.gz") == b"tar"
    assert sorted(found.values()) == [b"lower", b"upper"]
    assert len({name.casefold() for name in found}) == 2


def test_two_files_never_share_a_place(download: Any, files: Files, server: FaultServer) -> None:
    """Two items of one id, and common keys that mean different files."""
    one = item("same", {"image": server.put("/1.tif", b"1"), "readme": server.put("/1.txt", b"r1")})
    other = item(
        "same", {"image": server.put("/2.tif", b"2"), "readme": server.put("/2.txt", b"r2")}
    )
    shared = server.put("/doc.pdf", b"doc")
    for each in (one, other):
        each["assets"]["documentation"] = {"href": shared}
    download(one, other)
    found = files()
    assert sorted(found.values()) == [b"1", b"2", b"doc", b"r1", b"r2"]
    assert found["_common/documentation.pdf"] == b"doc"
    assert not [place for place in found if place.startswith("_common/readme")]


def test_relative_hrefs_are_taken_from_the_archive(download: Any, files: Files) -> None:
    picture = item("a", {"image": "./a.tif", "table": "../table.csv"})
    members = {
        **catalog_members(picture),
        f"{DATASET}/pictures/n0/a.tif": b"carried",
        f"{DATASET}/pictures/table.csv": b"above",
    }
    report = download(members=members)
    assert (report.files, report.failed, report.requests) == (2, 0, 0)
    found = files()
    assert found["pictures/a/image.tif"] == b"carried"
    assert found["pictures/a/table.csv"] == b"above"


def test_s3_keys_are_percent_encoded(download: Any, files: Files, server: FaultServer) -> None:
    server.put("/bucket/a%20b/%C3%BC%231.tif", b"s3")
    settings = RunSettings(transfer=TransferSettings(s3_endpoint=server.url("")))
    download(item("a", {"image": "s3://bucket/a b/ü#1.tif"}), settings=settings)
    assert list(files().values()) == [b"s3"]


def test_json_among_the_assets_is_no_item_of_the_next_run(
    download: Any, files: Files, server: FaultServer, tmp_path: Path
) -> None:
    labels = b'{"type": "FeatureCollection", "features": []}'
    described = item(
        "a", {"labels": server.put("/a.json", labels), "list": server.put("/l.json", b"[1]")}
    )
    first = download(described)
    (tmp_path / "out" / DATASET / "pictures" / "stray.json").write_text("{broken")
    again = download(if_exists="resume")
    assert (first.fetched, again.kept, again.fetched) == (2, 2, 0)
    assert files()["pictures/a/labels.json"] == labels
    assert download(described, item("b", {"labels": server.url("/a.json")})).fetched == 1
