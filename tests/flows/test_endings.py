"""Every way in which a run with a server of its own can end: what is left, and what goes on."""

from __future__ import annotations

import io
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlhub_core.cli import main as mlhub
from mlhub_core.hub.server import HubServer
from tests.faultserver import Fault
from tests.flows.conftest import PATIENCE, Files, Mirror
from tests.flows.test_command import assert_stopped, in_ledger, mirror_options
from tests.processes import command, download_words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Stalled = Callable[[], None]


def finish(mirror: Mirror, output_dir: Path, files_of: Files) -> None:
    """Run again, in this process, on a server that is well; all is there, nothing comes twice."""
    before = set(in_ledger(output_dir))
    for path in mirror.files:
        mirror.server.always(path, Fault())
    mirror.server.forget()
    options = ["--output-dir", str(output_dir), "-q", *mirror_options(mirror)]
    assert mlhub(["download", "demo_crops", *options]) == 0
    after = set(in_ledger(output_dir))
    assert before < after
    assert len(after) == 876
    assert not before & {path.removeprefix("/demo_crops/") for path in mirror.server.paths()}
    for path, content in files_of(output_dir).items():
        assert mirror.files.get(f"/{path}", content) == content


@pytest.mark.parametrize("ending", ["SIGINT", "SIGINT to the group", "SIGTERM", "SIGKILL"])
def test_in_the_middle_of_a_download(
    mirror: Mirror, stalled: Stalled, tmp_path: Path, files_of: Files, ending: str
) -> None:
    words = download_words("demo_crops", "--output-dir", "out", *mirror_options(mirror))
    with command(words, tmp_path) as running:
        stalled()
        # The command, which fetches by itself what is no more than this, and its Prefect server.
        assert len(running.survivors()) == 2
        while not in_ledger(tmp_path / "out"):  # it is written out some times a second
            assert running.process.poll() is None
        if ending == "SIGINT to the group":
            running.interrupt_group()
        else:
            running.process.send_signal(signal.Signals[ending])
        if ending == "SIGKILL":
            assert running.wait(300) == -signal.SIGKILL
            assert running.all_end(300)
        else:
            assert_stopped(running, tmp_path / "out")
    finish(mirror, tmp_path / "out", files_of)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_the_server_starts(mirror: Mirror, tmp_path: Path, number: signal.Signals) -> None:
    with command(download_words("demo_crops", "--output-dir", "out"), tmp_path) as running:
        while "Starting a Prefect API server" not in running.err:
            assert running.process.poll() is None
        running.process.send_signal(number)
        assert running.wait(300) == 130
        assert running.all_end(300)
        (_, last) = running.err.splitlines()
        assert last.startswith("download_dataset: Stopped.")
    assert not (tmp_path / "out").exists()


def test_while_unarchiving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_dir = tmp_path / "hub"
    for folder in ("datasets", "catalogs"):
        (hub_dir / folder).mkdir(parents=True)
    (hub_dir / "datasets" / "large.json").write_text('{"id": "large", "title": "Large"}')
    catalog = b'{"type": "Catalog", "id": "large", "links": []}'
    with tarfile.open(hub_dir / "catalogs" / "large.tar.gz", "w:gz", compresslevel=1) as archive:
        add(archive, "large/catalog.json", catalog)
        for number in range(120_000):
            add(archive, f"large/notes/{number % 100}/{number}.txt", b"a note")
    with HubServer(hub_dir) as hub:
        monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
        monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
        words = download_words("large", "--output-dir", "out", "--catalog-only")
        with command(words, tmp_path) as running:
            while not (tmp_path / "out" / "large" / "notes" / "99").exists():
                assert running.process.poll() is None, running.err
            running.process.send_signal(signal.SIGTERM)
            assert running.wait(300) == 130, running.err
            assert running.all_end(300)
            assert "Traceback" not in running.err
        assert sum(1 for _ in (tmp_path / "out").rglob("*.txt")) < 120_000
        monkeypatch.chdir(tmp_path)
        assert mlhub(["download", "large", "--output-dir", "out", "--catalog-only", "-q"]) == 0
        assert sum(1 for _ in (tmp_path / "out").rglob("*.txt")) == 120_000


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_failures(mirror: Mirror, tmp_path: Path) -> None:
    gone = next(path for path in mirror.files if path.endswith("mask.npy"))
    mirror.server.always(gone, Fault(status=404, body=b"gone"))
    words = download_words("demo_crops", "--output-dir", "out", *mirror_options(mirror))
    with command(words, tmp_path) as running:
        assert running.wait(PATIENCE) == 1, running.err
        assert running.all_end(300)
        assert running.out == ""
        assert "Traceback" not in running.err
        last = running.err.splitlines()[-1]
        assert last.startswith("download_dataset: 1 of 876 assets of demo_crops could not be had")
    assert len(in_ledger(tmp_path / "out")) == 875


def test_a_success_prints_where_everything_is(mirror: Mirror, tmp_path: Path) -> None:
    words = download_words("demo_crops", "--output-dir", "out", *mirror_options(mirror))
    with command([words[0], "-W", "default", *words[1:]], tmp_path) as running:
        assert running.wait(PATIENCE) == 0, running.err
        assert running.all_end(300)
        assert f"In {tmp_path / 'out' / 'demo_crops'}" in running.out
        stages = [line.split(":")[0] for line in running.err.splitlines()]
        assert set(stages[1:]) == {"catalog", "unarchive", "index", "filter", "download", "stac"}
