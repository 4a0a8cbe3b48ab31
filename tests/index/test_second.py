"""Two processes make the index that one makes, and end whatever happens."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.exceptions import ArchiveCorrupt, Interrupted
from mlhub_core.index.asset_index import AssetIndex
from mlhub_core.index.build import index_assets
from mlhub_core.index.dealing import ALONE, Dealing
from mlhub_core.index.save_paths import Plan
from mlhub_core.progress import Progress
from mlhub_core.sources.processes import receive, send, start
from mlhub_core.stop import StopFlag
from tests.index.kit import (
    DATASET,
    asset,
    described,
    item,
    paths_in,
    place,
    rows_of,
    tree,
    write_archive,
)

needs_two = pytest.mark.skipif(
    not Dealing(from_bytes=0).is_worth_it(1), reason="needs two processors"
)
pytestmark = needs_two


def divided(to_second: Callable[[int], bool | None]) -> Dealing:
    return Dealing(from_bytes=0, chunk_files=1, to_second=to_second)


def plain_files() -> dict[str, Any]:
    items = [
        item(
            f"i{number:03}",
            f"c{number % 3}",
            bbox=[number % 5, 1, number % 5 + 1, 2],
            assets={
                "B01": asset(f"https://x/{number}/a_B01.tif", roles=["data"], type="image/tiff"),
                "B8A": asset(f"https://x/{number}/a_B8A.tif", **{"file:size": number}),
                "documentation": asset("https://x/doc.pdf"),
            },
        )
        for number in range(40)
    ]
    return tree(*items)


def odd_files() -> list[tuple[str, Any]]:
    """All that waits, clashes, lacks something or is none."""
    shared = {"documentation": asset("../docs.pdf"), "readme": asset("https://x/r.md")}
    return [
        *plain_files().items(),
        (f"{DATASET}/coll/docs.pdf", b"%PDF"),
        (place("rel"), item("rel", assets=shared | {"a": asset("./a.tif"), "b": asset("no.tif")})),
        (f"{DATASET}/coll/rel/a.tif", b"II"),
        (place("x"), item("x", assets={"m": asset("https://x/1.tif")})),
        (f"{DATASET}/coll/x/again.json", item("x", assets={"m": asset("https://x/2.tif")})),
        (f"{DATASET}/coll/X/X.json", item("X", assets={"m": asset("https://x/3.tif")})),
        (f"{DATASET}/coll/t/t.json", item("t")),
        (f"{DATASET}/coll/t/t2.json", item("t")),
        (
            place("case"),
            item("case", assets={"a": asset("https://x/1"), "A": asset("https://x/2")}),
        ),
        (f"{DATASET}/coll/held/IMAGE.tif", b"in the way"),
        (place("held"), item("held", assets={"image": asset("https://x/i.tif")})),
        (place("large"), item("large", properties={"text": "x" * 5_000_000})),
        (f"{DATASET}/coll/half.json", b'{"type": "Feature"'),
        (f"{DATASET}/coll/list.json", [1]),
        (f"{DATASET}/coll/none/none.json", item("none", collection=None, bbox=[9, 8, 7, 6])),
        (f"{DATASET}/folder/i1/i1.json", item("i1", collection=None)),
        (
            f"{DATASET}/folder/collection.json",
            {"type": "Collection", "id": "real", "assets": {"notes": asset("https://x/n.csv")}},
        ),
        (f"{DATASET}/Coll/u/u.json", item("u", "Coll", geometry=None, bbox=[170, -5, -170, 5])),
        (f"{DATASET}/all.json", {"type": "FeatureCollection", "features": [item("f"), item("g")]}),
        (f"{DATASET}/coll/late/late.json", item("late", assets=shared)),
    ]


def facts_of(index: AssetIndex) -> tuple[Any, ...]:
    return (
        index.assets,
        index.files,
        index.items,
        index.collections,
        index.asset_keys,
        index.ignored,
        index.oddities,
        index.oddity_count,
    )


def by_turns(number: int) -> bool:
    return number % 3 != 1


@pytest.mark.parametrize(
    ("files", "to_second"),
    [
        (odd_files, by_turns),
        pytest.param(odd_files, lambda _: True, marks=pytest.mark.slow),
        pytest.param(plain_files, by_turns, marks=pytest.mark.slow),
    ],
)
def test_the_same_rows_in_the_same_order_and_the_same_facts(
    tmp_path: Path, files: Callable[[], Any], to_second: Callable[[int], bool]
) -> None:
    archive = write_archive(tmp_path, files())
    alone = index_assets(archive, paths_in(tmp_path / "alone"), dealing=ALONE)
    both = index_assets(archive, paths_in(tmp_path / "both"), dealing=divided(to_second))
    wanted = rows_of(alone)
    assert len(wanted) >= 120
    assert rows_of(both) == wanted
    assert facts_of(both) == facts_of(alone)
    assert [path.name for path in both.path.parent.glob(".mlhub/*")] == ["index.json"]


def children() -> set[int]:
    """Processes that this one has started and not seen the end of."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for one in found for pid in one.read_text().split()}


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@linux_only
def test_when_it_is_killed_one_process_does_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = children()
    archive = write_archive(tmp_path, plain_files())

    def kill_it(number: int) -> bool:
        if number == 5:
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)
        return True

    with caplog.at_level(logging.WARNING):
        index = index_assets(archive, paths_in(tmp_path), dealing=divided(kill_it))
    assert "once more, alone" in caplog.text
    alone = index_assets(archive, paths_in(tmp_path / "alone"), dealing=ALONE)
    assert rows_of(index) == rows_of(alone)
    assert children() == before


@linux_only
@pytest.mark.parametrize("what", ["broken", pytest.param("stop", marks=pytest.mark.slow)])
def test_nothing_is_left_when_it_ends_early(tmp_path: Path, what: str) -> None:
    before = children()
    archive, paths, stop = write_archive(tmp_path, plain_files()), paths_in(tmp_path), StopFlag()
    if what == "broken":
        archive.path.write_bytes(archive.path.read_bytes()[:-20])

    def stop_it(number: int) -> bool:
        if what == "stop" and number == 30:
            stop.set()
        return True

    with pytest.raises(Interrupted if what == "stop" else ArchiveCorrupt):
        index_assets(described(archive.path), paths, stop=stop, dealing=divided(stop_it))
    assert not list(paths.state_dir.iterdir())
    assert children() == before


@pytest.mark.slow
def test_progress_counts_what_both_have_read(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, plain_files())
    heard: list[Progress] = []
    way = divided(lambda _: True)
    index = index_assets(archive, paths_in(tmp_path), dealing=way, on_progress=heard.append)
    assert heard[-1].done == index.assets == 120


def test_it_ends_with_its_input() -> None:
    process = start("index.second")
    assert process is not None
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, Plan())
        assert receive(process.stdout) == 0  # it has room: it is at work
        process.stdin.close()
        assert process.wait(60) == 0
