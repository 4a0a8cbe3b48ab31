from __future__ import annotations

import gzip
import io
import struct
import tarfile
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
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.members import Member, MemberKind
from mlhub_core.sources.tar import TarStream
from mlhub_core.threads import StopFlag
from tests.index.kit import tar_bytes

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
LIMITS = ArchiveLimits()

part = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
names = st.lists(part, min_size=1, max_size=12).map("/".join).filter(lambda name: name.strip("/"))
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
members = st.lists(
    st.tuples(names, kinds, st.binary(max_size=1500), st.integers(0, 2**40)), max_size=6
)


def read_all(path: Path, limits: ArchiveLimits = LIMITS) -> list[tuple[Member, bytes]]:
    with TarStream(path, limits) as stream:
        return [(member, stream.read()) for member in stream]


def by_tarfile(data: bytes) -> list[tuple[str, bool, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        result = []
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            result.append((info.name, info.isreg(), file.read() if file else b""))
        return result


def build(contents: list[tuple[str, bytes, bytes, int]], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, kind, data, mtime in contents:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, mtime
            info.linkname = name if kind == tarfile.SYMTYPE else ""
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            try:
                archive.addfile(info, io.BytesIO(data))
            except ValueError:
                assert form == tarfile.USTAR_FORMAT  # it cannot say that; the others can
    return buffer.getvalue()


def checksummed(block: bytes) -> bytes:
    blank = block[:148] + b" " * 8 + block[156:512]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tar") / "x.tar.gz"


@settings(max_examples=settings.default.max_examples // 2)
@given(contents=members, form=st.sampled_from(FORMATS), packing=st.sampled_from("pzmt"))
def test_reads_what_tarfile_writes(
    file: Path, contents: list[tuple[str, bytes, bytes, int]], form: int, packing: str
) -> None:
    data = build(contents, form)
    half = len(data) // 2
    file.write_bytes(
        {
            "p": lambda: data,
            "z": lambda: gzip.compress(data, 1),
            "m": lambda: gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1),
            "t": lambda: gzip.compress(data, 1) + b"\0" * 700,
        }[packing]()
    )
    ours = [(m.name.rstrip("/"), m.kind is MemberKind.FILE, got) for m, got in read_all(file)]
    assert ours == [(n.rstrip("/"), regular, got) for n, regular, got in by_tarfile(data)]


@given(
    contents=members,
    form=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), max_size=4),
    cut=st.floats(0, 1),
    repair=st.booleans(),
)
def test_whatever_the_bytes_only_our_errors_come_out(
    file: Path,
    contents: list[tuple[str, bytes, bytes, int]],
    form: int,
    changes: list[tuple[float, bytes]],
    cut: float,
    repair: bool,
) -> None:
    data = bytearray(build(contents, form))
    for where, what in changes:
        at = int(where * (len(data) - 1))
        data[at : at + len(what)] = what
        if repair:  # so that the damage gets past the checksum
            start = at - at % 512
            data[start : start + 512] = checksummed(bytes(data[start : start + 512]))
    if cut > 0.5:
        del data[int((cut - 0.5) * 2 * len(data)) :]
    file.write_bytes(data)
    ours = []
    try:
        ours = read_all(file)
    except CatalogError as error:
        complaint = str(error)
    else:
        complaint = ""
    assert not complaint or str(file) in complaint
    assert "\n" not in complaint
    if not repair and ours:
        theirs = by_tarfile(bytes(data))
        assert [(m.name.rstrip("/"), got) for m, got in ours] == [
            (name.rstrip("/"), got) for name, _, got in theirs
        ]


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    data = tar_bytes({"a/1": b"x" * 700, "a/2": b"y" * 100, "a/3": b""}, format=tarfile.PAX_FORMAT)
    data = data[: 512 * 6] + bytes(1024)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(data)
    assert [member.name for member, _ in read_all(path)] == ["a/1", "a/2", "a/3"]
    for length in range(0, len(data) - 1024, 64):
        path.write_bytes(data[:length])
        with pytest.raises(ArchiveCorrupt):
            read_all(path)
    packed = gzip.compress(data)
    for length in range(len(packed)):
        path.write_bytes(packed[:length])
        with pytest.raises(ArchiveCorrupt):
            read_all(path)


def test_every_damaged_byte_of_a_gzip_is_noticed_or_harmless(tmp_path: Path) -> None:
    files = {"a/1": b"abcdefgh" * 20, "a/2": bytes(range(256))}
    packed = gzip.compress(tar_bytes(files), mtime=0)
    path = tmp_path / "x.tar.gz"
    noticed = 0
    for at in range(0, len(packed), 3):
        path.write_bytes(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
        try:
            assert {m.name: got for m, got in read_all(path)} == files
        except ArchiveCorrupt:
            noticed += 1
    assert noticed > len(packed) // 3 * 0.9


def test_a_wrong_gzip_checksum_is_noticed_behind_the_end_of_the_tar(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(tar_bytes({"a": b"1"})))
    packed[-8] ^= 1
    path = tmp_path / "x.tar.gz"
    path.write_bytes(packed)
    with pytest.raises(ArchiveCorrupt, match="damaged"):
        read_all(path)


def test_garbage_behind_the_end_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes({"a": b"1"})) + b"garbage")
    assert [member.name for member, _ in read_all(path)] == ["a"]


def test_a_tar_without_end_blocks_counts_only_where_gzip_proves_it_whole(tmp_path: Path) -> None:
    data = tar_bytes({"a": b"1"})[:1024]
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(data))
    assert [member.name for member, _ in read_all(path)] == ["a"]
    path.write_bytes(data)
    with pytest.raises(ArchiveCorrupt, match="broken off"):
        read_all(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f",
        b"<html>" + b"x" * 2000,
        b"PK" + b"\0" * 600,
        gzip.compress(b"hello", mtime=0),
    ],
)
def test_what_is_no_tar_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(data)
    with pytest.raises(ArchiveCorrupt, match=r"x\.tar\.gz is no archive .*: name another"):
        read_all(path)


def header(name: bytes, size: bytes, flag: bytes = b"0", rest: bytes = b"") -> bytes:
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size.ljust(12, b"\0")
    block += b"00000000000\0" + b" " * 8 + flag
    return checksummed((block + b"\0" * 100 + rest).ljust(512, b"\0"))


END = bytes(1024)


def one(tmp_path: Path, data: bytes) -> list[tuple[Member, bytes]]:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(data)
    return read_all(path)


def test_v7(tmp_path: Path) -> None:
    data = header(b"dir/", b"0", b"\0") + header(b"dir/f", b"3", b"\0") + b"abc".ljust(512, b"\0")
    got = one(tmp_path, data + END)
    assert [(m.name, m.kind, content) for m, content in got] == [
        ("dir/", MemberKind.DIRECTORY, b""),
        ("dir/f", MemberKind.FILE, b"abc"),
    ]


def test_base_256_size(tmp_path: Path) -> None:
    size = b"\x80" + (3).to_bytes(11, "big")
    got = one(tmp_path, header(b"f", size) + b"abc".ljust(512, b"\0") + END)
    assert got[0][1] == b"abc"


def test_base_256_negative_size(tmp_path: Path) -> None:
    with pytest.raises(ArchiveCorrupt, match=r"no archive"):
        one(tmp_path, header(b"f", b"\xff" * 12) + END)


def test_gnu_sparse_map_is_passed_over(tmp_path: Path) -> None:
    rest = bytearray(512 - 257)
    rest[482 - 257] = 1
    sparse = bytearray(header(b"hole", b"3", b"S"))
    sparse[482] = 1
    extension = bytearray(512)
    data = checksummed(bytes(sparse)) + bytes(extension) + b"abc".ljust(512, b"\0")
    got = one(tmp_path, data + header(b"next", b"0") + END)
    assert [(m.name, m.kind) for m, _ in got] == [
        ("hole", MemberKind.SPARSE),
        ("next", MemberKind.FILE),
    ]


def pax(flag: bytes, *records: tuple[str, str]) -> bytes:
    body = b""
    for key, value in records:
        tail = f" {key}={value}\n".encode()
        length = len(tail) + 1
        while len(str(length)) + len(tail) != length:
            length += 1
        body += str(length).encode() + tail
    block = header(b"pax", b"%o" % len(body), flag)
    return block + body + bytes(-len(body) % 512)


def test_pax_wins_over_the_header_and_global_ones_hold_on(tmp_path: Path) -> None:
    data = pax(b"g", ("comment", "all of them"))
    data += pax(b"x", ("path", "long/é"), ("size", "3"), ("linkpath", "y"))
    data += header(b"short", b"0") + b"abc".ljust(512, b"\0") + header(b"next", b"0") + END
    assert [(m.name, content) for m, content in one(tmp_path, data)] == [
        ("long/é", b"abc"),
        ("next", b""),
    ]


def test_a_global_path_holds_for_all(tmp_path: Path) -> None:
    data = pax(b"g", ("path", "same")) + header(b"a", b"0") + header(b"b", b"0") + END
    assert [member.name for member, _ in one(tmp_path, data)] == ["same", "same"]


@pytest.mark.parametrize(
    "data",
    [
        pax(b"x", ("path", "a")) + END,
        pax(b"x", ("size", "-1")) + header(b"a", b"0") + END,
        header(b"p", b"7", b"x") + b"99 a=b\n".ljust(512, b"\0") + header(b"a", b"0") + END,
        header(b"p", b"77777777777", b"x") + bytes(512),
        header(b"p", b"77777777777", b"L") + bytes(512),
        pax(b"g", ("comment", "again")) * 40 + header(b"a", b"0") + END,
        header(b"first", b"0") + header(b"x", b"9z9"),
    ],
)
def test_broken_extended_headers(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArchiveCorrupt):
        one(tmp_path, header(b"first", b"0") + data)


def test_signed_checksums(tmp_path: Path) -> None:
    block = bytearray(header("é".encode("latin-1"), b"0"))
    blank = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    block[148:156] = b"%06o\0 " % sum(struct.unpack("512b", blank))
    assert len(one(tmp_path, bytes(block) + END)) == 1


def test_caps(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes({f"f{n}": b"" for n in range(10)})))
    with pytest.raises(ArchiveLimitExceeded, match=r"ArchiveLimits\.max_members"):
        read_all(path, ArchiveLimits(max_members=9))
    assert len(read_all(path, ArchiveLimits(max_members=10))) == 10


def test_a_bomb_is_cut_off_early(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(header(b"zeros", b"%o" % (1 << 28)) + bytes(1 << 25)))
    read: list[int] = []
    limits = ArchiveLimits(max_bytes=1 << 21)
    with (
        pytest.raises(ArchiveLimitExceeded, match=r"ArchiveLimits\.max_bytes"),
        TarStream(path, limits, on_read=read.append) as stream,
    ):
        list(stream)


def test_stop(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(tar_bytes({"big": bytes(1 << 20), "next": b""}))
    stop = StopFlag()
    with TarStream(path, LIMITS, stop=stop) as stream:
        reading = iter(stream)
        next(reading)
        stop.set()
        with pytest.raises(Interrupted):
            next(reading)


def test_a_missing_file_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.tar\.gz"):
        TarStream(tmp_path / "gone.tar.gz", LIMITS)


def test_a_directory_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        TarStream(tmp_path, LIMITS)


def collect(stream: TarStream) -> dict[str, Any]:
    return {member.name: b"".join(stream.pieces()) for member in stream}


def test_pieces_and_unread_members(tmp_path: Path) -> None:
    files = {"a": bytes(range(256)) * 5000, "b": b"", "c": b"1" * 513}
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes(files), 1))
    with TarStream(path, LIMITS) as stream:
        assert collect(stream) == files
    with TarStream(path, LIMITS) as stream:
        assert [member.name for member in stream] == ["a", "b", "c"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("cut_at", [98, 99, 100, 101])
def test_a_long_name_may_be_cut_off_behind_a_slash(tmp_path: Path, form: int, cut_at: int) -> None:
    name = "a" * (cut_at - 1) + "/" + "b" * 30
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes({name: b"content"}, format=form))
    [(member, data)] = read_all(path)
    assert (member.name, member.kind, data) == (name, MemberKind.FILE, b"content")
