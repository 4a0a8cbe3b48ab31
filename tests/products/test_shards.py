"""Shards: what WebDataset reads, the same bytes each time, whole or going on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from mlhub_core import open_local
from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from tests.acceptance.kit import DATASET, item
from tests.faultserver import FaultServer
from tests.products.conftest import Download

# WebDataset leaves the file open that it has read.
_ITS_OWN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PAIRS: dict[str, Any] = {"label": "raster_labels", "sources": ["B04", "B03"], "max_size": 100_000}
_KILLED = """
import os, signal, sys
from mlhub_core import open_local

def kill(progress):
    if progress.done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)

how = dict(label="raster_labels", sources=["B04", "B03"], max_size=100_000)
open_local(sys.argv[1]).export(sys.argv[2], on_progress=kill, **how)
"""


def _members(directory: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(directory.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found


def _state(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in directory.iterdir()
        if path.is_file()
    }


@_ITS_OWN
def test_webdataset_reads_each_pair_with_its_files_and_what_is_known_of_it(
    demo: Path, tmp_path: Path
) -> None:
    opened = open_local(demo)
    found = opened.export(tmp_path / "out", **PAIRS)
    pairs = opened.pairs("raster_labels", ["B04", "B03"]).set_index("item")
    shards = sorted(tmp_path.glob("out/*.tar"))
    assert found.shards == len(shards) > 1
    assert max(path.stat().st_size for path in shards) <= 100_000
    samples = list(webdataset.WebDataset([str(path) for path in shards], shardshuffle=False))
    assert len(samples) == found.samples == len(pairs)
    assert [one["__key__"] for one in samples] == sorted(one["__key__"] for one in samples)
    for sample in samples:
        about = json.loads(sample["json"])
        row = pairs.loc[about["item"]]
        assert sample["__key__"] == f"{row['collection']}/{about['item']}"
        assert sample["label.tif"] == Path(row["label"]).read_bytes()
        assert sample["b04.tif"] == Path(row["B04"]).read_bytes()
        assert about["source_item"] == row["source_item"]
        assert about["split"] in ("train", "test")
        assert about["license"] == "CC-BY-4.0"
        assert about["datetime"] == row["time"].isoformat().replace("+00:00", "Z")
        assert about["geometry"]["type"] == "Polygon"
        assert about["files"]["B04.tif"]["sha256"] == hashlib.sha256(sample["b04.tif"]).hexdigest()
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    assert index["samples"] == len(samples)
    for shard in index["shards"]:
        content = (tmp_path / "out" / shard["name"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
        )


def test_a_killed_export_goes_on_and_comes_to_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(demo), str(killed)], check=False)
    assert ended.returncode == -signal.SIGKILL
    before = _state(killed)
    assert before
    assert "index.json" not in before
    open_local(demo).export(whole, **PAIRS)
    assert len(before) < len(list(whole.glob("*.tar")))
    (killed / ".mlhub/demo_crops-000007.tar.part").write_bytes(b"torn")
    with (killed / ".mlhub/shards.jsonl").open("ab") as file:
        file.write(b'{"name": "demo_cr')
    open_local(demo).export(killed, **PAIRS)
    assert {name: _state(killed)[name] for name in before} == before
    names = [path.name for path in whole.iterdir() if path.is_file()]
    assert sorted(names) == sorted(path.name for path in killed.iterdir() if path.is_file())
    assert all((killed / name).read_bytes() == (whole / name).read_bytes() for name in names)
    assert not list(killed.glob(".mlhub/*.part"))
    before = _state(killed)
    assert open_local(demo).export(killed, **PAIRS).written == 0
    assert _state(killed) == before
    shard = killed / "demo_crops-000001.tar"
    shard.write_bytes(shard.read_bytes()[::-1])
    assert open_local(demo).export(killed, **PAIRS).written == 1
    assert shard.read_bytes() == (whole / shard.name).read_bytes()


def test_a_file_that_is_not_what_was_downloaded_is_an_error_that_names_it(
    download: Download, server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        server.put(f"/{name}.tif", name.encode() * 9_000)
    download(*(item(name, {"image": server.url(f"/{name}.tif")}) for name in ("a", "b")))
    root = tmp_path / "out" / DATASET
    file = root / "pictures/b/image.tif"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"c")
    arguments = ["export", str(root), "--output", str(tmp_path / "o"), "--max-size", "12kB"]
    assert main([*arguments, "-q"]) == 4
    assert f"{file} is not what was downloaded: it had another SHA-256" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "o").glob("*.tar")] == ["tiny-000000.tar"]
    file.unlink()
    assert main([*arguments, "-q"]) == 4
    assert str(file) in capsys.readouterr().err
    file.write_bytes(content)
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path}/o: 2 samples in 2 shards (41.0 kB), 1 written\n"
    assert _members(tmp_path / "o")["pictures/b.image.tif"] == content


@_ITS_OWN
def test_ids_and_keys_of_any_kind_give_samples_of_their_own(
    download: Download, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a", b"a")
    href = server.url("/a")
    keys = dict.fromkeys(("B8A", "b8a", "json", "__meta__", "a.b", "ä/ö"), href)
    ids = ["x.tif", "x", "x~2", "__x__", "s p", "y" * 180]
    download(*(item(name, keys) for name in ids), item("x", keys, "__others__"))
    opened = open_local(tmp_path / "out" / DATASET)
    opened.export(tmp_path / "shards")
    (shard,) = map(str, tmp_path.glob("shards/*.tar"))
    samples = list(webdataset.WebDataset(shard, shardshuffle=False))
    assert sorted(json.loads(one["json"])["item"] for one in samples) == sorted([*ids, "x"])
    assert len({one["__key__"] for one in samples}) == len(samples)
    for sample in samples:
        about = json.loads(sample["json"])
        assert {one["asset"] for one in about["files"].values()} == set(keys)
        assert all(sample[name.lower()] == b"a" for name in about["files"])


def test_of_several_images_of_a_label_each_is_a_sample(demo: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"by": "place", "within": "400D", "sources": ["B02"]}
    found = open_local(demo).export(tmp_path / "a", label="raster_labels", split="test", **how)
    about = [json.loads(text) for name, text in _members(tmp_path / "a").items() if "json" in name]
    assert len(about) == found.samples
    assert {one["split"] for one in about} == {"test"}
    assert {one["by"] for one in about} == {"place"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "lables"], "label 'lables' is not among what is here: did you mean 'labels'"),
        (["--label", "labels", "--sources", "B4"], "source 'B4' is not among what is here"),
        (["--sources", "B4"], "source 'B4' is not among what is here: did you mean 'B04'"),
        (["--split", "trian"], "split 'trian' is not here: did you mean 'train'"),
        (["--collection", "demo"], "collection 'demo' is not among what is here"),
        (["--by", "link"], "by is of pairs"),
        (["--max-size", "5 apples"], "max_size is '5 apples': write a size such as 500MB"),
        (["--max-size", "5"], "max_size is 5: a shard takes 10,240 bytes or more"),
    ],
)
def test_what_cannot_work_is_one_line_and_nothing_is_written(
    demo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(["export", str(demo), "--output", str(tmp_path / "o"), "-q", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_directory_that_holds_something_else(demo: Path, tmp_path: Path) -> None:
    opened = open_local(demo)
    with pytest.raises(InvalidArgument, match="among the files of"):
        opened.export(demo / "shards")
    with pytest.raises(InvalidArgument, match="among the files of"):
        opened.export(demo.parent)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InvalidArgument, match="holds mine and no export of ours"):
        opened.export(tmp_path)
    assert os.listdir(tmp_path) == ["mine"]
    opened.export(tmp_path / "o", sources=["B02"])
    with pytest.raises(InvalidArgument, match=r'holds an export with sources \["B02"\], not null'):
        opened.export(tmp_path / "o")
    with pytest.raises(InvalidArgument, match="format is 'tar': use one of webdataset"):
        opened.export(tmp_path / "p", format="tar")
