"""The good archive of the last run stays until its successor is one."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.client import download_collection_archive
from mlhub_core.exceptions import FetchError
from tests.acceptance.kit import DATASET, ROOT, catalog_members, item, tar_gz
from tests.faultserver import FaultServer

PAGE = b"<html>Please log in</html>"
WHOLE = tar_gz(catalog_members(item("a", {"image": "https://h.test/a.tif"})))
NO_ARCHIVES = {
    "a page": PAGE,
    "a packed page": gzip.compress(PAGE * 100),
    "an error": b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>",
    "nothing": b"",
    "no members": tar_gz({}),
    "the beginning of one": WHOLE[: len(WHOLE) // 2],
    "one with other bytes": WHOLE[:-20] + bytes(12) + WHOLE[-8:],
}


@pytest.mark.parametrize("what", NO_ARCHIVES)
@pytest.mark.parametrize("if_exists", ["resume", "overwrite"])
def test_what_is_no_archive_replaces_none(
    download: Any, server: FaultServer, tmp_path: Path, what: str, if_exists: str
) -> None:
    picture = server.put("/a.tif", b"II*\0picture")
    download(item("a", {"image": picture}))
    archive = tmp_path / "out" / f"{DATASET}.tar.gz"
    before = archive.read_bytes()
    server.put("/archives/tiny.tar.gz", NO_ARCHIVES[what], headers={"Content-Type": "text/html"})
    with pytest.raises(FetchError, match="stays as it was"):
        download(if_exists=if_exists)
    assert archive.read_bytes() == before
    assert list((tmp_path / "out" / DATASET / ".mlhub").glob("archive-*.part*")) == []


@pytest.mark.parametrize("what", ["a page", "an error"])
def test_a_page_is_never_saved_as_an_archive(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url(ROOT))
    server.put(f"{ROOT}datasets/{DATASET}", b'{"id": "tiny", "collections": []}')
    server.put(f"{ROOT}catalog/{DATASET}/info", b"{}")
    server.put(f"{ROOT}catalog/{DATASET}", NO_ARCHIVES[what])
    with pytest.raises(FetchError, match="no whole archive"):
        Dataset.fetch(DATASET).download(tmp_path, progress=False)
    server.put(f"{ROOT}archive/pictures.tar.gz", NO_ARCHIVES[what])
    with pytest.raises(FetchError, match="no whole archive"):
        download_collection_archive("pictures.tar.gz", tmp_path)
    assert list(tmp_path.rglob("*.gz")) == []
