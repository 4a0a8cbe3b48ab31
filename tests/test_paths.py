"""Paths that a user names: homes, directories that are gone, names that are not UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import APIKeyNotFound, InvalidArgument
from mlhub_core.net.profiles import read_api_key
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.session import get_session
from tests.index.kit import item, tree, write_archive

NAMES = {
    "not UTF-8": os.fsdecode(b"caf\xe9"),
    "a home of nobody": "~nobody-of-this-name/x",
    "a null byte": "a\0b",
}
COMMANDS = {
    "download": ["download", "d", "--output-dir", "{}"],
    "download, assets": ["download", "d", "--asset-output-dir", "{}"],
    "download, shape": ["download", "d", "--intersects", "{}"],
    "download, filter": ["download", "d", "--collection-filter", "{}"],
    "download, plan": ["download", "--plan", "{}"],
    "sync": ["sync", "d", "--output-dir", "{}"],
    "verify": ["verify", "{}"],
    "retry": ["retry", "{}"],
    "query": ["query", "{}"],
    "query, output": ["query", "i.parquet", "--output", "{}.csv"],
    "query, plot": ["query", "i.parquet", "--plot", "{}.svg"],
    "index": ["index", "{}", "--output", "i.parquet"],
    "index, output": ["index", "archive.tar.gz", "--output", "{}.parquet"],
    "serve": ["serve", "{}"],
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_path_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/")
    write_archive(tmp_path, tree(item("a")), "archive")
    assert main([word.format(name) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.tar.gz"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_so_it_is_from_python(name: str) -> None:
    for argument in ("output_dir", "asset_output_dir"):
        with pytest.raises(InvalidArgument):
            DownloadPaths.of("d", **{argument: name})


def vanish() -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


def test_a_vanished_current_directory_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlhub_core", "download", "d", "--output-dir", "x"],
        cwd=tmp_path,
        env={**os.environ, "MLHUB_ROOT_URL": "http://127.0.0.1:9/"},
        preexec_fn=vanish,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "not there any more" in done.stderr


def test_no_home_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_HOME", "~nobody-of-this-name")
    with pytest.raises(APIKeyNotFound, match="write it out"):
        read_api_key("default")
    with pytest.raises(APIKeyNotFound, match="MLHUB_API_KEY"):
        get_session()
    assert main(["configure"]) == 2


def test_a_relative_path_begins_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert user_path("a/b") == tmp_path / "a" / "b"
    assert user_path("~") == Path.home()
