"""Archives of every format that people pack catalogs in, rooted anywhere, whole and damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlhub_core.exceptions import ArchiveCorrupt, ArchiveLimitExceeded, InvalidArgument
from mlhub_core.index.build import index_assets
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources import open_source
from mlhub_core.sources.archive import LocalArchive
from mlhub_core.sources.formats import open_archive
from mlhub_core.sources.roots import root_of
from tests.index.kit import item, rows_of, tar_bytes

LIMITS = ArchiveLimits()
Files = dict[str, Any]


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


def zip_bytes(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            archive.writestr(name, data)
    return buffer.getvalue()


PACK: dict[str, Callable[[Files], bytes]] = {
    ".tar": tar_bytes,
    ".tar.gz": lambda files: gzip.compress(tar_bytes(files)),
    ".tgz": lambda files: gzip.compress(tar_bytes(files)),
    ".tar.bz2": lambda files: bz2.compress(tar_bytes(files)),
    ".tar.xz": lambda files: lzma.compress(tar_bytes(files)),
    ".tar.zst": lambda files: zstd(tar_bytes(files)),
    ".zip": zip_bytes,
}
PACKED = [ending for ending in PACK if ending != ".tar"]


def collection(items: list[str]) -> dict[str, Any]:
    links = [{"rel": "item", "href": f"./{name}/{name}.json"} for name in items]
    return {"type": "Collection", "id": "coll", "stac_version": "1.0.0", "links": links}


def catalog(*children: str, name: str = "own-id") -> dict[str, Any]:
    links = [{"rel": "child", "href": child} for child in children]
    return {"type": "Catalog", "id": name, "title": "A title", "links": links}


SMALL = {"collection.json": collection(["a", "b"])}
SMALL |= {f"{name}/{name}.json": item(name) for name in "ab"}
WHOLE = {"catalog.json": catalog("./c/collection.json")}
WHOLE |= {f"c/{name}": content for name, content in SMALL.items()}
LONE = {"a.json": item("a"), "b.json": item("b")}


def within(folder: str, files: Files) -> Files:
    return {folder + name: content for name, content in files.items()}


def read_through(path: Path, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    with open_archive(path, limits) as stream:
        return {member.name: b"".join(stream.pieces()) for member in stream}


@pytest.mark.parametrize("ending", list(PACK))
def test_every_format_gives_the_same(tmp_path: Path, ending: str) -> None:
    for name in (f"given{ending}", "given.download"):
        path = tmp_path / name
        path.write_bytes(PACK[ending](within("whole/", WHOLE)))
        source = open_source(str(path))
        assert source.describe().id == "whole"
        assert source.describe().title == "A title"
        paths = DownloadPaths.of("whole", tmp_path / f"out-{name}")
        found = source.acquire(paths)
        unarchived = found.unpack(paths)
        assert unarchived is not None
        assert unarchived.files == len(WHOLE)
        assert json.loads((paths.catalog_dir / "c/a/a.json").read_bytes()) == item("a")
        assert {row["item_id"] for row in rows_of(index_assets(found, paths))} == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "files", "dataset_id", "root"),
    [
        ("x", within("./", WHOLE), "x", "catalog.json"),
        ("x", WHOLE, "x", "catalog.json"),
        ("catalog", WHOLE, "own-id", "catalog.json"),
        ("x", within("export/2024/whole/", WHOLE), "whole", "catalog.json"),
        ("x", within("whole/whole/", WHOLE), "whole", "catalog.json"),
        ("x", within("some/", SMALL), "some", "collection.json"),
        ("x", SMALL, "x", "collection.json"),
        ("x", within("deep/er/", LONE), "er", "a.json"),
        ("x", {"i/a/a.json": item("a"), "i/b/b.json": item("b")}, "i", "a/a.json"),
        ("x", {"README.md": b"hello", **within("d/whole/", WHOLE)}, "whole", "catalog.json"),
        ("x", {"a.json": {"no": "stac"}, **within("whole/", WHOLE)}, "whole", "catalog.json"),
        ("x", within("p/", WHOLE) | within("q/", SMALL), "x", "p/catalog.json"),
        ("x", {"w/all.json": catalog("c/x.json"), "w/c/x.json": collection([])}, "w", "all.json"),
    ],
)
def test_a_root_lies_anywhere(
    tmp_path: Path, name: str, files: Files, dataset_id: str, root: str
) -> None:
    """Whatever the order of the files, the root lies in the directory of the dataset."""
    shuffled = list(files.items())
    for _ in range(3):
        path = tmp_path / f"{name}.zip"
        path.write_bytes(zip_bytes(dict(shuffled)))
        source = open_source(str(path))
        assert source.describe().id == dataset_id
        paths = DownloadPaths.of(dataset_id, tmp_path / "out")
        found = source.acquire(paths)
        unarchived = found.unpack(paths)
        assert unarchived is not None
        assert unarchived.files == len(files)
        assert (paths.catalog_dir / root).is_file()
        assert index_assets(found, paths).missing == 0
        random.Random(1).shuffle(shuffled)


def test_hrefs_to_files_beside_a_root_that_lies_deep(tmp_path: Path) -> None:
    lies_beside = item("a", assets={"up": {"href": "../../../up.tif"}, "top": {"href": "/x.tif"}})
    files = within("p/q/whole/", {**WHOLE, "c/a/a.json": lies_beside})
    path = tmp_path / "x.tar.xz"
    path.write_bytes(PACK[".tar.xz"]({**files, "p/q/up.tif": b"up", "up.tif": b"another"}))
    source = open_source(str(path))
    paths = DownloadPaths.of("whole", tmp_path / "out")
    found = source.acquire(paths)
    found.unpack(paths)
    hrefs = {row["asset_key"]: row["href"] for row in rows_of(index_assets(found, paths))}
    assert hrefs["up"] == "whole/p/q/up.tif"
    assert (paths.output_dir / hrefs["up"]).read_bytes() == b"up"


def test_what_macos_puts_beside_each_file_is_no_damage(tmp_path: Path) -> None:
    files = within("whole/", WHOLE)
    files |= {f"__MACOSX/whole/._{name}": b"\0\5\x16\7" for name in ("catalog.json", "c.json")}
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes(files))
    found = LocalArchive.of(path).here()
    assert found.dataset_id == "whole"
    assert index_assets(found, DownloadPaths.of("whole", tmp_path / "out")).missing == 0


@pytest.mark.parametrize("ending", PACKED)
def test_every_truncation_is_noticed(tmp_path: Path, ending: str) -> None:
    packed = PACK[ending]({"a/1": b"x" * 700, "a/2": bytes(range(256)) * 8})
    path = tmp_path / f"x{ending}"
    for length in range(8, len(packed) - 1, 7):
        path.write_bytes(packed[:length])
        with pytest.raises(ArchiveCorrupt):
            read_through(path)


@pytest.mark.parametrize("ending", PACKED)
def test_damage_is_noticed_or_harmless(tmp_path: Path, ending: str) -> None:
    files = {"a/1": b"abcdefgh" * 20, "a/2": bytes(range(256))}
    packed = PACK[ending](files)
    path = tmp_path / f"x{ending}"
    for at in range(8, len(packed), 5):
        path.write_bytes(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read_through(path)
            except ArchiveCorrupt:
                continue
        # A zip's directory and zstd without its checksum leave some damage to whoever reads.
        assert ending in (".zip", ".tar.zst") or found == files


@pytest.mark.parametrize("ending", PACKED)
def test_a_bomb_ends_at_the_cap(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(PACK[ending]({"a": bytes(5_000_000), "b": bytes(5_000_000)}))
    assert path.stat().st_size < 50_000
    limits = ArchiveLimits(max_bytes=6_000_000)
    with pytest.raises(ArchiveLimitExceeded, match="--max-bytes"):
        read_through(path, limits)
    with pytest.raises(ArchiveLimitExceeded, match="--max-members"):
        read_through(path, ArchiveLimits(max_members=1))


def test_an_xz_that_wants_more_memory_than_it_may_have(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(tar_bytes({"a": b"x"}), filters=filters))
    at = packed.index(b"\x21\x01", 12) + 2  # the size of the dictionary, in the block's header
    packed[at] = 40  # 4 GiB
    header = packed[12 : 12 + (packed[12] + 1) * 4 - 4]
    packed[12 + len(header) : 16 + len(header)] = zlib.crc32(header).to_bytes(4, "little")
    path = tmp_path / "x.tar.xz"
    path.write_bytes(packed)
    with pytest.raises(ArchiveCorrupt, match=r"[Mm]emory"):
        read_through(path)


def test_several_streams_in_a_row_are_one_archive(tmp_path: Path) -> None:
    data = tar_bytes({"a": b"1" * 3000, "b": b"2" * 3000})
    for pack in (gzip.compress, bz2.compress, lzma.compress, zstd):
        path = tmp_path / "x.tar"
        path.write_bytes(pack(data[:2048]) + pack(data[2048:]))
        assert set(read_through(path)) == {"a", "b"}


def test_members_of_a_zip_that_are_no_files(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    link = zipfile.ZipInfo("whole/link.json")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    dos = zipfile.ZipInfo("whole/c/a/a.json")
    dos.create_system = 0
    dos.filename = "whole\\c\\a\\a.json"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("whole/catalog.json", json.dumps(catalog()))
        archive.mkdir("whole/empty")
        archive.writestr(link, "/etc/passwd")
        archive.writestr(dos, json.dumps(item("a")))
        archive.writestr("../out.json", "{}")
        archive.writestr("/etc/out.json", "{}")
    paths = DownloadPaths.of("whole", tmp_path / "out")
    unarchived = open_source(str(path)).acquire(paths).unpack(paths)
    assert unarchived is not None
    assert (unarchived.files, unarchived.remark_count) == (2, 3)
    found = (one for one in paths.catalog_dir.rglob("*.json") if ".mlhub" not in one.parts)
    assert sorted(one.name for one in found) == ["a.json", "catalog.json"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_otherwise(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes({"whole/catalog.json": catalog()}, method))
    with pytest.raises(ArchiveCorrupt, match="packed otherwise than by deflate"):
        LocalArchive.of(path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    packed = bytearray(zip_bytes({"whole/catalog.json": catalog()}))
    for magic, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = packed.index(magic) + place
        packed[at] |= 1
    path = tmp_path / "x.zip"
    path.write_bytes(packed)
    with pytest.raises(ArchiveCorrupt, match="encrypted"):
        LocalArchive.of(path)


def test_a_directory_of_a_zip_too_large_for_memory(tmp_path: Path) -> None:
    packed = bytearray(zip_bytes({"whole/catalog.json": catalog()}))
    at = packed.rindex(b"PK\5\6")
    struct.pack_into("<L", packed, at + 12, 1 << 30)
    path = tmp_path / "x.zip"
    with path.open("wb") as file:
        file.write(packed[:at])
        file.seek(1 << 30)  # a hole, which takes no room
        file.write(packed[at:])
    with pytest.raises(ArchiveLimitExceeded, match=r"tar\.zst"):
        LocalArchive.of(path)


@pytest.mark.parametrize("ending", list(PACK))
def test_an_archive_without_stac(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(PACK[ending]({"a/b.txt": b"hello", "a/c.json": {"no": "stac"}}))
    with pytest.raises(InvalidArgument, match="holds no STAC"):
        open_source(str(path))


@pytest.mark.parametrize(
    "data", [b"", b"PK\5\6", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"<html>sign in</html>"]
)
def test_what_is_no_archive_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(ArchiveCorrupt, match=r"x\.zip .*: name another archive"):
        open_source(str(path))


def test_hard_links_and_devices_of_a_tar_go_nowhere(tmp_path: Path) -> None:
    def special(kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo()
        info.type, info.linkname = kind, "/etc/passwd"
        return info

    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    files = within("whole/", WHOLE)
    files |= {f"whole/s{number}.json": special(kind) for number, kind in enumerate(kinds)}
    path = tmp_path / "x.tar.bz2"
    path.write_bytes(PACK[".tar.bz2"](files))
    paths = DownloadPaths.of("whole", tmp_path / "out")
    unarchived = open_source(str(path)).acquire(paths).unpack(paths)
    assert unarchived is not None
    assert (unarchived.files, unarchived.remark_count) == (len(WHOLE), len(kinds))


def test_items_that_name_no_collection_are_in_one(tmp_path: Path) -> None:
    files = {f"i/{name}/{name}.json": item(name, None) for name in "abc"}
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes(files))
    found = LocalArchive.of(path).here()
    index = index_assets(found, DownloadPaths.of("i", tmp_path / "out"))
    assert index.collections == (("uncollected", 3, 3),)
    root = {"collection.json": {"type": "Collection", "id": "mine"}}
    linked = {"rel": "collection", "href": "../collection.json"}
    files = {f"{name}/{name}.json": item(name, None, links=[linked]) for name in "abc"}
    path.write_bytes(zip_bytes(files | root))
    found = LocalArchive.of(path).here()
    index = index_assets(found, DownloadPaths.of("x", tmp_path / "out"))
    assert index.collections == (("mine", 3, 3),)


@pytest.mark.parametrize("first", ["beside", "below"])
def test_what_lies_beside_the_root_takes_no_place_of_its_files(tmp_path: Path, first: str) -> None:
    above = item("a", assets={"up": {"href": "../../../data/B.tif"}, "own": {"href": "../B.tif"}})
    below = within("whole/", {**WHOLE, "c/a/a.json": above, "data/B.tif": b"below"})
    below["whole/c/B.tif"] = b"own"
    beside = {"data/B.tif": b"beside", "other.txt": b"another"}
    path = tmp_path / "x.zip"
    path.write_bytes(zip_bytes(beside | below if first == "beside" else below | beside))
    paths = DownloadPaths.of("whole", tmp_path / "out")
    found = open_source(str(path)).acquire(paths)
    found.unpack(paths)
    assert (paths.catalog_dir / "data/B.tif").read_bytes() == b"below"
    assert (paths.catalog_dir / "other.txt").read_bytes() == b"another"
    index = index_assets(found, paths)
    hrefs = {row["asset_key"]: row["href"] for row in rows_of(index) if row["item_id"] == "a"}
    assert hrefs == {"own": "whole/c/B.tif", "up": "whole/%2E%2E/data/B.tif"}
    assert any("beside the root" in remark for remark in index.remarks)


def test_an_archive_of_more_than_the_usual_caps_is_named_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(PACK[".tar.gz"](within("whole/", {**WHOLE, "z.bin": bytes(3_000_000)})))
    limits = ArchiveLimits(max_bytes=2_000_000)
    assert root_of(path, None, limits).dataset_id == "whole"
    with pytest.raises(ArchiveLimitExceeded, match="--max-bytes"):
        read_through(path, limits)
