"""A catalog that stays in its archive: the same assets, and no file of its own on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.repair import verify
from mlhub_core.request import DownloadRequest
from mlhub_core.settings import RunSettings
from tests.acceptance.kit import DATASET, catalog_members, collection, item, publish
from tests.faultserver import FaultServer

LEFT_IN = RunSettings(unarchive=False)
CARRIED = {f"{DATASET}/pictures/n{number}/a.tif": b"carried %d" % number for number in (1, 2)}
EARLY = {"datetime": "1999-01-01T00:00:00Z"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        running.put("/far.tif", b"far")
        yield running


@pytest.fixture
def dataset(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    far = server.url("/far.tif")
    first = item("a", {"image": "a.tif", "far": far})
    documents = [collection(), first, item("b", {"image": "a.tif"}, properties=EARLY)]
    members = catalog_members(*documents) | CARRIED
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, members=members))
    monkeypatch.delenv("MLHUB_API_KEY", raising=False)
    return Dataset.fetch(DATASET, profile="__anonymous__")


def files(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and not {".mlhub", "stac", "croissant.json"} & {*path.parts}  # our own
    }


def test_what_the_archive_carries_is_taken_out_and_nothing_else(
    dataset: Dataset, tmp_path: Path
) -> None:
    report = dataset.download(tmp_path, settings=LEFT_IN, datetime="2020", progress=False)
    assert (report.files, report.fetched, report.failed) == (2, 2, 0)
    there = files(tmp_path / DATASET)
    assert {"pictures/a/image.tif", "pictures/a/far.tif", "pictures/n1/a.tif"} <= there
    taken = [name for name in there if not name.startswith("stac/")]  # what a run adds
    assert not [name for name in taken if name.endswith(".json") or "n2" in name]
    assert (tmp_path / DATASET / "pictures/a/image.tif").read_bytes() == b"carried 1"


@pytest.mark.parametrize("choice", list(DownloadIfExistsOpts))
def test_again(dataset: Dataset, tmp_path: Path, choice: DownloadIfExistsOpts) -> None:
    def download(**more: Any) -> Any:
        return dataset.download(tmp_path, settings=LEFT_IN, progress=False, **more)

    assert download().fetched == 3
    image = tmp_path / DATASET / "pictures/b/image.tif"
    there = files(tmp_path)
    again = download(if_exists=choice)
    assert again.fetched == (3 if choice is DownloadIfExistsOpts.overwrite else 0)
    assert files(tmp_path) == there
    image.unlink()
    (tmp_path / DATASET / "pictures/n2/a.tif").unlink()
    download(if_exists=choice)
    assert image.read_bytes() == b"carried 2"


def test_nothing_to_do_is_refused(tmp_path: Path) -> None:
    request = DownloadRequest("x", tmp_path, catalog_only=True, settings=LEFT_IN)
    with pytest.raises(InvalidArgument, match="no-unarchive"):
        request.check()


def test_what_is_damaged_comes_out_of_the_archive_again(dataset: Dataset, tmp_path: Path) -> None:
    dataset.download(tmp_path, settings=LEFT_IN, progress=False)
    image = tmp_path / DATASET / "pictures/a/image.tif"
    image.write_bytes(b"damaged 1")
    (tmp_path / DATASET / "pictures/n1/a.tif").unlink()
    report = verify(tmp_path / DATASET, repair=True, settings=LEFT_IN)
    assert report.repairable == 1
    assert image.read_bytes() == b"carried 1"
    assert not (tmp_path / DATASET / "catalog.json").exists()
