"""Commands that read a file of the user's: what is not ours is named, and stays as it is."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from mlhub_core.index.schema import YOUNG_COLUMNS, index_schema
from tests.index.kit import index_of, item, tar_bytes, tree


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    place = tmp_path_factory.mktemp("index")
    return pq.read_table(index_of(place, tree(item("a"), item("b")))[0].path)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command refuses in."""
    assert main([*words, "-q"]) in (2, 3, 4)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "elete" not in said.err
    assert "emove" not in said.err
    return said.err


def other_type(kind: pa.DataType) -> pa.DataType:
    text = pa.types.is_string(kind)
    return pa.int64() if text or pa.types.is_binary(kind) else pa.string()


@pytest.mark.parametrize("name", index_schema().names)
def test_a_column_that_is_missing_or_of_another_type_is_named(
    index: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / "f.parquet"
    number = index.schema.get_field_index(name)
    values = pa.nulls(len(index), other_type(index.schema.field(name).type))
    pq.write_table(index.set_column(number, name, values), file)
    line = refused(["query", str(file)], capsys)
    assert str(file) in line
    assert f"column {name} is" in line
    pq.write_table(index.drop([name]), file)
    if name in YOUNG_COLUMNS:  # an index of an earlier version
        assert main(["query", str(file), "-q"]) == 0
    else:
        assert f"no column {name}" in refused(["query", str(file)], capsys)


FOREIGN = {
    "empty": b"",
    "text": b"hello",
    "half": None,
    "without its end": None,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_index_at_all_is_named(
    index: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    file = tmp_path / "f.parquet"
    pq.write_table(index, file)
    data = file.read_bytes()
    content = FOREIGN[name]
    if content is None:
        content = data[: len(data) // 2] if name == "half" else data[:-9]
    file.write_bytes(content)
    assert f"{file} is no asset index" in refused(["query", str(file)], capsys)
    assert file.read_bytes() == content


def test_a_foreign_table_a_directory_and_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "f.parquet")
    assert "no column collection_id" in refused(["query", str(tmp_path / "f.parquet")], capsys)
    assert "is no stac-geoparquet" in refused(["query", str(tmp_path)], capsys)
    assert "no such file" in refused(["query", str(tmp_path / "none.parquet")], capsys)


def test_a_damaged_middle_is_told_and_left(
    index: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.parquet"
    pq.write_table(index, file, compression="zstd")
    data = bytearray(file.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    file.write_bytes(data)
    assert str(file) in refused(["query", str(file)], capsys)
    assert file.read_bytes() == data


def archives(place: Path) -> dict[str, Path]:
    """Archives that cannot be indexed as they are."""
    plain: dict[str, Any] = tree(item("a"))
    rootless = {name.partition("/")[2]: content for name, content in plain.items()}
    nested = {f"export/v1/{name}": content for name, content in plain.items()}
    whole = gzip.compress(tar_bytes(plain), mtime=0)
    contents = {
        "nested": gzip.compress(tar_bytes(nested), mtime=0),
        "rootless": gzip.compress(tar_bytes(rootless), mtime=0),
        "bzip2": bz2.compress(tar_bytes(plain)),
        "half": whole[: len(whole) // 2],
        "flipped": whole[:-6] + bytes(6),
        "empty": b"",
        "a page": b"<html>",
    }
    place.mkdir()
    for name, content in contents.items():
        (place / name).write_bytes(content)
    return {name: place / name for name in contents}


def test_an_archive_that_cannot_be_indexed_stays_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, archive in archives(tmp_path / "theirs").items():
        before = archive.read_bytes()
        output = tmp_path / "new" / name / "i.parquet"
        status = main(["index", str(archive), "--output", str(output), "-q"])
        said = capsys.readouterr()
        if status == 0:
            assert name in ("rootless", "nested", "bzip2"), "these are read as they are"
            continue
        assert str(archive) in said.err
        assert "elete" not in said.err
        assert said.err.count("\n") == 1
        assert not (tmp_path / "new" / name).exists()
        assert archive.read_bytes() == before


def test_what_lay_there_before_stays_where_an_index_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "i.parquet").write_bytes(b"theirs")
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    words = ["index", str(tmp_path / "bad.tar.gz"), "--output"]
    refused([*words, str(tmp_path / "i.parquet")], capsys)
    assert (tmp_path / "i.parquet").read_bytes() == b"theirs"
    refused([*words, str(tmp_path / "bad.tar.gz")], capsys)
    refused([*words, str(tmp_path)], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "i.parquet"]
