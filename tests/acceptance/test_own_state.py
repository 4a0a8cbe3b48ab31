"""Our own state on disk: never reached through a link, never taken for data, damaged or not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mlhub_core.cli import main
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
        assert (download(tmp_path / "out"), main(["verify", "-q", str(root)])) == (4, 4), name
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert all(f"{ours} is a symbolic link to {outside}" in line for line in lines)
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
