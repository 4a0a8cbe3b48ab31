from __future__ import annotations

import gzip
import io
import json
import logging
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import (
    ArchiveCorrupt,
    ArchiveLimitExceeded,
    CatalogError,
    Interrupted,
    StorageError,
)
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import UNARCHIVED_NAME, DownloadPaths
from mlhub_core.progress import Progress, Stage
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.base import Unarchived
from mlhub_core.sources.tree import Tree
from mlhub_core.sources.unarchive import unarchive
from mlhub_core.threads import StopFlag
from mlhub_core.work import Work
from tests.index.kit import described, item, paths_in, place, tar_bytes, tree, write_archive


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def everything_below(directory: Path) -> dict[str, bytes]:
    return {
        found.relative_to(directory).as_posix(): found.read_bytes()
        for found in directory.rglob("*")
        if found.is_file() and ".mlhub" not in found.parts
    }


def expected(files: dict[str, Any]) -> dict[str, bytes]:
    return {
        name.removeprefix("demo/"): content
        if isinstance(content, bytes)
        else json.dumps(content).encode()
        for name, content in files.items()
    }


FILES = tree(*(item(f"i{number}") for number in range(200)))


def test_extracts_everything_and_says_so(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    heard: list[Progress] = []
    archive = write_archive(tmp_path, FILES)
    got = unarchive(archive, paths, work=Work(on_progress=heard.append))
    files = expected(FILES)
    assert everything_below(paths.catalog_dir) == files
    assert got == Unarchived(
        paths.catalog_dir, len(files), sum(map(len, files.values())), len(files), 0
    )
    assert pickle.loads(pickle.dumps(got)) == got
    assert {message.stage for message in heard} == {Stage.UNARCHIVE}
    assert heard[-1].finished
    assert heard[-1].bytes_done == heard[-1].bytes_total == archive.size
    assert heard[-1].done == len(files)


def test_a_second_run_looks_at_nothing(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    first = unarchive(archive, paths)
    archive.path.unlink()  # whoever reads it now, fails
    for choice in (DownloadIfExistsOpts.resume, DownloadIfExistsOpts.skip):
        again = unarchive(archive, paths, if_exists=choice)
        assert (again.written, again.kept, again.bytes) == (0, first.files, first.bytes)


def test_overwrite_writes_everything(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    unarchive(archive, paths)
    (paths.catalog_dir / "coll/i3/i3.json").write_bytes(b"changed")
    got = unarchive(archive, paths, if_exists=DownloadIfExistsOpts.overwrite)
    assert (got.written, got.kept) == (len(FILES), 0)
    assert everything_below(paths.catalog_dir) == expected(FILES)


def test_a_missing_catalog_json_is_reason_enough_to_go_over_it_again(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    unarchive(archive, paths)
    (paths.catalog_dir / "catalog.json").unlink()
    (paths.catalog_dir / "coll/i3/i3.json").unlink()
    assert unarchive(archive, paths).written == 2
    assert everything_below(paths.catalog_dir) == expected(FILES)


@pytest.mark.parametrize("state", [b"", b"[]", b"{", b'{"version": 1}', b"\xff"])
def test_a_broken_marker_counts_as_none(tmp_path: Path, state: bytes) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    unarchive(archive, paths)
    (paths.state_dir / UNARCHIVED_NAME).write_bytes(state)
    (paths.catalog_dir / "coll/i3/i3.json").write_bytes(b"{")
    assert unarchive(archive, paths).written == 1
    assert everything_below(paths.catalog_dir) == expected(FILES)


@pytest.mark.parametrize("choice", list(DownloadIfExistsOpts))
def test_an_interrupted_run_is_repaired(tmp_path: Path, choice: DownloadIfExistsOpts) -> None:
    packed = write_archive(tmp_path, FILES | {"demo/big.bin": bytes(1 << 20)})
    packed.path.write_bytes(gzip.compress(gzip.decompress(packed.path.read_bytes()), 0))
    archive, paths, stop = described(packed.path), paths_in(tmp_path), StopFlag()

    def stop_halfway(message: Progress) -> None:
        if message.bytes_done > archive.size // 5:
            stop.set()

    with pytest.raises(Interrupted):
        unarchive(archive, paths, work=Work(stop=stop, on_progress=stop_halfway))
    assert not (paths.state_dir / UNARCHIVED_NAME).exists()
    half = everything_below(paths.catalog_dir)
    assert 0 < len(half) < len(FILES) + 1
    victim = paths.catalog_dir / sorted(half)[0]
    victim.write_bytes(half[sorted(half)[0]][:10])  # what a kill leaves of a file
    unarchive(archive, paths, if_exists=choice)
    assert everything_below(paths.catalog_dir) == expected(FILES) | {"big.bin": bytes(1 << 20)}


def test_files_of_the_right_size_and_wrong_content_are_not_believed(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    unarchive(archive, paths)
    (paths.state_dir / UNARCHIVED_NAME).unlink()
    victim = paths.catalog_dir / "coll/i7/i7.json"
    victim.write_bytes(b"\0" * victim.stat().st_size)  # what a power failure leaves
    assert unarchive(archive, paths).written == 1
    assert everything_below(paths.catalog_dir) == expected(FILES)


def test_a_changed_archive_rewrites_what_changed(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    unarchive(write_archive(tmp_path, FILES), paths)
    changed = FILES | {place("i5"): item("i5", bbox=[10, 50, 11, 52]), place("new"): item("new")}
    got = unarchive(write_archive(tmp_path, changed), paths)
    assert (got.written, got.kept) == (2, len(FILES) - 1)
    assert everything_below(paths.catalog_dir) == expected(changed)


def test_assets_in_the_same_tree_survive(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    unarchive(archive, paths)
    downloaded = paths.catalog_dir / "coll/i5/image.tif"
    downloaded.write_bytes(b"pixels")
    unarchive(archive, paths, if_exists=DownloadIfExistsOpts.overwrite)
    assert downloaded.read_bytes() == b"pixels"


def test_another_name_of_a_replaced_file_keeps_its_content(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    files = FILES | {"demo/coll/i1/x.tif": b"old"}
    unarchive(write_archive(tmp_path, files), paths)
    linked = paths.catalog_dir / "coll/i1/image.tif"
    os.link(paths.catalog_dir / "coll/i1/x.tif", linked)
    unarchive(write_archive(tmp_path, files | {"demo/coll/i1/x.tif": b"new"}), paths)
    assert (paths.catalog_dir / "coll/i1/x.tif").read_bytes() == b"new"
    assert linked.read_bytes() == b"old"


HOSTILE: list[tuple[str, Any]] = [
    ("demo/catalog.json", {"type": "Catalog"}),
    ("../escaped", b"1"),
    ("demo/../../escaped", b"2"),
    ("/escaped", b"3"),
    ("demo/link", special(tarfile.SYMTYPE, "../..")),
    ("demo/link/escaped", b"4"),
    ("demo/passwd", special(tarfile.SYMTYPE, "/etc/passwd")),
    ("demo/hard", special(tarfile.LNKTYPE, "/etc/passwd")),
    ("demo/dev", special(tarfile.CHRTYPE)),
    ("demo/disk", special(tarfile.BLKTYPE)),
    ("demo/pipe", special(tarfile.FIFOTYPE)),
    ("demo/empty", special(tarfile.DIRTYPE)),
    ("C:\\escaped", b"5"),
    ("demo/.mlhub/unarchived.json", b"6"),
    ("demo/err_report.csv", b"7"),
    ("demo/" + "n" * 300, b"8"),
    ("demo/odd", b"9"),
    ("demo/odd/below", b"10"),
    ("demo/dir/file", b"11"),
    ("demo/dir", b"12"),
    ("elsewhere/x.json", b"13"),
    ("demo/twice", b"old"),
    ("demo/twice", b"the last one counts"),
]


def test_hostile_members_go_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = paths_in(tmp_path)
    archive = write_archive(tmp_path / "deep", HOSTILE)
    with caplog.at_level(logging.WARNING):
        got = unarchive(archive, paths)
    assert everything_below(paths.catalog_dir) == {
        "catalog.json": b'{"type": "Catalog"}',
        "link/escaped": b"4",
        "odd": b"9",
        "dir/file": b"11",
        "elsewhere/x.json": b"13",
        "twice": b"the last one counts",
    }

    assert sorted(path.name for path in paths.output_dir.iterdir()) == ["demo"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "out"]
    assert not [found for found in tmp_path.rglob("*") if found.is_symlink()]
    assert got.remark_count == len(got.remarks) == 16
    assert len(caplog.records) == 1
    text = "\n".join(got.remarks)
    for phrase in ("absolute", "leaves", "symbolic", "hard link", "device", "pipe", "state"):
        assert phrase in text
    assert unarchive(archive, paths).remarks == got.remarks


def test_remarks_are_capped(tmp_path: Path) -> None:
    files = [("demo/catalog.json", {}), *((f"../{number}", b"") for number in range(300))]
    got = unarchive(write_archive(tmp_path, files), paths_in(tmp_path))
    assert (len(got.remarks), got.remark_count) == (100, 300)


def test_a_link_that_was_there_leads_nobody_out(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    paths.catalog_dir.mkdir(parents=True)
    (paths.catalog_dir / "coll").symlink_to(outside)
    with pytest.raises(StorageError, match="symbolic link"):
        unarchive(archive, paths)
    assert not list(outside.iterdir())


def test_a_link_within_the_output_directory_is_followed(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    (paths.output_dir / "disk2").mkdir(parents=True)
    paths.catalog_dir.mkdir()
    (paths.catalog_dir / "coll").symlink_to(paths.output_dir / "disk2")
    unarchive(archive, paths)
    assert (paths.output_dir / "disk2/i1/i1.json").is_file()


@pytest.mark.parametrize("lies_there", ["link", "dangling", "pipe"])
def test_what_lies_at_a_files_place_is_replaced_not_followed(
    tmp_path: Path, lies_there: str
) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    outside = tmp_path / "precious"
    if lies_there == "link":
        outside.write_bytes(b"precious")
    spot = paths.catalog_dir / "coll/i1/i1.json"
    spot.parent.mkdir(parents=True)
    if lies_there == "pipe":
        os.mkfifo(spot)
    else:
        spot.symlink_to(outside)
    unarchive(archive, paths)
    assert everything_below(paths.catalog_dir) == expected(FILES)
    assert not spot.is_symlink()
    assert outside.exists() is (lies_there == "link")
    if outside.exists():
        assert outside.read_bytes() == b"precious"


def a_file_for_output(paths: DownloadPaths) -> None:
    paths.output_dir.parent.mkdir(exist_ok=True)
    paths.output_dir.write_bytes(b"")


def a_file_for_a_directory(paths: DownloadPaths) -> None:
    paths.catalog_dir.mkdir(parents=True)
    (paths.catalog_dir / "coll").write_bytes(b"")


def a_directory_for_a_file(paths: DownloadPaths) -> None:
    (paths.catalog_dir / "coll/i1/i1.json").mkdir(parents=True)


@pytest.mark.parametrize(
    "prepare", [a_file_for_output, a_file_for_a_directory, a_directory_for_a_file]
)
def test_the_disk_refuses(tmp_path: Path, prepare: Callable[[DownloadPaths], None]) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    prepare(paths)
    with pytest.raises(StorageError) as caught:
        unarchive(archive, paths)
    assert str(paths.output_dir) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_catalog_json(tmp_path: Path) -> None:
    paths = paths_in(tmp_path)
    archive = write_archive(tmp_path, {"demo/x.json": {}})
    with pytest.raises(CatalogError, match=r"catalog\.json"):
        unarchive(archive, paths)
    assert not (paths.state_dir / UNARCHIVED_NAME).exists()


def test_caps(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    with pytest.raises(ArchiveLimitExceeded):
        unarchive(archive, paths, work=Work(ArchiveLimits(max_members=5)))
    with pytest.raises(ArchiveLimitExceeded):
        unarchive(archive, paths, work=Work(ArchiveLimits(max_bytes=5000)))


def test_a_broken_archive_leaves_no_marker(tmp_path: Path) -> None:
    archive, paths = write_archive(tmp_path, FILES), paths_in(tmp_path)
    whole = archive.path.read_bytes()
    archive.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArchiveCorrupt):
        unarchive(described(archive.path), paths)
    assert not (paths.state_dir / UNARCHIVED_NAME).exists()
    archive.path.write_bytes(whole)
    unarchive(archive, paths)
    assert everything_below(paths.catalog_dir) == expected(FILES)


def test_large_files_come_whole(tmp_path: Path) -> None:
    big = os.urandom(1 << 16) * 200
    files = {"demo/catalog.json": {}, "demo/big.bin": big}
    archive, paths = write_archive(tmp_path, files), paths_in(tmp_path)
    unarchive(archive, paths)
    assert (paths.catalog_dir / "big.bin").read_bytes() == big


def test_assets_elsewhere(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, FILES)
    paths = DownloadPaths.of("demo", tmp_path / "catalogs", tmp_path / "assets")
    unarchive(archive, paths)
    assert everything_below(paths.catalog_dir) == expected(FILES)
    assert sorted(path.name for path in paths.asset_dir.iterdir()) == [".mlhub"]
    elsewhere = DownloadPaths.of("demo", tmp_path / "other", tmp_path / "assets")
    assert unarchive(archive, elsewhere).written == len(FILES)


parts = st.sampled_from(["..", ".", "a", "b", "", "demo", "é", "c.json", ".mlhub", "x\\y", "~"])


@settings(deadline=None, max_examples=60)
@given(
    names=st.lists(st.tuples(st.booleans(), st.lists(parts, min_size=1, max_size=5)), max_size=8)
)
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[bool, list[str]]]
) -> None:
    top = tmp_path_factory.mktemp("top")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for absolute, components in [(False, ["demo", "catalog.json"]), *names]:
            info = tarfile.TarInfo("/" * absolute + "/".join(components))
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    path = top / "in" / "demo.tar.gz"
    path.parent.mkdir()
    path.write_bytes(packed.getvalue())
    paths = DownloadPaths.of("demo", top / "down" / "out")
    unarchive(described(path), paths)
    assert sorted(found.name for found in top.iterdir()) == ["down", "in"]
    assert [found.name for found in (top / "down").iterdir()] == ["out"]
    assert [found.name for found in paths.output_dir.iterdir()] == ["demo"]
    assert sorted(found.name for found in (paths.catalog_dir / ".mlhub").iterdir()) == [
        UNARCHIVED_NAME
    ]


def test_a_plain_tar_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "demo.tar.gz"
    path.write_bytes(tar_bytes(FILES))
    paths = paths_in(tmp_path)
    unarchive(described(path), paths)
    assert everything_below(paths.catalog_dir) == expected(FILES)


def test_what_was_written_in_the_first_moment_is_given_back_too(tmp_path: Path) -> None:
    """Times of files lag some milliseconds behind the clock: they do not tell whose a file is."""
    for number in range(20):
        root = tmp_path / str(number)
        tree = Tree(root, tmp_path)
        tree.put("a/b.json", [b"{}"])
        tree.give_back()
        assert not root.exists()
