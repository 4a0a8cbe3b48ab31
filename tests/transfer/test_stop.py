"""Stopping: what is finished and what can be continued is kept, nothing else stays."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import hypothesis
import orjson
import pytest
from hypothesis import strategies as st

from mlhub_core.exceptions import Interrupted, StorageError
from mlhub_core.progress import Progress
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.partials import Note, Partials, sweep_partials
from mlhub_core.workspace import tidy_state, workspace
from tests.faultserver import FaultServer, stall
from tests.transfer.kit import OVERLAP, Kit, content, quick

BIG = content("big", 400_000)
NEW = content("new", 400_000)


@pytest.fixture
def halfway(kit: Kit, server: FaultServer) -> Kit:
    """Stopped with ``/done.tif`` finished, ``/big.tif`` half there, ``/small.tif`` begun."""
    kit.settings = quick(stall_timeout=60.0, resume_threshold=200_000)
    stop = StopFlag()
    server.put("/done.tif", b"done")
    server.put("/big.tif", BIG)
    server.put("/small.tif", BIG)
    server.script("/big.tif", stall(300_000))
    server.script("/small.tif", stall(190_000))
    for path in ("/done.tif", "/big.tif", "/small.tif"):
        kit.want(path)

    def watch(_: Progress) -> None:
        parts = kit.paths.partial_dir.glob("*.part")
        sizes = [part.stat().st_size for part in parts]
        # The last bytes are still in memory: what is written is written in large pieces.
        if kit.final("/done.tif").exists() and len(sizes) == 2 and max(sizes) >= 200_000:
            stop.set()

    with pytest.raises(Interrupted):
        kit.run(stop=stop, on_progress=watch)
    server.forget()
    return kit


def test_what_can_be_continued_is_kept(halfway: Kit) -> None:
    assert [Path(name).suffix for name in halfway.partials()] == [".json", ".part"]
    assert list(halfway.entries()) == ["c/done.tif"]


@pytest.mark.parametrize("if_exists", ["resume", "skip"])
def test_the_next_run_goes_on_from_there(halfway: Kit, server: FaultServer, if_exists: str) -> None:
    (part,) = halfway.paths.partial_dir.glob("*.part")
    kept = part.stat().st_size
    assert 200_000 <= kept <= 300_000
    result = halfway.run(if_exists)
    assert (result.kept, result.fetched, result.resumed) == (1, 2, 1)
    ranges = {request.path: request.headers.get("range") for request in server.requests}
    assert ranges == {"/big.tif": f"bytes={kept - OVERLAP}-", "/small.tif": None}
    assert result.fetched_bytes == 400_000 - kept + 400_000
    assert halfway.final("/big.tif").read_bytes() == BIG
    digest = hashlib.sha256(BIG).hexdigest()
    assert halfway.entries()["c/big.tif"].sha256 == digest
    assert halfway.partials() == []


def test_overwrite_begins_anew(halfway: Kit, server: FaultServer) -> None:
    assert halfway.run("overwrite").resumed == 0
    assert all("range" not in request.headers for request in server.requests)
    assert halfway.final("/big.tif").read_bytes() == BIG
    assert halfway.partials() == []


def test_a_file_that_changed_since_is_fetched_whole(halfway: Kit, server: FaultServer) -> None:
    server.put("/big.tif", NEW)
    assert halfway.run().resumed == 0
    assert halfway.final("/big.tif").read_bytes() == NEW


def test_a_partial_that_is_whole_needs_its_name_only(halfway: Kit, server: FaultServer) -> None:
    (part,) = halfway.paths.partial_dir.glob("*.part")
    part.write_bytes(BIG)
    with part.with_suffix(".json").open("a") as note:
        note.write(f'[{len(BIG)},"{hashlib.sha256(BIG).hexdigest()}"]\n')
    result = halfway.run()
    (asked,) = [request for request in server.requests if request.path == "/big.tif"]
    assert (asked.status, asked.size) == (206, OVERLAP)
    assert result.fetched_bytes == 400_000
    assert halfway.final("/big.tif").read_bytes() == BIG


@pytest.mark.parametrize(
    "damage",
    ["torn", "longer", "gone", "foreign", "another url", "flipped", "zeros", "huge", "odd"],
)
def test_a_damaged_partial_is_of_no_use(halfway: Kit, server: FaultServer, damage: str) -> None:
    (part,) = halfway.paths.partial_dir.glob("*.part")
    (note,) = halfway.paths.partial_dir.glob("*.json")
    if damage == "torn":
        note.write_bytes(note.read_bytes()[:20])
    elif damage == "longer":
        part.write_bytes(b"x" * 500_000)
    elif damage == "gone":
        part.unlink()
    elif damage == "foreign":
        note.write_text('{"validator": 7}')
    elif damage == "flipped":
        part.write_bytes(part.read_bytes()[:-1] + b"?")
    elif damage == "zeros":  # as a disk that lost power leaves what it had not written yet
        part.write_bytes(bytes(part.stat().st_size))
    else:
        about, _, marks = note.read_text().partition("\n")
        other = {"huge": {"total": 2**63}, "odd": {"digests": [["rot13", "ab"]]}}
        changed = other.get(damage, {"source": "another"})
        note.write_text(json.dumps({**json.loads(about), **changed}) + "\n" + marks)
    assert halfway.run().fetched == 2
    assert halfway.final("/big.tif").read_bytes() == BIG
    assert halfway.partials() == []


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    damage=st.one_of(
        st.tuples(
            st.sampled_from(("source", "validator", "etag", "modified", "total", "digests")),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3),
            ),
        ),
        st.binary(max_size=300),
    )
)
def test_whatever_a_note_says_is_of_use_or_of_none(
    damage: bytes | tuple[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    partials = Partials(tmp_path_factory.getbasetemp() / "partial")
    note = Note("s", '"v"', '"v"', None, 5, (("md5", "00" * 16),))
    written = Path(partials.write_note("a.tif", note))
    Path(partials.path("a.tif")).write_bytes(b"bytes")
    if isinstance(damage, bytes):
        written.write_bytes(damage)
    else:
        fields = {**json.loads(written.read_bytes()), damage[0]: damage[1]}
        written.write_bytes(orjson.dumps(fields))
    found = partials.read_note("a.tif")
    if found is not None:
        texts = [found[0].source, found[0].validator, found[0].etag or "", found[0].modified or ""]
        assert all(text.isprintable() for text in texts)
        assert found[0].total is None or 0 <= found[0].total < 2**63
        assert all(hashlib.new(name) for name, _ in found[0].digests)


def test_tidying_leaves_what_can_be_continued(halfway: Kit) -> None:
    kept = halfway.partials()
    (halfway.paths.partial_dir / "0.part").write_bytes(b"of a killed run")
    (halfway.paths.partial_dir / "1.json").write_bytes(b"{}")
    tidy_state(halfway.paths)
    assert halfway.partials() == kept
    assert [path.name for path in halfway.paths.ledger_dir.iterdir()] == ["ledger.sqlite"]
    assert list(halfway.entries()) == ["c/done.tif"]
    assert sweep_partials(halfway.root / "nowhere") == 0


def test_a_run_that_ends_well_leaves_a_merged_ledger(halfway: Kit) -> None:
    with workspace(halfway.paths):
        halfway.run()
        assert {path.suffix for path in halfway.paths.ledger_dir.iterdir()} == {".jsonl", ".sqlite"}
    assert [path.name for path in halfway.paths.ledger_dir.iterdir()] == ["ledger.sqlite"]
    assert len(halfway.entries()) == 3


def test_a_ledger_that_cannot_be_merged_is_left_to_the_next_run(halfway: Kit) -> None:
    with workspace(halfway.paths):
        halfway.run()
        (halfway.paths.ledger_dir / "ledger.sqlite").write_bytes(b"junk" * 1000)
    with workspace(halfway.paths):  # the damaged one is set aside
        assert len(halfway.entries()) == 2


def test_a_stop_before_the_start(kit: Kit, server: FaultServer) -> None:
    stop = StopFlag()
    stop.set()
    server.put("/a.tif", BIG)
    kit.want("/a.tif")
    with pytest.raises(Interrupted):
        kit.run(stop=stop)
    assert server.requests == []


# The disk refuses


def test_a_file_where_a_directory_should_be(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=1)
    for path in ("/a.tif", "/d/b.tif"):
        server.put(path, b"bytes")
        kit.want(path)
    kit.lay("/d", b"in the way")
    with pytest.raises(StorageError, match=r"Cannot .*/c/d"):
        kit.run()
    assert list(kit.entries()) == ["c/a.tif"]
    assert kit.partials() == []


def test_a_link_that_leads_out(kit: Kit, server: FaultServer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    kit.paths.asset_dir.mkdir()
    (kit.paths.asset_dir / "c").symlink_to(outside)
    server.put("/a.tif", b"bytes")
    kit.want("/a.tif")
    with pytest.raises(StorageError, match="symbolic link"):
        kit.run()
    assert list(outside.iterdir()) == []


def test_a_vanished_directory(kit: Kit, server: FaultServer) -> None:
    import shutil

    server.put("/a.tif", BIG)
    server.when_asked("/a.tif", lambda: shutil.rmtree(kit.paths.asset_dir))
    kit.want("/a.tif")
    with pytest.raises(StorageError) as caught:
        kit.run()
    assert caught.value.errno == errno.ENOENT


def test_a_full_disk(kit: Kit, server: FaultServer) -> None:
    """/dev/full stands for one: a partial file that leads there cannot be opened through a link."""
    server.put("/a.tif", BIG)
    asset = kit.want("/a.tif")
    kit.paths.partial_dir.mkdir(parents=True)
    name = hashlib.sha256(asset.save_path.encode()).hexdigest()[:32]
    (kit.paths.partial_dir / f"{name}.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="Cannot write"):
        kit.run()


def test_a_list_that_is_gone(kit: Kit, server: FaultServer) -> None:
    from mlhub_core.transfer.run import download_partitions

    kit.want("/a.tif")
    partition = kit.partition()
    partition.path.unlink()
    with pytest.raises(StorageError, match="plans anew"):
        download_partitions([partition], kit.paths)
    partition.path.write_bytes(b"no parquet")
    with pytest.raises(StorageError, match="plans anew"):
        download_partitions([partition], kit.paths)


def test_too_many_open_files(kit: Kit, server: FaultServer) -> None:
    import resource

    kit.settings = quick(concurrency=64, stall_timeout=60.0)
    for number in range(64):
        server.put(f"/{number}.tif", BIG)
        kit.want(f"/{number}.tif")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def lower() -> None:  # once the engine has asked for its own limit
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, limits[1]))

    server.when_asked("/0.tif", lower)
    try:
        with pytest.raises(StorageError, match=r"Too many open files"):
            kit.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
