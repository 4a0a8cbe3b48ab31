"""``mlhub verify``: what is wrong with a download is found offline, and repaired."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import DirectoryBusy, DownloadIncomplete, Interrupted, InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.progress import Progress, Stage
from mlhub_core.repair import verify
from mlhub_core.runner import InProcess
from mlhub_core.settings import RunSettings
from mlhub_core.state import directory_lock
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.findings import Kind, read_findings
from mlhub_core.transfer.ledger import State, entries
from mlhub_core.workspace import tidy_state
from tests.acceptance.kit import catalog_members, collection, tar_gz
from tests.faultserver import FaultServer, stall, status
from tests.processes import command
from tests.transfer.kit import content
from tests.transfer.tiny import CARRIED, SETTINGS, Tiny

Found = dict[str, Kind]


@pytest.fixture
def tiny(tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    return downloaded(tmp_path, server, monkeypatch, files=6)


def downloaded(
    root: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch, files: int
) -> Tiny:
    tiny = Tiny(root / "data", server, files)
    monkeypatch.setenv("MLHUB_ROOT_URL", tiny.publish())
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    report = tiny.download()
    assert (report.files, report.failed) == (files + 1, 0)
    server.forget()
    return tiny


def found(tiny: Tiny) -> Found:
    """What a check finds, by path; the report and the list must agree."""
    report = verify(tiny.directory)
    assert tiny.server.paths() == []
    listed = list(read_findings(report.listing)) if report.listing else []
    for kind in Kind:
        assert getattr(report, kind.value) == sum(one.kind is kind for one in listed)
    return {one.path: one.kind for one in listed}


def change_ledger(tiny: Tiny, statement: str) -> None:
    tidy_state(tiny.paths)
    with closing(sqlite3.connect(tiny.paths.ledger_dir / "ledger.sqlite")) as table, table:
        assert table.execute(statement).rowcount == 1


def flip(path: Path, at: int = 20) -> None:
    """Change one byte and nothing else: neither the size nor, as a failing disk, the time."""
    before = path.stat()
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace_by_directory_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent)


def test_all_is_well(tiny: Tiny) -> None:
    report = verify(tiny.directory)
    assert (report.files, report.wrong, report.listing) == (tiny.files + 1, 0, None)
    assert report.bytes == sum(len(tiny.truth(n)) for n in range(6)) + len(CARRIED)
    report.raise_for_findings()
    assert "7 files checked" in report.summary()
    assert "all of them whole" in report.summary()
    assert tiny.server.paths() == []


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_harm_of_each_kind(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    harms: list[tuple[Callable[[Path], object], Kind]] = [
        (Path.unlink, Kind.MISSING),
        (lambda path: shutil.rmtree(path.parent), Kind.MISSING),
        (cut, Kind.TRUNCATED),
        (lambda path: os.truncate(path, 0), Kind.TRUNCATED),
        (flip, Kind.DAMAGED),
        (lambda path: flip(path, -1), Kind.DAMAGED),
        (lengthen, Kind.DAMAGED),
        (replace_by_directory_link, Kind.DAMAGED),
        (replace_by_pipe, Kind.DAMAGED),  # which blocks nobody
    ]
    tiny = downloaded(tmp_path, server, monkeypatch, files=len(harms) + 1)
    for number, (harm, _) in enumerate(harms):
        harm(tiny.final(number))
    assert found(tiny) == {tiny.save_path(n): kind for n, (_, kind) in enumerate(harms)}


def test_files_that_nothing_explains(tiny: Tiny) -> None:
    names = {
        "notes.txt",
        "more.json",
        "pictures/i001/data.tif.bak",
        "pictures/i001/i001.json",
        "_common/readme.md",
        "pictures/i001/\udcff.tif",
        "pictures/mlhub_stac_assets.db",
    }
    for name in names:
        (tiny.directory / name).parent.mkdir(exist_ok=True)
        (tiny.directory / name).write_bytes(b"?")
    assert found(tiny) == dict.fromkeys(names, Kind.FOREIGN)
    verify(tiny.directory).summary().encode()  # a terminal takes it
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert (report.foreign, report.wrong, report.repaired) == (len(names), len(names), None)
    assert all((tiny.directory / name).read_bytes() == b"?" for name in names)


def test_a_file_that_the_ledger_lost(tiny: Tiny) -> None:
    change_ledger(tiny, "DELETE FROM files WHERE path LIKE '%i002/%'")
    assert found(tiny) == {tiny.save_path(2): Kind.UNRECORDED}
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert report.wrong == 0
    assert tiny.assets_asked_for() == [tiny.url_path(2)]
    tiny.server.forget()
    assert found(tiny) == {}


def test_files_are_found_however_deep_they_lie(tiny: Tiny) -> None:
    deep = tiny.directory
    expected = {}
    for level in range(40):
        deep = deep / f"level{level}"
        deep.mkdir()
        (deep / "x.tif").write_bytes(b"x")
        (deep / "empty").mkdir()
        expected[(deep / "x.tif").relative_to(tiny.directory).as_posix()] = Kind.FOREIGN
    assert found(tiny) == expected


def test_a_catalog_that_lies_elsewhere(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.download(asset_output_dir=tmp_path / "assets")
    elsewhere = tmp_path / "assets" / "tiny"
    tiny.server.forget()
    assert verify(elsewhere).wrong == 0
    (elsewhere / "pictures" / "i001" / "i001.json").write_bytes(b"{}")
    flip(elsewhere / tiny.save_path(1))
    (elsewhere / "pictures" / "labels" / "labels.geojson").unlink()
    monkeypatch.chdir(elsewhere)
    report = verify(".", repair=True, settings=SETTINGS)
    assert (report.damaged, report.missing, report.foreign, report.wrong) == (1, 1, 1, 1)
    assert (elsewhere / "pictures/labels/labels.geojson").read_bytes() == CARRIED


def test_harm_to_the_catalog(tiny: Tiny) -> None:
    harms = [(Path.unlink, Kind.MISSING), (cut, Kind.TRUNCATED), (flip, Kind.DAMAGED)]
    harmed = [tiny.directory / f"pictures/n{number}/n{number}.json" for number in (2, 3, 4)]
    whole = [path.read_bytes() for path in harmed]
    for path, (harm, _) in zip(harmed, harms, strict=True):
        harm(path)
    flip(tiny.final(2))
    names = [path.relative_to(tiny.directory).as_posix() for path in harmed]
    expected = dict(zip(names, (kind for _, kind in harms), strict=True))
    assert found(tiny) == {**expected, tiny.save_path(2): Kind.DAMAGED}
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert (report.catalog, report.wrong) == (3, 0)
    assert "4 of 4 repaired" in report.summary()
    assert [path.read_bytes() for path in harmed] == whole
    assert tiny.is_whole()


def test_a_catalog_without_assets(tiny: Tiny, tmp_path: Path) -> None:
    alone = Tiny(tmp_path / "alone", tiny.server, tiny.files)
    alone.download(catalog_only=True)
    alone.server.forget()
    assert found(alone) == {}
    (alone.directory / "catalog.json").unlink()
    assert found(alone) == {"catalog.json": Kind.MISSING}
    assert verify(alone.directory, repair=True, settings=SETTINGS).wrong == 0
    assert found(alone) == {}


def test_an_archive_that_is_damaged_or_another_says_nothing_of_the_catalog(tiny: Tiny) -> None:
    flip(tiny.directory / "pictures" / "n2" / "n2.json")
    (tiny.directory / "more.txt").write_bytes(b"")
    flip(tiny.paths.archive, -20)
    assert found(tiny) == {"more.txt": Kind.FOREIGN}
    tiny.paths.archive.write_bytes(tar_gz(catalog_members(collection())))
    assert "more.txt" in found(tiny)
    assert Kind.DAMAGED not in found(tiny).values()


def test_a_member_that_comes_twice_counts_as_the_last(tiny: Tiny) -> None:
    """As it is unarchived; and one that could not be extracted is not missed."""
    first = tar_gz({"tiny/catalog.json": b"{}", "tiny/x": b"{}", "tiny/x/y.json": b"{}"})
    both = gzip.decompress(first)[: 6 * 512] + gzip.decompress(tiny.paths.archive.read_bytes())
    tiny.server.put("/archives/tiny.tar.gz", gzip.compress(both, mtime=0))
    report = tiny.download()
    assert report.remark_count == 2, report.remarks
    tiny.server.forget()
    assert found(tiny) == {}


def test_without_the_archive_json_passes_for_the_catalog(tiny: Tiny) -> None:
    tiny.paths.archive.unlink()
    (tiny.directory / "more.json").write_bytes(b"{}")
    (tiny.directory / "more.txt").write_bytes(b"")
    assert found(tiny) == {"more.txt": Kind.FOREIGN}


def test_a_file_that_was_taken_over_unread(tiny: Tiny) -> None:
    change_ledger(tiny, "UPDATE files SET sha256 = NULL WHERE path LIKE '%i002/%'")
    flip(tiny.final(2))
    report = verify(tiny.directory)
    assert (report.wrong, report.sizes_only) == (0, 1)
    assert "only their size" in report.summary()


# Repairing


def harm_many(tiny: Tiny, dice: random.Random, count: int) -> Found:
    """Harm so many files in ways that are thrown for."""
    expected: Found = {}
    numbers = dice.sample(range(tiny.files), count * 3 // 4)
    for turn, number in enumerate(numbers):
        path = tiny.final(number)
        harm, kind = [
            (Path.unlink, Kind.MISSING),
            (cut, Kind.TRUNCATED),
            (lambda path: flip(path, dice.randrange(path.stat().st_size)), Kind.DAMAGED),
        ][turn % 3]
        harm(path)
        expected[tiny.save_path(number)] = kind
    while len(expected) < count:
        name = f"pictures/i{dice.randrange(tiny.files):03d}/stray{len(expected)}"
        name += dice.choice([".tif", ".json", ""])
        (tiny.directory / name).write_bytes(b"stray")
        expected[name] = Kind.FOREIGN
    return expected


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_hundred_are_found_and_repaired(
    tmp_path: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    tiny = downloaded(tmp_path, server, monkeypatch, files=120)
    expected = harm_many(tiny, random.Random(seed), 100)
    assert found(tiny) == expected
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert report.repaired is not None
    assert (report.repaired.fetched, report.repaired.failed) == (75, 0)
    assert (report.foreign, report.wrong) == (25, 25)
    asked = {tiny.save_path(int(Path(path).stem)) for path in tiny.assets_asked_for()}
    strays = {path for path, kind in expected.items() if kind is Kind.FOREIGN}
    assert asked == expected.keys() - strays
    assert len(tiny.assets_asked_for()) == len(server.paths())  # the hub was not asked
    assert report.repaired.requests - report.repaired.retries == 75
    assert tiny.is_whole()
    server.forget()
    assert found(tiny) == dict.fromkeys(strays, Kind.FOREIGN)
    assert all((tiny.directory / path).read_bytes() == b"stray" for path in strays)
    assert tiny.download().kept == tiny.files + 1


def test_what_cannot_be_had_stays_and_is_never_taken_for_good(tiny: Tiny) -> None:
    flip(tiny.final(2))
    harmed = tiny.final(2).read_bytes()
    tiny.server.always(tiny.url_path(2), status(404))
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert (report.wrong, tiny.final(2).read_bytes()) == (1, harmed)
    with pytest.raises(DownloadIncomplete, match="could not be repaired") as caught:
        report.raise_for_findings()
    assert caught.value.report is report
    assert "404" in tiny.paths.err_report.read_text()
    for if_exists in ("resume", "skip"):
        again = tiny.download(if_exists=DownloadIfExistsOpts.of(if_exists))
        assert (again.failed, again.adopted) == (1, 0)
    tiny.server.forget()
    assert found(tiny) == {tiny.save_path(2): Kind.DAMAGED}


def test_what_somebody_restored_is_good_again(tiny: Tiny) -> None:
    truth = tiny.truth(2)
    flip(tiny.final(2))
    tiny.server.always(tiny.url_path(2), status(404))
    verify(tiny.directory, repair=True, settings=SETTINGS)
    assert [e.path for e in entries(tiny.paths.ledger_dir) if e.state is State.DAMAGED] == [
        tiny.save_path(2)
    ]
    tiny.final(2).write_bytes(truth)
    assert verify(tiny.directory, repair=True, settings=SETTINGS).wrong == 0
    tiny.server.forget()
    assert tiny.download().kept == tiny.files + 1
    assert tiny.assets_asked_for() == []


def test_what_the_catalog_archive_carries_comes_from_there(tiny: Tiny) -> None:
    """Its damaged file is the catalog's as well: copied from there, it would stay damaged."""
    flip(tiny.carried)
    assert found(tiny) == {"pictures/labels/labels.geojson": Kind.DAMAGED}
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert report.wrong == 0
    assert tiny.is_whole()
    assert tiny.server.paths() == []


def test_what_only_the_missing_archive_has_is_not_repaired(tiny: Tiny) -> None:
    flip(tiny.carried)
    tiny.paths.archive.unlink()
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert report.wrong == 1
    assert found(tiny) == {"pictures/labels/labels.geojson": Kind.DAMAGED}


def test_what_the_index_no_longer_knows_is_told(tiny: Tiny) -> None:
    change_ledger(tiny, "UPDATE files SET path = 'pictures/gone.tif' WHERE path LIKE '%i002/%'")
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    assert report.repaired is not None
    assert ("not in the asset index", "", 1) in report.repaired.causes
    assert report.wrong == 1


def test_failures_of_the_download_stay_in_the_report(tiny: Tiny) -> None:
    tiny.server.always(tiny.url_path(4), status(404))
    tiny.final(4).unlink()
    assert tiny.download().failed == 1
    flip(tiny.final(2))
    report = verify(tiny.directory, repair=True, settings=SETTINGS)
    # The file of the failure is missing as well, for the ledger knew it once.
    assert (report.damaged, report.missing, report.wrong) == (1, 1, 1)
    rows = tiny.paths.err_report.read_text().splitlines()
    assert len(rows) == 2
    assert ",i004," in rows[1]


# Stopping, refusing, telling


def test_a_stop_ends_it(tiny: Tiny) -> None:
    stop = StopFlag()
    with pytest.raises(Interrupted):
        verify(tiny.directory, InProcess(stop=stop, on_progress=lambda _: stop.set()))
    assert found(tiny) == {}


def test_ctrl_c_ends_it_within_a_file(tiny: Tiny) -> None:
    """A signal reaches the main thread, which must not wait until the others have read it all."""
    length = 200 * 1000**3
    os.truncate(tiny.final(0), length)
    change_ledger(tiny, f"UPDATE files SET size = {length} WHERE path LIKE '%i000/%'")
    told: list[Progress] = []

    def press(message: Progress) -> None:
        told.append(message)
        if len(told) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        verify(tiny.directory, InProcess(on_progress=press))
    assert told[-1].bytes_done < length
    with directory_lock(tiny.paths):
        pass


def test_sigterm_while_repairing(tiny: Tiny, tmp_path: Path) -> None:
    for number in (1, 2):
        tiny.final(number).unlink()
    tiny.server.script(tiny.url_path(2), stall())
    words = [sys.executable, "-m", "mlhub_core", "verify", "--repair", str(tiny.directory)]
    with command(words, tmp_path) as running:
        tiny.server.when_asked(
            tiny.url_path(2), lambda: running.process.send_signal(signal.SIGTERM)
        )
        assert running.wait(300) == 130
        assert "Stopped." in running.err
    tiny.server.when_asked(tiny.url_path(2), lambda: None)
    assert verify(tiny.directory, repair=True, settings=SETTINGS).wrong == 0
    assert tiny.is_whole()


def test_progress_ends_at_the_whole(tiny: Tiny) -> None:
    told: list[Progress] = []
    verify(tiny.directory, InProcess(on_progress=told.append))
    last = told[-1]
    assert (last.stage, last.finished) == (Stage.VERIFY, True)
    assert (last.done, last.bytes_done) == (last.total, last.bytes_total)
    assert [message.done for message in told] == sorted(message.done for message in told)


def test_another_run_in_the_directory(tiny: Tiny) -> None:
    with directory_lock(tiny.paths), pytest.raises(DirectoryBusy):
        verify(tiny.directory)


def test_a_directory_that_holds_no_download(tmp_path: Path, tiny: Tiny) -> None:
    for wrong, hint in ((tmp_path, "mlhub download"), (tiny.root, str(tiny.directory))):
        with pytest.raises(InvalidArgument, match="not the directory of a downloaded") as caught:
            verify(wrong)
        assert hint in str(caught.value)
        assert not (wrong / ".mlhub").exists()


def test_a_download_that_was_moved_and_one_that_was_renamed(tmp_path: Path, tiny: Tiny) -> None:
    shutil.move(tiny.root, tmp_path / "moved")
    moved = tmp_path / "moved" / "tiny"
    flip(moved / "pictures/labels/labels.geojson")
    assert verify(moved, repair=True, settings=SETTINGS).wrong == 0
    with pytest.raises(InvalidArgument, match="give it that name again"):
        verify(moved.rename(moved.with_name("other")))


def test_the_command(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tiny.directory)]) == 0
    flip(tiny.final(1))
    (tiny.directory / "notes.txt").write_bytes(b"")
    capsys.readouterr()
    assert main(["verify", str(tiny.directory)]) == 1
    told = capsys.readouterr()
    assert f"damaged: {tiny.save_path(1)} (other bytes than by the ledger" in told.out
    assert "foreign: notes.txt" in told.out
    assert sum(line.startswith("mlhub: ") for line in told.err.splitlines()) == 1
    assert "--repair" in told.err
    assert main(["verify", "--repair", str(tiny.directory)]) == 1
    (tiny.directory / "notes.txt").unlink()
    assert main(["verify", str(tiny.directory)]) == 0
    assert tiny.is_whole()
    capsys.readouterr()
    assert main(["verify", str(tiny.root)]) == 2
    assert main(["verify", str(tiny.directory), "--workers", "0"]) == 2


def test_settings_reach_the_repair(tiny: Tiny) -> None:
    """A mirror is asked in place of the host of the catalog."""
    from dataclasses import replace

    tiny.server.put("/copy/2.tif", tiny.truth(2))
    mirrors = ((tiny.server.url("/assets/"), tiny.server.url("/copy/")),)
    settings = RunSettings(transfer=replace(SETTINGS.transfer, mirrors=mirrors))
    tiny.final(2).write_bytes(content("other", 10))
    assert verify(tiny.directory, repair=True, settings=settings).wrong == 0
    assert tiny.server.paths() == ["/copy/2.tif"]
