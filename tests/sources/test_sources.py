"""What a text means as a source, and an archive of this machine as one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.exceptions import ArchiveCorrupt, InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.index.build import index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.sources import open_source, source_of
from mlhub_core.sources.archive import LocalArchive
from mlhub_core.sources.base import SOURCE_NAME, SourceSpec, note_source
from mlhub_core.sources.mlhub import HubDataset
from mlhub_core.sources.static import StaticCatalog
from mlhub_core.sources.web import WebSource
from tests.index.kit import DATASET, item, rows_of, tree, write_archive


def opened(path: Path) -> LocalArchive:
    source = open_source(str(path))
    assert isinstance(source, LocalArchive)
    return source


@pytest.mark.parametrize(
    ("text", "dataset_id"),
    [
        ("bigearthnet_v1", "bigearthnet_v1"),
        ("10.6084/m9.figshare.12047478.v2", None),
    ],
)
def test_all_else_is_a_hubs_dataset(text: str, dataset_id: str | None) -> None:
    source = open_source(text, api_key="s3cret", profile="p")
    assert source == HubDataset(text, "s3cret", "p")
    assert source.dataset_id == dataset_id
    assert pickle.loads(pickle.dumps(source)) == source
    assert "s3cret" not in repr(source)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://x.test/a/catalog.json", StaticCatalog),
        ("HTTP://x.test/collection.json", StaticCatalog),
        ("https://x.test/stac", WebSource),
    ],
)
def test_a_url_is_asked_what_it_is_where_it_does_not_say(text: str, kind: type[Any]) -> None:
    source = open_source(text, api_key="s3cret", profile="p")
    assert type(source) is kind
    assert source.dataset_id is None
    assert pickle.loads(pickle.dumps(source)) == source
    assert "s3cret" not in repr(source)


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"gone\.tar\.gz is no file"):
        open_source(str(tmp_path / "gone.tar.gz"))
    (tmp_path / "none.tar.gz").write_bytes(b"x" * 2000)
    with pytest.raises(ArchiveCorrupt):
        open_source(str(tmp_path / "none.tar.gz"))


def test_an_archive_is_described_acquired_unpacked_and_indexed(tmp_path: Path) -> None:
    files = tree(item("a"), item("b"))
    files[f"{DATASET}/catalog.json"] = {"type": "Catalog", "id": DATASET, "title": "A demo"}
    archive = write_archive(tmp_path / "in", files)
    source = opened(archive.path)
    assert pickle.loads(pickle.dumps(source)) == source
    info = source.describe()
    assert (info.id, info.title, info.stac_catalog_size) == (DATASET, "A demo", archive.size)
    paths = DownloadPaths.of(source.dataset_id, tmp_path / "out")
    catalog = source.acquire(paths)
    assert (catalog.path, catalog.sha256) == (paths.archive, archive.sha256)
    assert paths.archive.read_bytes() == archive.path.read_bytes()
    assert catalog.unpack(paths).files == len(files)
    assert len(rows_of(index_assets(catalog, paths))) == 2
    assert source.identity(paths) == catalog.sha256
    assert source_of(paths) == source
    other = write_archive(tmp_path / "in", tree(item("c")))
    assert source.identity(paths) == other.sha256 != catalog.sha256
    assert source.acquire(paths, if_exists=DownloadIfExistsOpts.skip).sha256 == catalog.sha256
    assert source.acquire(paths).sha256 == other.sha256
    assert sorted(path.name for path in paths.output_dir.iterdir()) == ["demo", "demo.tar.gz"]


def test_an_archive_in_its_place_stays_there(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, tree(item("a")))
    source = opened(archive.path)
    paths = DownloadPaths.of(source.dataset_id, tmp_path)
    assert source.acquire(paths).path == archive.path == paths.archive


def test_a_damaged_archive_replaces_none(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "in", tree(*(item(f"i{number}") for number in range(50))))
    source = opened(archive.path)
    paths = DownloadPaths.of(source.dataset_id, tmp_path / "out")
    whole = source.acquire(paths)
    archive.path.write_bytes(archive.path.read_bytes()[:-20])
    with pytest.raises(ArchiveCorrupt):
        source.acquire(paths)
    assert paths.archive.stat().st_size == whole.size


def test_what_a_download_came_from(tmp_path: Path) -> None:
    paths = DownloadPaths.of("some_dataset", tmp_path)
    assert source_of(paths, profile="p") == HubDataset("some_dataset", profile="p")
    note_source(paths, SourceSpec("other"))
    assert source_of(paths) == HubDataset("other")
    note_source(paths, None)
    assert source_of(paths) == HubDataset("some_dataset")
    paths.state_dir.mkdir(parents=True, exist_ok=True)
    (paths.state_dir / SOURCE_NAME).write_text('{"version": 99}')
    with pytest.raises(InvalidArgument, match="later version"):
        source_of(paths)


def test_a_path_is_never_a_hubs_dataset(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="neither a file nor a directory"):
        open_source(str(tmp_path / "gone"))
    page = tmp_path / "page.html"
    page.write_text("<html></html>")
    with pytest.raises(InvalidArgument, match="no STAC that is known by its looks"):
        open_source(str(page))
