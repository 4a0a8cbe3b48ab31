"""Arguments that cannot work: one line, the exit status of the design, and nothing written."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlhub_core import cli
from mlhub_core.hub.server import DemoHub

DATASET = "demo_crops"
LABELS = "demo_crops_labels"
PROGRESS = re.compile(r"(catalog|unarchive|index|filter|download): .*")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The command sets the level of our logger, which outlives it here."""
    logger = logging.getLogger("mlhub_core")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs: a few files that arguments name."""
    for name, content in {
        "file": "x",
        "broken.json": "{nope",
        "list.json": "[1]",
        "point.geojson": '{"type": "Point", "coordinates": [1, 2]}',
        "feature.geojson": '{"type": "Feature", "geometry": null}',
        "letters.json": '{"demo_crops_labels": "labels"}',
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command; its exit status and the one line that it may write."""
    code = cli.main(["download", *arguments])
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if not PROGRESS.fullmatch(line)]
    assert len(lines) == 1, lines
    start, line = lines[0].split(" ", 1)
    assert start == "mlhub:"
    return code, line


def _contents(folder: Path) -> dict[str, bytes]:
    """Files and directories; of our own state only that it is there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if ".mlhub" not in path.parent.parts
    }


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--bbox", "1,2,3,4", "--intersects", "point.geojson"], 2, ["--bbox", "exclude", "one"]),
        (["--bbox", "1,2,3"], 2, ["'1,2,3'", "3 numbers", "W,S,E,N"]),
        (["--bbox", "a,b,c,d"], 2, ["'a,b,c,d'", "'a'", "four numbers"]),
        (["--bbox", "1,2,3,nan"], 2, ["'nan'", "four numbers"]),
        (["--bbox", "-600,2,3,4"], 2, ["west is -600", "from -180 to 180"]),
        (["--bbox", ",1,2,3"], 2, ["',1,2,3'", "holds ''", "W,S,E,N"]),
        (["--bbox", "1,5,2,4"], 2, ["'1,5,2,4'", "south is greater", "swap"]),
        (["--bbox", "1,2,3,95"], 2, ["north is 95", "from -90 to 90"]),
        (["--datetime", "yesterday"], 2, ["'yesterday'", "no date", "2016-07-01"]),
        (["--datetime", "2021-02-30"], 2, ["'2021-02-30'", "no date", "2016-07-01"]),
        (["--datetime", "2021/2020"], 2, ["'2021/2020'", "ends before", "swap"]),
        (["--datetime", "../.."], 2, ["'../..'", "open at both ends", "leave it out"]),
        (["--intersects", "missing.geojson"], 2, ["missing.geojson", "no such file", "GeoJSON"]),
        (["--intersects", "broken.json"], 2, ["broken.json", "not JSON", "FeatureCollection"]),
        (["--intersects", "feature.geojson"], 2, ["no shape", "Feature"]),
        (["--collection-filter", "broken.json"], 2, ["broken.json", "not JSON", '{"my_labels"']),
        (["--collection-filter", "list.json"], 2, ["list.json", "list", '{"my_labels"']),
        (["--collection-filter", "letters.json"], 2, ["collection_filter", "'labels'"]),
        (["--collection-filter", "missing.json"], 2, ["missing.json", "cannot be read", "JSON"]),
        (["--collection", "=x"], 2, ["'=x'", "COLLECTION=KEY"]),
        (["--collection", "a", "--collection-filter", "b"], 2, ["exclude each other", "one"]),
        (["--mirror", "x"], 2, ["'x'", "PREFIX=URL"]),
        (["--mirror", "https://a.example/=ftp://b.example/"], 2, ["ftp", "PREFIX=URL"]),
        (["--concurrency", "0"], 2, ["concurrency is 0", "greater than or equal to 1"]),
        (["--concurrency", "5000"], 2, ["concurrency is 5000", "less than or equal to 1024"]),
        (["--concurrency", "many"], 2, ["--concurrency", "'many'", "--help"]),
        (["--workers", "0"], 2, ["workers is 0", "greater than or equal to 1"]),
        (["--if-exists", "maybe"], 2, ["--if-exists", "'maybe'", "'resume'"]),
        (["--nonsense"], 2, ["--nonsense", "--help"]),
        (["--output-dir", ""], 2, ["output_dir is empty", "name a directory"]),
        (["--output-dir", "file"], 4, ["file is a file, not a directory", "another"]),
        (["--output-dir", "file/below"], 4, ["file is a file, not a directory", "another"]),
        (["--asset-output-dir", "file"], 4, ["file is a file, not a directory", "another"]),
        (["--output-dir", "link/below"], 4, ["link is a link to nothing", "another"]),
        (["--collection", "demo_crops_label"], 2, ["'demo_crops_label'", "mean", f"'{LABELS}'"]),
        (["--collection", "zzz"], 2, ["'zzz'", LABELS, "demo_crops_plots"]),
        (["--collection", f"{LABELS}=label"], 2, ["'label'", "did you mean 'labels'"]),
        (["--collection", f"{LABELS}=labels,zzz"], 2, ["'zzz'", "documentation", "raster_labels"]),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else None,
)
def test_one_line_and_nothing_written(
    arguments: list[str],
    code: int,
    parts: list[str],
    folder: Path,
    at_demo_hub: DemoHub,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = _contents(folder)
    if "--output-dir" not in arguments:
        arguments = [*arguments, "--output-dir", "new/out"]
    got, line = _run(capsys, DATASET, *arguments)
    assert got == code, line
    for part in parts:
        assert part in line
    assert _contents(folder) == before


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("no_such", ['"no_such"', "does not exist", "mlhub datasets list"]),
        ("10.1/nothing", ['"10.1/nothing"', "does not exist", "mlhub datasets list"]),
        ("../../etc", ["../../etc: check the path", "neither a file nor a directory"]),
        ("  ", ["'  '", "id or DOI"]),
    ],
)
def test_an_unknown_dataset(
    name: str,
    parts: list[str],
    folder: Path,
    at_demo_hub: DemoHub,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = _contents(folder)
    code, line = _run(capsys, name, "--output-dir", "new")
    assert code == 2
    assert all(part in line for part in parts), line
    assert _contents(folder) == before


def test_no_dataset(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = _run(capsys, "--output-dir", "new")
    assert (code, "--demo" in line) == (2, True)
    assert not (folder / "new").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is of Linux")
def test_a_directory_where_nothing_can_be_made(
    at_demo_hub: DemoHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Permissions do not hold for root, who runs many a container; /proc is closed to all."""
    code, line = _run(capsys, DATASET, "--output-dir", "/proc/new")
    assert code == 4
    assert "/proc" in line
    assert "another" in line


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_directory_that_is_read_only(
    folder: Path, at_demo_hub: DemoHub, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "locked").mkdir(mode=0o500)
    code, line = _run(capsys, DATASET, "--output-dir", "locked/out")
    assert code == 4
    assert "locked cannot be written" in line
    assert "permissions" in line


def test_an_unknown_asset_key_leaves_an_earlier_download_as_it_was(
    folder: Path, at_demo_hub: DemoHub, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [DATASET, "--output-dir", "out", "--collection"]
    assert cli.main(["download", "-q", *arguments, f"{LABELS}=labels"]) == 0
    capsys.readouterr()
    before = _contents(folder)
    code, _ = _run(capsys, *arguments, f"{LABELS}=label")
    assert code == 2
    assert _contents(folder) == before


def test_filters_that_leave_nothing_say_what_was_left_after_each(
    folder: Path, at_demo_hub: DemoHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """The catalog stays: the next filter needs it, and it was no mistake to fetch it."""
    filters = ["--collection", f"{LABELS}=labels", "--datetime", "1999"]
    code, line = _run(capsys, DATASET, "--output-dir", "out", *filters)
    assert code == 2
    assert re.search(r"876 files in the dataset, \d+ .*collection filter, 0 .*datetime", line)
    assert not list((folder / "out" / DATASET).rglob("labels.geojson"))
    code, line = _run(capsys, DATASET, "--output-dir", "out", "--bbox", "0,-80,1,-79")
    assert code == 2
    assert "after the bbox filter" in line


def test_the_default_hub_is_switched_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proxy that refuses stands for its absence: nothing leaves this machine."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    code, line = _run(capsys, DATASET, "--output-dir", "new")
    assert code == 3
    assert line.startswith("https://api.radiant.earth/mlhub/v1/ does not answer")
    assert "switched off" in line
    assert all(way in line for way in ("MLHUB_ROOT_URL", "mlhub serve", "--demo"))
    assert not (folder / "new").exists()


@pytest.mark.parametrize("root", ["ftp://hub.example/", "hub.example"])
def test_a_root_url_that_is_none(
    root: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", root)
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    code, line = _run(capsys, DATASET, "--output-dir", "new")
    assert code == 2
    assert root in line
    assert "http://" in line


def test_no_key(
    folder: Path,
    demo_hub: DemoHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", demo_hub.url)
    code, line = _run(capsys, DATASET, "--output-dir", "new", "--profile", "nobody")
    assert code == 3
    assert all(way in line for way in ("MLHUB_API_KEY", "mlhub configure", "__anonymous__"))
    assert not (folder / "new").exists()


def test_as_a_process_of_its_own(folder: Path, at_demo_hub: DemoHub) -> None:
    """What a shell sees: our log lines too, which stand on standard error as well."""
    before = _contents(folder)
    arguments = [DATASET, "--output-dir", "new", "--collection", f"{LABELS}=label", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "mlhub_core", "download", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"mlhub: .*'label'.*did you mean 'labels'\?\n", done.stderr)
    assert _contents(folder) == before
