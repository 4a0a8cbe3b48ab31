"""Catalogs as people pack them, and what is no catalog at all, as the commands meet them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.cli import main
from tests.acceptance.kit import item
from tests.sources.test_formats import PACK

NO_HUB = "http://127.0.0.1:9/mlhub/v1/"
Files = dict[str, Any]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", NO_HUB)
    monkeypatch.delenv("MLHUB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


def catalog(*children: str) -> Any:
    links = [{"rel": "child", "href": child} for child in children]
    return {"type": "Catalog", "stac_version": "1.0.0", "id": "whole", "links": links}


def collection(name: str, *items: str) -> Any:
    links = [{"rel": "item", "href": f"./{one}/{one}.json"} for one in items]
    return {"type": "Collection", "stac_version": "1.0.0", "id": name, "links": links}


def image(name: str, collection: str = "c", **more: Any) -> Any:
    asset = {"data": f"https://files.test/{collection}/{name}.tif"}
    return item(name, more.pop("assets", asset), collection, **more)


def pack(name: str, files: Files, folder: str = "") -> Path:
    ending = next(end for end in sorted(PACK, key=len, reverse=True) if name.endswith(end))
    path = Path(name)
    path.write_bytes(PACK[ending]({folder + key: value for key, value in files.items()}))
    return path


def index(path: Path, *more: str) -> tuple[int, list[dict[str, str]]]:
    status = main(["index", str(path), "--output", "out/i.parquet", *more])
    if not Path("out/i.parquet").exists():
        return status, []
    assert main(["query", "out/i.parquet", "--output", "rows.csv", "-q"]) == 0
    with Path("rows.csv").open(newline="") as file:
        return status, list(csv.DictReader(file))


TWO = {"collection.json": collection("c", "a", "b"), "a/a.json": image("a"), "b/b.json": image("b")}
WHOLE = {"catalog.json": catalog("./c/collection.json"), **{f"c/{k}": v for k, v in TWO.items()}}


@pytest.mark.parametrize(
    ("name", "files", "folder"),
    [
        ("root_collection.tar.gz", TWO, "root_collection/"),
        ("dot.tar.gz", WHOLE, "./"),
        ("star.tar.gz", WHOLE, ""),
        ("deep.tar.gz", WHOLE, "export/2024/whole/"),
        ("plain.tar", WHOLE, "whole/"),
        ("bz2.tar.bz2", WHOLE, "whole/"),
        ("xz.tar.xz", WHOLE, "whole/"),
        ("zst.tar.zst", WHOLE, "whole/"),
        ("zip.zip", WHOLE, "whole/"),
    ],
)
def test_every_way_to_pack(
    name: str, files: Files, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, rows = index(pack(name, files, folder))
    assert status == 0
    assert {row["item_id"] for row in rows} == {"a", "b"}
    assert "elete it" not in "".join(capsys.readouterr())


def test_folders_with_files_of_one_name_stay_apart() -> None:
    files: Files = {"catalog.json": catalog("./x/catalog.json", "./y/catalog.json")}
    for side in "xy":
        files[f"{side}/catalog.json"] = catalog("./c/collection.json")
        files[f"{side}/c/collection.json"] = collection(f"{side}c", f"{side}1")
        files[f"{side}/c/{side}1/{side}1.json"] = image(f"{side}1", f"{side}c")
    status, rows = index(pack("nested.tar.gz", files, "./"))
    assert (status, len(rows)) == (0, 2)
    found = [one for one in Path("out/nested").rglob("*.json") if ".mlhub" not in one.parts]
    assert len(found) == len(files)


def test_an_item_that_is_linked_and_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    files = {**WHOLE, "c/collection.json": collection("c", "a", "b", "missing")}
    assert index(pack("gone.tar.gz", files, "gone/"))[0] == 0
    assert "1 item" in "".join(capsys.readouterr())
    assert index(pack("gone.tar.gz", files, "gone/"), "--strict")[0] == 1


def test_the_source_of_labels_is_the_one_of_its_collection() -> None:
    files: Files = {"catalog.json": catalog(*(f"./{c}/collection.json" for c in ("s1", "s2", "l")))}
    for name in ("s1", "s2", "l"):
        links = [{"rel": "source", "href": "../../s2/p/p.json"}] if name == "l" else []
        files[f"{name}/collection.json"] = collection(name, "p")
        files[f"{name}/p/p.json"] = image("p", name, links=links)
    index(pack("pair.tar.gz", files, "pair/"))
    words = ["query", "out/i.parquet", "--collection", "l", "--with-sources", "--output", "p.csv"]
    assert main([*words, "-q"]) == 0
    with Path("p.csv").open(newline="") as file:
        assert sorted(row["collection_id"] for row in csv.DictReader(file)) == ["l", "s2"]


@pytest.mark.parametrize("command", ["download", "sync", "index", "query"])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.tar.gz", b"<html>sign in</html>"),
        ("page.zip", b"<html>sign in</html>"),
        ("empty.tar.gz", b""),
        ("empty.zip", b"PK\5\6" + bytes(18)),
        ("foreign.parquet", b"PAR1 not really"),
        ("page.json", b"<html>sign in</html>"),
        ("other.json", b"[1, 2]"),
        ("empty/", None),
        ("gone.zip", None),
        ("gone/", None),
    ],
)
def test_what_is_no_stac_is_told_in_a_line(
    command: str, name: str, data: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if data is not None:
        Path(name).write_bytes(data)
    elif name == "empty/":
        Path(name).mkdir()
    targets = {"index": ["--output", "no.parquet"], "query": ["--output", "no.csv"]}
    target = targets.get(command, ["--output-dir", "out"])
    there = sorted(Path().rglob("*"))
    assert main([command, f"./{name}", *target, "-q"]) in (2, 3)
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert name.strip("/") in said
    assert "elete" not in said
    assert sorted(Path().rglob("*")) == there
