"""Final places: directories are made once, and none of them leads out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlhub_core.exceptions import StorageError
from mlhub_core.stores.local import LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_directories_are_made(root: Path) -> None:
    places = LocalStore(root)
    for path in ("c/i/a.tif", "c/i/b.tif", "c/j/a.tif", "d/a.tif", "a.tif", "c/j/k/l/a.tif"):
        Path(places.prepare(path)).write_bytes(b"x")
        assert places.stat(path) is not None


@pytest.mark.parametrize(
    "path", ["link/a.tif", "link/deep/a.tif", "c/link/a.tif", "c/link/d/a.tif"]
)
def test_no_link_leads_out(root: Path, tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (root / "c" / "d").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "c" / "link").symlink_to(outside)
    places = LocalStore(root)
    places.prepare("c/d/a.tif")
    with pytest.raises(StorageError, match="symbolic link"):
        places.prepare(path)
    assert [file for file in outside.rglob("*") if file.is_file()] == []


def test_a_way_back_in_does_not_make_the_way_out_safe(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "back").symlink_to(root)
    (root / "link").symlink_to(tmp_path / "outside")
    places = LocalStore(root)
    places.prepare("link/back/a.tif")
    with pytest.raises(StorageError, match="symbolic link"):
        places.prepare("link/other/a.tif")


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "c").mkdir()
    (root / "link").symlink_to(root / "c")
    places = LocalStore(root)
    Path(places.prepare("link/i/a.tif")).write_bytes(b"x")
    assert (root / "c/i/a.tif").exists()


def test_a_directory_that_went_is_made_again(root: Path, tmp_path: Path) -> None:
    places = LocalStore(root)
    places.prepare("c/i/a.tif")
    shutil.rmtree(root / "c")
    (tmp_path / "part").write_bytes(b"x")
    places.put(str(tmp_path / "part"), "c/i/a.tif")
    assert (root / "c/i/a.tif").read_bytes() == b"x"
    with pytest.raises(StorageError, match="was removed while this ran"):
        places.check_still_there()
    shutil.rmtree(root / "c")
    places.prepare("c/j/a.tif")
    assert (root / "c/j").is_dir()


def test_a_file_in_the_way_is_named(root: Path) -> None:
    (root / "c").write_bytes(b"in the way")
    places = LocalStore(root)
    with pytest.raises(StorageError, match=r"Cannot make the directory .*/c/i"):
        places.prepare("c/i/a.tif")
    (root / "d").mkdir()
    (root / "d/i").write_bytes(b"in the way")
    places.prepare("d/a.tif")
    with pytest.raises(StorageError, match=r"Cannot make the directory .*/d/i"):
        places.prepare("d/i/a.tif")
