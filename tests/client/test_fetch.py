"""The archive fetcher, against a server that misbehaves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mlhub_core.exceptions import EntityDoesNotExist, FetchError, Interrupted, StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import FetchedFile, FileFetcher
from mlhub_core.progress import Progress
from mlhub_core.session import Session
from mlhub_core.settings import ApiSettings
from mlhub_core.threads import StopFlag
from tests.faultserver import (
    LONG_AGO,
    Fault,
    FaultServer,
    chunked,
    gzipped,
    ignore_range,
    reset_before,
    reset_within,
    status,
    truncate,
    truncate_then_change,
    wrong_content_range,
    wrong_md5,
)

QUICK = ApiSettings(connect_timeout=30, read_timeout=30, backoff_base=0.001, retry_after_cap=0.01)
OLD = os.urandom(3_000_000)
NEW = os.urandom(3_500_000)
PATH = "/a/catalog.tar.gz"


class Place:
    """A target, its state directory, and a way to fetch into it."""

    def __init__(self, root: Path, server: FaultServer) -> None:
        self.target = root / "out" / "catalog.tar.gz"
        self.state = root / "out" / "ds" / ".mlhub"
        self.server = server

    def fetch(
        self, if_exists: str = "resume", stop: StopFlag | None = None, on_progress: object = None
    ) -> FetchedFile:
        with Session(settings=QUICK) as session:
            fetcher = FileFetcher(
                session,
                self.server.url(PATH),
                self.target,
                self.state,
                stop=stop,
                on_progress=on_progress or (lambda _: None),  # type: ignore[arg-type]
            )
            return fetcher.run(DownloadIfExistsOpts(if_exists))

    def put(self, content: bytes, modified: float | None = None) -> None:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.target.write_bytes(content)
        if modified is not None:
            os.utime(self.target, (modified, modified))

    def check(self, truth: bytes, file: FetchedFile) -> None:
        assert self.target.read_bytes() == truth
        assert (file.size, file.sha256) == (len(truth), hashlib.sha256(truth).hexdigest())
        assert not list(self.state.glob("*.part*")), "no partial file is left"


@pytest.fixture
def place(tmp_path: Path, server: FaultServer) -> Place:
    return Place(tmp_path, server)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [truncate(1_400_000)],
        [truncate(10), truncate(500_000), truncate(100)],
        [reset_before(), reset_within(2_000_000)],
        [status(500), status(503, "0")],
        [truncate(1_400_000), ignore_range()],
        [truncate(1_400_000), wrong_content_range()],
        [truncate(1_400_000), wrong_content_range("bytes 1400000-1500000/3000000")],
        [wrong_md5()],
        [chunked()],
        [truncate(1_400_000), chunked()],
        [gzipped()],
        [truncate(1_400_000), gzipped()],
    ],
)
def test_it_comes_whole_whatever_happens(
    faults: list[Fault], place: Place, server: FaultServer
) -> None:
    server.put(PATH, OLD)
    server.script(PATH, *faults)
    place.check(OLD, place.fetch())


def test_a_digest_of_packed_bytes_is_none_of_the_file(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    server.always(PATH, Fault(gzip=True, headers=(("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="),)))
    place.check(OLD, place.fetch())


def test_a_broken_off_body_is_continued_not_fetched_again(
    place: Place, server: FaultServer
) -> None:
    server.put(PATH, OLD)
    server.script(PATH, truncate(2_500_000))
    file = place.fetch()
    place.check(OLD, file)
    assert server.requests[1].headers["range"].startswith("bytes=")
    assert server.requests[1].status == 206
    assert file.moved < 2_600_000 + 1_100_000, "at most one chunk twice"


def test_a_file_that_changes_between_two_tries_is_not_mixed(
    place: Place, server: FaultServer
) -> None:
    server.put(PATH, OLD)
    server.script(PATH, truncate_then_change(2_000_000, NEW))
    place.check(NEW, place.fetch())


def test_a_file_that_never_comes_whole(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD, etag=None)
    server.always(PATH, truncate(1000))
    place.put(b"old but good")
    with pytest.raises(FetchError, match=r"whole in 5 tries.*same command"):
        place.fetch("overwrite")
    assert place.target.read_bytes() == b"old but good", "what was there is not lost"


def test_the_second_run_asks_one_conditional_question(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    place.fetch()
    server.forget()
    file = place.fetch()
    place.check(OLD, file)
    assert [request.status for request in server.requests] == [304]
    assert file.moved == 0


def test_an_updated_longer_archive_replaces_the_old_one(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    place.fetch()
    longer = OLD[:1_000_000] + NEW
    server.put(PATH, longer)
    place.check(longer, place.fetch())


def test_a_complete_file_of_somebody_else_costs_no_body(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    place.put(OLD)
    file = place.fetch()
    place.check(OLD, file)
    assert file.moved == 0
    assert [request.status for request in server.requests] == [416]


def test_a_half_file_of_somebody_else_is_completed(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    place.put(OLD[:2_000_000])
    file = place.fetch()
    place.check(OLD, file)
    assert file.moved == 1_000_000


@pytest.mark.parametrize("honours_dates", [True, False])
def test_a_half_file_of_an_older_state_is_not_continued(
    honours_dates: bool, place: Place, server: FaultServer
) -> None:
    server.put(PATH, NEW, modified=LONG_AGO)
    place.put(OLD[:2_000_000], modified=LONG_AGO - 1000)
    if not honours_dates:
        part = NEW[2_000_000:]
        headers = (("Content-Range", f"bytes 2000000-{len(NEW) - 1}/{len(NEW)}"),)
        server.script(PATH, Fault(status=206, headers=headers, body=part))
    place.check(NEW, place.fetch())


@pytest.mark.parametrize("length", [0, len(OLD) + 5])
def test_an_empty_or_longer_file_is_fetched_anew(
    length: int, place: Place, server: FaultServer
) -> None:
    server.put(PATH, OLD)
    place.put((OLD + b"12345")[:length])
    place.check(OLD, place.fetch())


def test_skip_asks_nobody(place: Place, server: FaultServer) -> None:
    place.put(b"whatever")
    file = place.fetch("skip")
    assert (file.size, file.moved, server.paths()) == (8, 0, [])


def test_overwrite_fetches_anew(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    place.fetch()
    server.forget()
    file = place.fetch("overwrite")
    place.check(OLD, file)
    assert file.moved == len(OLD)


def test_a_stop_keeps_the_partial_file_and_the_next_run_continues(
    place: Place, server: FaultServer
) -> None:
    server.put(PATH, OLD)
    stop = StopFlag()

    def stop_early(message: Progress) -> None:
        if message.bytes_done:
            stop.set()

    with pytest.raises(Interrupted):
        place.fetch(stop=stop, on_progress=stop_early)
    file = place.fetch()
    place.check(OLD, file)
    assert file.moved < len(OLD)


def test_missing_is_asked_once(place: Place, server: FaultServer) -> None:
    with pytest.raises(EntityDoesNotExist):
        place.fetch()
    assert len(server.requests) == 1


def test_the_disk_refuses(place: Place, server: FaultServer) -> None:
    server.put(PATH, OLD)
    place.state.parent.parent.mkdir(parents=True)
    place.state.parent.write_text("a file where a directory should be")
    with pytest.raises(StorageError, match=r"catalog\.tar\.gz cannot be written"):
        place.fetch()
