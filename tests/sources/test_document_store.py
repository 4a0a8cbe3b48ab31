"""What a harvest has read: stored batch by batch, gone on with, told by its digest."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from mlhub_core.exceptions import (
    ArchiveLimitExceeded,
    Interrupted,
    MLHubException,
    NothingMatches,
    StorageError,
)
from mlhub_core.paths import DownloadPaths
from mlhub_core.settings import ArchiveLimits
from mlhub_core.sources.document_store import (
    DocumentStore,
    Fetched,
    StoredCatalog,
    in_use,
    still_in_use,
    store_path,
)
from mlhub_core.sources.documents import Kind
from mlhub_core.work import Work


def fetched(name: str, **more: str) -> Fetched:
    raw = {"type": "Feature", "id": name, "stac_version": "1.0.0", "assets": {}, **more}
    base = f"http://x.test/{name}"
    return Fetched(base, orjson.dumps(raw), f"{name}.json", base, '"1"')


def ids(catalog: StoredCatalog) -> list[str]:
    return [one.objects[0]["id"] for one in catalog.read() if one.objects]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source" / "documents.sqlite"


def harvested(path: Path, *documents: Fetched, key: str = "k") -> StoredCatalog:
    with DocumentStore(path) as store:
        store.begin(key)
        store.add(documents)
        return store.finish("d")


def test_what_is_added_is_read_in_order_with_its_base(path: Path) -> None:
    catalog = harvested(path, fetched("b"), fetched("a"), fetched("c"))
    found = list(catalog.read())
    assert [one.path for one in found] == ["b.json", "a.json", "c.json"]
    assert [one.base for one in found] == [f"http://x.test/{name}" for name in "bac"]
    assert {one.kind for one in found} == {Kind.ITEMS}
    assert StoredCatalog.of(path) == catalog
    assert catalog.size == sum(len(fetched(name).body or b"") for name in "abc")


def test_the_digest_tells_states_apart_and_knows_no_order(path: Path, tmp_path: Path) -> None:
    first = harvested(path, fetched("a"), fetched("b"))
    other = tmp_path / "other.sqlite"
    assert harvested(other, fetched("b"), fetched("a")).sha256 == first.sha256
    assert harvested(other, fetched("a")).sha256 != first.sha256
    assert harvested(other, fetched("a"), fetched("b"), key="filtered").sha256 != first.sha256
    changed = fetched("b", title="changed")
    assert harvested(other, fetched("a"), changed).sha256 != first.sha256


def test_an_unfinished_harvest_is_gone_on_with(path: Path) -> None:
    with DocumentStore(path) as store:
        assert not store.begin("k")
        store.want((f"http://x.test/{name}", f"{name}.json", 1) for name in "abc")
        assert store.add([fetched("a")], note={"next": "http://x.test/page2"}) == 1
    assert StoredCatalog.of(path) is None
    with DocumentStore(path) as store:
        assert store.begin("k")
        assert store.note == {"next": "http://x.test/page2"}
        assert [one.url[-1] for one in store.pending(0, 9)] == ["b", "c"]
        assert (store.known, store.answered) == (3, 1)
        assert store.add([fetched("a"), fetched("b"), fetched("c")]) == 2
        assert ids(store.finish("d")) == ["a", "b", "c"]


def test_another_harvest_is_not_gone_on_with(path: Path) -> None:
    with DocumentStore(path) as store:
        store.begin("k")
        store.add([fetched("a")], note={"page": 1})
    with DocumentStore(path) as store:
        assert not store.begin("other")
        assert store.note == {}
        assert (store.known, store.answered, store.size) == (0, 0, 0)


def test_what_is_as_it_was_stays_and_what_is_gone_goes(path: Path) -> None:
    first = harvested(path, fetched("a"), fetched("b"))
    with DocumentStore(path) as store:
        assert not store.begin("k")
        store.want([("http://x.test/a", "a.json", 0)])
        (pending,) = store.pending(0, 9)
        assert (pending.etag, bool(pending.is_stored)) == ('"1"', True)
        assert store.body(pending.url) == fetched("a").body
        store.add([Fetched(pending.url, None, pending.path)])
        again = store.finish("d")
    assert ids(again) == ["a"]
    assert again.size == first.size // 2
    with pytest.raises(StorageError, match="run the same command again"):
        list(first.read())


def test_what_cannot_be_had_is_told_and_asked_for_again(path: Path) -> None:
    lacking = Fetched("http://x.test/b", None, "b.json", problem="it answered 404")
    with DocumentStore(path) as store:
        store.begin("k")
        store.add([fetched("a"), lacking])
    with DocumentStore(path) as store:
        assert store.begin("k")
        assert [one.url[-1] for one in store.pending(0, 9)] == ["b"]
        store.add([lacking])
        told = list(store.finish("d").read())
    assert [one.problem for one in told] == ["", "it answered 404"]


def test_a_batch_is_stored_whole_or_not_at_all(path: Path) -> None:
    def broken() -> Iterator[Fetched]:
        yield fetched("b")
        raise RuntimeError("cut off")

    with DocumentStore(path) as store:
        store.begin("k")
        store.add([fetched("a")], note={"page": 1})
        with pytest.raises(RuntimeError):
            store.add(broken(), note={"page": 2})
    with DocumentStore(path) as store:
        store.begin("k")
        assert store.note == {"page": 1}
        assert ids(store.finish("d")) == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from mlhub_core.sources.document_store import DocumentStore, Fetched
store = DocumentStore(Path(sys.argv[1]))
store.begin("k")
store.add([Fetched("http://x.test/a", b"{}", "a.json")], note={"page": 1})
def documents():
    for number in range(2_000):
        yield Fetched(f"http://x.test/{number}", os.urandom(1000), "b.json")
    os.kill(os.getpid(), signal.SIGKILL)
store.add(documents(), note={"page": 2})
"""


def test_a_kill_in_mid_batch_leaves_what_was_stored_before(path: Path) -> None:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    with DocumentStore(path) as store:
        assert store.begin("k")
        assert (store.known, store.note) == (1, {"page": 1})


def test_caps(path: Path) -> None:
    with DocumentStore(path, ArchiveLimits(max_members=2)) as store:
        store.begin("k")
        with pytest.raises(ArchiveLimitExceeded, match=r"more than 2 documents.*--max-members"):
            store.want((f"http://x.test/{name}", f"{name}.json", 1) for name in "abc")
    with DocumentStore(path, ArchiveLimits(max_bytes=100)) as store:
        store.begin("k", anew=True)
        with pytest.raises(ArchiveLimitExceeded, match=r"more than 100 bytes.*--max-bytes"):
            store.add([fetched("a"), fetched("b")])
    catalog = harvested(path, fetched("a"))
    with pytest.raises(ArchiveLimitExceeded, match="--max-json-bytes"):
        list(catalog.read(Work(ArchiveLimits(max_json_bytes=10))))


def test_a_file_of_a_later_version_is_refused_in_one_line(path: Path) -> None:
    harvested(path, fetched("a"))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for use in (DocumentStore, StoredCatalog.of):
        with pytest.raises(StorageError, match="a newer version of mlhub-flows"):
            use(path)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_what_is_damaged_is_read_anew_and_stays_beside(path: Path, content: bytes) -> None:
    harvested(path, fetched("a"))
    path.write_bytes(content)
    assert ids(harvested(path, fetched("b"))) == ["b"]
    damaged = path.with_name(path.name + ".damaged")
    assert damaged.exists() is bool(content)


@pytest.mark.parametrize(
    ("error", "goes_on"), [(Interrupted, True), (StorageError, True), (NothingMatches, False)]
)
def test_a_run_that_is_broken_off_has_its_catalog(
    tmp_path: Path, error: type[MLHubException], goes_on: bool
) -> None:
    paths = DownloadPaths.of("d", tmp_path)
    catalog = harvested(store_path(paths), fetched("a"))

    def run() -> None:
        with in_use(paths, catalog):
            assert still_in_use(paths, "k") == catalog
            assert still_in_use(paths, "another question") is None
            raise error("broken off")

    with pytest.raises(error):
        run()
    assert still_in_use(paths, "k") == (catalog if goes_on else None)
    lacking = fetched("b")._replace(body=None, problem="404")
    with in_use(paths, harvested(store_path(paths), fetched("a"), lacking)):
        assert still_in_use(paths, "k") is None  # b may be there by now
    with in_use(paths, harvested(store_path(paths), fetched("a"))):
        pass
    assert still_in_use(paths, "k") is None
