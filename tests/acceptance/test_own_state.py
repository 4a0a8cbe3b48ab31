"""Our own state on disk: never reached through a link, never taken for data, damaged or not."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from mlhub_core.cli import main
from mlhub_core.paths import DownloadPaths
from mlhub_core.transfer.ledger import LedgerWriter, entries
from tests.acceptance.kit import DATASET, collection, item, publish
from tests.faultserver import FaultServer

FILES = {f"/{name}.tif": b"II*\0" + name.encode() * 50 for name in ("a", "b", "c")}
STATE = (
    ".mlhub",
    ".mlhub/lock",
    ".mlhub/index.json",
    ".mlhub/index.parquet.part",
    ".mlhub/unarchived.json",
    ".mlhub/ledger",
    ".mlhub/ledger/ledger.sqlite",
    ".mlhub/ledger/ledger.sqlite-wal",
    ".mlhub/ledger/ledger.sqlite-journal",
    ".mlhub/partial",
    ".mlhub/partial/0.part",
    ".mlhub/plan",
    ".mlhub/trash",
    "mlhub_stac_assets.parquet",
    "mlhub_stac_assets.db",
    "err_report.csv",
)


@pytest.fixture
def published(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """A hub with three files, of which one cannot be had."""
    for path, content in FILES.items():
        server.put(path, content)
    hrefs = {path[1:2]: server.url(path) for path in FILES}
    documents = collection(), item("one", {**hrefs, "gone": server.url("/gone.tif")})
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, *documents))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    return server


def download(output: Path, *options: str) -> int:
    return main(["download", DATASET, "--output-dir", str(output), "--quiet", *options])


def contents(root: Path) -> dict[str, bytes]:
    return {f"/{path.name}": path.read_bytes() for path in (root / "pictures").rglob("?.tif")}


@pytest.mark.usefixtures("published")
def test_no_state_is_reached_through_a_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "out" / DATASET
    where = "--output-dir", str(tmp_path / "out")
    assert download(tmp_path / "out") == 1
    for number, name in enumerate(STATE):
        ours, outside, aside = root / name, tmp_path / f"outside{number}", tmp_path / "aside"
        if ours.exists():
            shutil.move(ours, aside)
        if aside.is_dir():
            shutil.copytree(aside, outside)
        else:
            outside.write_text("of somebody else")
        ours.parent.mkdir(exist_ok=True)
        ours.symlink_to(outside)
        before = seen(outside)
        capsys.readouterr()
        command = ["verify", str(root)] if number % 4 else ["download", DATASET, *where]
        assert main([*command, "-q"]) == 4, name
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert f"{ours} is a symbolic link to {outside}" in printed
        assert seen(outside) == before
        ours.unlink()
        if aside.exists():
            shutil.move(aside, ours)
    assert download(tmp_path / "out") == 1


def seen(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (place, *place.rglob("*")) if path.is_file()}


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("linked", ["out", f"out/{DATASET}"])
def test_the_directories_of_the_user_may_be_links(linked: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    (tmp_path / linked).symlink_to(tmp_path / "disk")
    root = tmp_path / "out" / DATASET
    for command in range(2):
        assert download(tmp_path / "out") == 1, command
        assert contents(root) == FILES
    assert main(["verify", "--quiet", str(root)]) == 0
    assert (tmp_path / linked).is_symlink()


@pytest.mark.usefixtures("published")
def test_a_link_where_a_file_goes_is_replaced_and_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(FILES["/a.tif"][:100])  # its end would be asked for
    os.utime(secret, (4e9, 4e9))
    final = tmp_path / "out" / DATASET / "pictures" / "one" / "a.tif"
    final.parent.mkdir(parents=True)
    final.symlink_to(secret)
    assert download(tmp_path / "out") == 1
    assert contents(tmp_path / "out" / DATASET) == FILES
    assert not final.is_symlink()
    assert secret.read_bytes() == FILES["/a.tif"][:100]


def test_our_state_is_no_data(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hrefs of an item are relative to the directory that it lies in."""
    up = "../../"
    hrefs = [f"{up}{spelled}" for name in STATE for spelled in (name, name.upper())]
    hrefs += [f"{up}./pictures/../.mlhub/lock", f"../{up}{DATASET}.tar.gz", f"{up}%2emlhub/lock"]
    assets = {f"a{number}": href for number, href in enumerate(hrefs)}
    server.put("/a.tif", FILES["/a.tif"])
    documents = collection(), item("one", {**assets, "fine": server.url("/a.tif")})
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, *documents))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    for _ in range(2):
        assert download(tmp_path) == 1
        found = {path.name for path in (tmp_path / DATASET / "pictures").rglob("*.*")}
        assert found - {"collection.json", "n1.json"} == {"fine.tif"}
        report = (tmp_path / DATASET / "err_report.csv").read_text()
        assert report.count("\n") == 1 + len(assets)


DAMAGE = st.one_of(
    st.floats(0, 1, exclude_max=True).map(lambda part: ("cut", part)),
    st.floats(0, 1, exclude_max=True).map(lambda part: ("flip", part)),
    st.sampled_from([("cut", 0.0), ("cut", 0.98), ("zeros", 0.0), ("random", 0.0)]),
    st.sampled_from([b"junk", b"{}", b"[" * 5000, b'{"a":1e999}', b'"\\ud800"']).map(
        lambda content: ("content", content)
    ),
)


def damage(path: Path, kind: str, how: Any) -> None:
    """Damage a file, its time of change left as it was."""
    data, status = bytearray(path.read_bytes()), path.stat()
    at = int(len(data) * how) if isinstance(how, float) else 0
    if kind == "flip" and data:
        data[at] ^= 0x10
    changed = {
        "cut": data[:at],
        "flip": data,
        "zeros": bytes(len(data)),
        "random": random.Random(len(data)).randbytes(len(data)),
        "content": how,
    }
    path.write_bytes(changed[kind])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def downloaded(published: FaultServer, tmp_path: Path) -> Path:
    """A download with a plan that was kept, and a segment of the ledger that a killed run left."""
    assert download(tmp_path / "base", "--dry-run") == 0
    assert download(tmp_path / "base") == 1
    published.put("/gone.tif", FILES["/a.tif"])
    paths = DownloadPaths.of(DATASET, tmp_path / "base")
    writer = LedgerWriter(paths.ledger_dir, 1)
    for entry in entries(paths.ledger_dir):
        writer.add(entry)
    writer.close()
    return tmp_path / "base"


@hypothesis.settings(
    max_examples=hypothesis.settings.default.max_examples // 20,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(number=st.integers(0, 30), how=DAMAGE, checks=st.booleans())
@hypothesis.example(number=0, how=("zeros", 0.0), checks=False)
@hypothesis.example(number=1, how=("cut", 0.98), checks=False)
@hypothesis.example(number=1, how=("random", 0.0), checks=True)
def test_the_next_run_makes_good_whatever_is_damaged(
    downloaded: Path,
    capsys: pytest.CaptureFixture[str],
    number: int,
    how: tuple[str, Any],
    checks: bool,
) -> None:
    work = downloaded.with_name("work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(downloaded, work)
    root = work / DATASET
    first = [work / f"{DATASET}.tar.gz", root / ".mlhub/ledger/ledger.sqlite"]
    ours = {path for path in (root / ".mlhub").rglob("*") if path.is_file()} - set(first)
    all_of_it = first + sorted(ours | set(root.glob("*.csv")) | set(root.glob("mlhub_stac*")))
    damage(all_of_it[number % len(all_of_it)], *how)
    if checks:
        # What cannot be read (4) is named, and made anew by the download that follows.
        assert main(["verify", "-q", str(root)]) in (0, 1, 4)
    capsys.readouterr()
    assert download(work) == 0
    assert capsys.readouterr().err.count("\n") <= 1
    assert contents(root) == FILES


def test_a_ledger_of_a_newer_version_is_left_alone(
    downloaded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = DownloadPaths.of(DATASET, downloaded).ledger_dir / "ledger.sqlite"
    with closing(sqlite3.connect(table)) as connection:
        connection.execute("PRAGMA user_version = 7")
    before = table.read_bytes()
    capsys.readouterr()
    assert download(downloaded) == 4
    assert "newer version" in capsys.readouterr().err
    assert table.read_bytes() == before
