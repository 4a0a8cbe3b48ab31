"""One dataset in every form that STAC comes in: the same rows, the same files."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from benchmarks.nginx import Nginx, is_there
from mlhub_core import index_source
from mlhub_core.cli import main
from tests.acceptance.kit import collection, item, tar_gz
from tests.faultserver import Fault, FaultServer
from tests.stacserver import StacServer

Json = dict[str, Any]
COUNT = 24
_OF_THE_FORM = {"item_path", "source_paths", "license"}
"""Columns that say where in its source an item lay, and what only its collection knows."""
_TIMES = ("datetime", "start_datetime", "end_datetime")


class Offered(NamedTuple):
    """A dataset, offered in one form.

    Attributes:
        source: What names it.
        words: Further words of the command.
    """

    source: str
    words: tuple[str, ...] = ()


class Forms:
    """A dataset, and the forms that it is offered in.

    Args:
        server: Has the files, and the static catalog.
        api: A STAC API.
        count: Items.
    """

    def __init__(self, server: FaultServer | Files, api: StacServer, count: int) -> None:
        self._server = server
        self.stac_api = api
        self.assets: set[str] = set()
        self.collections = [collection("north"), collection("south")]
        self.items = [self._item(number) for number in range(count)]

    def _item(self, number: int) -> Json:
        name, of = f"i{number}", ("north", "south")[number % 2]
        home = f"/cat/{of}/{name}"
        west = 179.5 if number == 3 else number % 170 + 0.25
        east = -179.5 if number == 3 else west + 0.5
        assets: Json = {
            "image": {
                "href": "./image.tif",  # beside the item
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "file:size": len(self._put(f"{home}/image.tif")),
            },
            "documentation": self._server.url("/docs.pdf"),
        }
        self._put("/docs.pdf")
        if number % 5 == 0:
            self._put(f"{home}/mask.png")
            assets["mask"] = {"href": self._server.url(f"{home}/mask.png"), "title": "Mask"}
        day = f"2020-06-{number % 28 + 1:02}T12:00:00Z"
        times: Json = {"datetime": day}
        if number % 7 == 1:
            times = {
                "datetime": None,
                "start_datetime": day,
                "end_datetime": "2020-07-01T00:00:00Z",
            }
        whole = item(
            name,
            assets,
            of,
            bbox=[west, 10.0, east, 11.0],
            geometry={"type": "Point", "coordinates": [west, 10.5]},
            properties={**times, "eo:cloud_cover": number * 1.5, "gsd": 10, "view": {"on": True}},
        )
        whole["links"] = [{"rel": "self", "href": self._server.url(f"{home}/{name}.json")}]
        if number % 6 == 5:
            source = (
                f"../../{'north' if of == 'south' else 'south'}/i{number - 1}/i{number - 1}.json"
            )
            whole["links"].append({"rel": "source", "href": source})
        return whole

    def _put(self, path: str) -> bytes:
        content = path.encode() * 20
        self.assets.add(path)
        self._server.put(path, content)
        return content

    # The forms

    def _tree(self) -> dict[str, bytes]:
        """The files of a catalog, by their paths."""
        root: Json = {"type": "Catalog", "id": "made", "stac_version": "1.0.0", "description": "x"}
        root["links"] = [
            {"rel": "child", "href": f"./{one['id']}/collection.json"} for one in self.collections
        ]
        files = {"catalog.json": json.dumps(root).encode()}
        for one in self.collections:
            links = [
                {"rel": "item", "href": f"./{each['id']}/{each['id']}.json"}
                for each in self.items
                if each["collection"] == one["id"]
            ]
            files[f"{one['id']}/collection.json"] = json.dumps({**one, "links": links}).encode()
        for each in self.items:
            path = f"{each['collection']}/{each['id']}/{each['id']}.json"
            files[path] = json.dumps(each).encode()
        return files

    def tar_gz(self) -> Offered:
        Path("made.tar.gz").write_bytes(tar_gz(self._tree()))
        return Offered("made.tar.gz")

    def tar_zst(self) -> Offered:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as tar:
            for name, content in self._tree().items():
                info = tarfile.TarInfo(f"deep/down/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        packed = pa.compress(raw.getvalue(), "zstd", asbytes=True)
        Path("made.tar.zst").write_bytes(packed)
        return Offered("made.tar.zst")

    def zip(self) -> Offered:
        with zipfile.ZipFile("made.zip", "w") as packed:
            for name, content in self._tree().items():
                packed.writestr(name, content)
        return Offered("made.zip")

    def directory(self) -> Offered:
        for name, content in self._tree().items():
            path = Path("given/made", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return Offered("given/made/catalog.json")

    def static(self) -> Offered:
        for name, content in self._tree().items():
            self._server.put(f"/cat/{name}", content)
        return Offered(self._server.url("/cat/catalog.json"))

    def api(self) -> Offered:
        self.stac_api.most = max(10, len(self.items) // 10)
        self.stac_api.add(*self.collections, *self.items)
        return Offered(self.stac_api.url("/"), ("--collection", "north", "--collection", "south"))

    def item_collection(self) -> Offered:
        found = {"type": "FeatureCollection", "features": self.items}
        Path("made.json").write_text(json.dumps(found, indent=1))
        return Offered("made.json")

    def item_collection_by_url(self) -> Offered:
        found = {"type": "FeatureCollection", "features": self.items}
        self._server.put("/found/made.geojson", json.dumps(found).encode())
        return Offered(self._server.url("/found/made.geojson"))

    def ndjson(self) -> Offered:
        Path("made.ndjson").write_text("".join(json.dumps(one) + "\n" for one in self.items))
        return Offered("made.ndjson")

    def stdin(self) -> Offered:
        self.item_collection()
        return Offered("-")

    def parquet(self) -> Offered:
        write_table(self.items, Path("made.parquet"))
        return Offered("made.parquet")

    def parquet_by_url(self) -> Offered:
        self.parquet()
        self._server.put("/found/made.parquet", Path("made.parquet").read_bytes())
        return Offered(self._server.url("/found/made.parquet"))

    def index(self) -> Offered:
        source = self.tar_gz().source
        index_source(source, "given/index.parquet", dataset_id="made")
        return Offered("given/index.parquet")

    def parts(self) -> Offered:
        for of in ("north", "south"):
            own = [one for one in self.items if one["collection"] == of]
            write_table(own, Path(f"given/parts/collection={of}/a.parquet"), without="collection")
        return Offered("given/parts")


def write_table(items: list[Json], path: Path, *, without: str = "") -> None:
    """Items as the specification of stac-geoparquet lays them out."""
    rows = []
    for one in items:
        row = {**one, **one["properties"]}
        del row["properties"]
        row.pop(without, None)
        row["geometry"] = shapely.from_geojson(orjson.dumps(one["geometry"])).wkb
        row["bbox"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), one["bbox"], strict=True))
        for name in _TIMES:
            row[name] = row.get(name) and datetime.fromisoformat(row[name])
        rows.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)


FORMS: dict[str, Callable[[Forms], Offered]] = {
    name: value for name, value in vars(Forms).items() if not name.startswith("_")
}


PARTS = ["tar_gz", "static", "api", "ndjson", "index", "parquet_by_url", "parts"]


@pytest.fixture
def offered(server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    monkeypatch.chdir(tmp_path)
    with StacServer() as api:
        yield lambda count, files=server: Forms(files, api, count)


def rows() -> list[Json]:
    table = pq.read_table("out/made/mlhub_stac_assets.parquet")
    found = table.drop_columns(list(_OF_THE_FORM)).to_pylist()
    for row in found:
        row["properties"] = row["properties"] and orjson.loads(row["properties"])
    return sorted(found, key=lambda row: (row["collection_id"], row["item_id"], row["asset_key"]))


def files() -> dict[str, bytes]:
    root = Path("out/made")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.suffix in (".tif", ".png", ".pdf")
    }


def have(form: str, forms: Forms, *words: str) -> int:
    return run(FORMS[form](forms), *words)


def words_of(found: Offered, *words: str) -> list[str]:
    given = ["--output-dir", "out", "--dataset-id", "made", "-q"]
    return ["download", found.source, *given, *found.words, *words]


def run(found: Offered, *words: str) -> int:
    stdin = sys.stdin
    try:
        if found.source == "-":
            sys.stdin = io.TextIOWrapper(io.BytesIO(Path("made.json").read_bytes()))
        return main(words_of(found, *words))
    finally:
        sys.stdin = stdin


def expected(forms: Forms) -> set[str]:
    places = {"_common/documentation.pdf"}
    for one in forms.items:
        place = f"{one['collection']}/{one['id']}"
        places |= {f"{place}/image.tif"} | (
            {f"{place}/mask.png"} if "mask" in one["assets"] else set()
        )
    return places


@pytest.fixture(scope="module")
def first() -> dict[str, Any]:
    """What the first form came to, which all others are compared with."""
    return {}


@pytest.mark.parametrize("form", list(FORMS))
def test_the_same_rows_and_files(form: str, offered: Any, first: dict[str, Any]) -> None:
    forms = offered(COUNT)
    assert have(form, forms) == 0
    assert set(files()) == expected(forms)
    text = json.dumps(rows(), default=str)
    port = forms.items[0]["links"][0]["href"].partition("/cat")[0]
    assert json.loads(text.replace(port, "")) == first.setdefault(
        "rows", json.loads(text.replace(port, ""))
    )
    assert files() == first.setdefault("files", files())


@pytest.mark.parametrize("form", PARTS)
def test_a_part_is_the_same_part(form: str, offered: Any) -> None:
    forms = offered(COUNT)
    part = ["--bbox", "178,10,-178,11", "--datetime", "2020-06-04"]
    assert have(form, forms, *part) == 0
    assert set(files()) == {"_common/documentation.pdf", "south/i3/image.tif"}


@pytest.mark.parametrize("form", PARTS)
def test_sources_of_labels_are_found(form: str, offered: Any) -> None:
    forms = offered(COUNT)
    assert have(form, forms, "--bbox", "5.3,10,5.4,11", "--with-sources") == 0
    images = {name for name in files() if name.endswith("image.tif")}
    assert images == {"south/i5/image.tif", "north/i4/image.tif"}


# Killed, and run again: only what a kill cut off is asked for once more.


def killed(found: Offered, server: FaultServer, path: str, before: int = 0, cut: int = 10) -> None:
    """Run a command that is killed in mid-answer, at a path after so many answers."""
    command = [sys.executable, "-m", "mlhub_core", *words_of(found, "--concurrency", "1")]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    given = Path("made.json").read_bytes() if found.source == "-" else b""
    running = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    server.script(path, *[Fault()] * before, Fault(cut=cut, then=running.kill))
    running.communicate(given, timeout=120)
    assert running.returncode == -signal.SIGKILL
    server.wait_quiet()


@pytest.mark.slow
@pytest.mark.parametrize("form", list(FORMS))
def test_a_run_that_is_killed_goes_on(form: str, offered: Any, server: FaultServer) -> None:
    """In every form: what of source and files is here is not asked for again."""
    forms = offered(COUNT)
    found = FORMS[form](forms)
    killed(found, server, "/cat/north/i10/image.tif")
    whole = [one.path for one in server.requests if one.path in forms.assets][:-1]
    server.forget()
    forms.stac_api.requests.clear()
    assert run(found, "--concurrency", "1") == 0
    assert set(files()) == expected(forms)
    again = [one for one in server.requests if one.path in forms.assets]
    # What came as the kill did may not have been put into place: two connections' worth.
    assert len(set(whole) & {one.path for one in again}) <= 2
    assert len(again) <= len(expected(forms)) - len(whole) + 2
    # Of the source: whether it is the same, and what the dataset is called.
    asked = [one for one in server.requests if one.path not in forms.assets]
    assert {one.path for one in asked if one.size} <= {"/cat/catalog.json"}
    assert len(asked) <= 3
    assert forms.stac_api.pages() == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["item_collection_by_url", "parquet_by_url"])
def test_a_source_that_is_killed_goes_on(form: str, offered: Any, server: FaultServer) -> None:
    """In mid-file: what of it is on disk is not asked for again."""
    forms = offered(COUNT)
    for one in forms.items:
        one["properties"]["noise"] = os.urandom(500_000).hex()
    found = FORMS[form](forms)
    path = found.source.removeprefix(server.url(""))
    most = len(server.truths(path)[-1])
    killed(found, server, path, cut=most - 100_000)
    server.forget()
    assert run(found) == 0
    asked = [one for one in server.requests if one.path == path and "range" in one.headers]
    first = int(asked[-1].headers["range"].removeprefix("bytes=").partition("-")[0])
    assert first > most / 10  # all but what the kernel held
    assert asked[-1].size == most - first
    assert set(files()) == expected(forms)


def ranges_of(server: FaultServer, path: str) -> list[str]:
    return [one.headers.get("range", "") for one in server.requests if one.path == path]


@pytest.mark.slow
def test_ranges_that_were_read_are_not_asked_for_again(offered: Any, server: FaultServer) -> None:
    forms, path = offered(COUNT), "/found/made.parquet"
    for one in forms.items:
        one["properties"]["noise"] = os.urandom(5000).hex()
    found = FORMS["parquet_by_url"](forms)
    found = Offered(found.source, ("--datetime", "2020-06-01/2020-06-28"))
    killed(found, server, path, before=11)
    *whole, cut = ranges_of(server, path)
    assert len(whole) == 11
    server.forget()
    assert run(found) == 0
    again = ranges_of(server, path)
    assert cut in again
    assert set(whole) & set(again) == {"bytes=-65536"}  # whether it is still the same
    assert len(files()) == len(expected(forms))
    server.forget()
    assert run(found) == 0
    assert set(ranges_of(server, path)) == {"bytes=-65536"}


class Files:
    """Files that nginx serves: :class:`FaultServer` is in Python, and too slow for so many."""

    def __init__(self, root: Path, url: str) -> None:
        self._root = root
        self._url = url

    def put(self, path: str, content: bytes) -> None:
        place = self._root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def url(self, path: str) -> str:
        return f"{self._url}{path}"


@pytest.mark.slow
@pytest.mark.skipif(not is_there(), reason="nginx is not installed")
@pytest.mark.parametrize("form", list(FORMS))
def test_five_thousand_items(
    form: str, offered: Any, first: dict[str, Any], tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with Nginx(tmp_path / "nginx", served) as nginx:
        forms = offered(5_000, Files(served, nginx.url))
        assert have(form, forms, "--stac", "none") == 0
    found = json.loads(json.dumps(rows(), default=str).replace(nginx.url, ""))
    assert len({(row["collection_id"], row["item_id"]) for row in found}) == 5_000
    assert found == first.setdefault("many", found)
    assert set(files()) == expected(forms)
    assert files() == first.setdefault("files of many", files())
