"""A file on a server that is read by ranges: what was there, or one line about why not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlhub_core.exceptions import ArchiveCorrupt, FetchError
from mlhub_core.net.ranged import NoRanges, RangedFile
from mlhub_core.net.session import Session
from tests.faultserver import FaultServer, ignore_range, truncate

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/")
    with Session() as opened:
        yield opened


def test_it_reads_as_a_file_does(server: FaultServer, session: Session) -> None:
    server.put("/it", CONTENT)
    file = RangedFile(session, server.url("/it"))
    assert file.size == len(CONTENT)
    assert file.read(10) == CONTENT[:10]
    file.seek(-5, io.SEEK_END)
    assert file.read() == CONTENT[-5:]
    asked = len(server.paths())
    file.hold(1000, 5000)
    file.seek(1200)
    assert file.read(100) == CONTENT[1200:1300]
    assert file.tell() == 1300
    assert len(server.paths()) == asked + 1


def test_what_breaks_off_is_asked_for_again(server: FaultServer, session: Session) -> None:
    server.put("/it", CONTENT)
    file = RangedFile(session, server.url("/it"))
    server.script("/it", truncate(3), truncate(0))
    assert file.read(10) == CONTENT[:10]
    server.always("/it", truncate(3))
    with pytest.raises(FetchError, match="could not be read in"):
        file.read(10)


def test_one_that_changes(server: FaultServer, session: Session) -> None:
    server.put("/it", CONTENT)
    file = RangedFile(session, server.url("/it"))
    server.put("/it", CONTENT[::-1])
    with pytest.raises(ArchiveCorrupt, match="has changed while it was read"):
        file.read(10)


def test_a_server_without_ranges(server: FaultServer, session: Session) -> None:
    server.put("/it", CONTENT)
    server.always("/it", ignore_range())
    with pytest.raises(NoRanges):
        RangedFile(session, server.url("/it"))


def test_what_is_kept_is_not_asked_for_again(
    server: FaultServer, session: Session, tmp_path: Path
) -> None:
    kept, journal = tmp_path / "kept", tmp_path / "kept.journal"
    server.put("/it", CONTENT)

    def asked() -> int:
        """Requests for two ranges of it, which are as they should be."""
        server.forget()
        file = RangedFile(session, server.url("/it"), kept)
        for first in (100, 5000):
            file.seek(first)
            assert file.read(1000) == server.truths("/it")[-1][first : first + 1000]
        return len(server.paths()) - 1

    assert (asked(), asked()) == (2, 0)
    with kept.open("r+b") as file:  # a power cut has left nothing but the length
        file.seek(100)
        file.write(bytes(10))
    assert (asked(), asked()) == (1, 0)
    kept.write_bytes(b"")
    assert (asked(), asked()) == (2, 0)
    rows = journal.read_text().splitlines(keepends=True)[:3]
    journal.write_text("".join(rows)[:-3])  # broken off within the second range
    assert (asked(), asked()) == (1, 0)
    journal.unlink()
    assert (asked(), asked()) == (2, 0)
    server.put("/it", CONTENT[::-1])
    assert (asked(), asked()) == (2, 0)
