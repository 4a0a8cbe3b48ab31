"""The list of a partition on its way to the process that fetches it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.exceptions import Interrupted, StorageError
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.selection.partition import Asset, Columns, write_assets
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.crew import crew_of
from mlhub_core.transfer.parcels import AHEAD, Inbox, assets_of, parcels_of
from tests.transfer.kit import Kit, content, quick
from tests.transfer.test_crew import hands

MANY = 8_001
"""More than two parcels."""


def rows(count: int) -> list[Asset]:
    return [Asset(f"c/{n}.tif", f"http://h/{n}", "c", None, "k", n, None) for n in range(count)]


@given(st.lists(st.integers(1, 5), max_size=6))
def test_what_comes_out_is_what_was_put_in(sizes: list[int]) -> None:
    listed = rows(sum(sizes))
    parcels: list[Columns] = []
    for size in sizes:
        taken = sum(len(parcel[0]) for parcel in parcels)
        parcels.append([list(column) for column in zip(*listed[taken : taken + size], strict=True)])
    waiting = iter(parcels)

    def ask() -> None:
        inbox.put(next(waiting, []))

    inbox = Inbox(ask, StopFlag())
    for _ in range(AHEAD):
        ask()
    assert list(inbox.assets()) == listed


def test_a_file_is_read_in_parcels_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    write_assets(path, rows(MANY))
    assert len(list(parcels_of(path))) > AHEAD
    assert list(assets_of(path)) == rows(MANY)


def test_a_file_that_is_none_is_told_as_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    path.write_bytes(b"no Parquet")
    with pytest.raises(StorageError, match="plans anew"):
        next(parcels_of(path))


def test_whoever_waits_for_a_parcel_is_woken_by_a_stop() -> None:
    stop = StopFlag()
    inbox = Inbox(lambda: None, stop)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            list(inbox.assets())
        except Interrupted as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    inbox.wake()  # without a reason: nobody minds
    stop.set()
    inbox.wake()
    waiter.join(30)
    assert len(caught) == 1


def test_a_hand_gets_the_whole_list_and_loads_no_arrow(kit: Kit) -> None:
    """Files that are there already make a long list cheap."""
    kit.server.put("/new.tif", content(1, 3000))
    for asset in rows(MANY):
        path = kit.paths.asset_dir / asset.save_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kit.want("/new.tif")
    listed = [row._replace(file_size=None) for row in rows(MANY)] + kit.assets
    partition = kit.partition(1, listed)
    loaded: list[str] = []

    def look() -> None:
        loaded.extend(Path(f"/proc/{hands()[0]}/maps").read_text().splitlines())

    kit.server.when_asked("/new.tif", look)
    with crew_of(1, kit.paths, quick()) as crew:
        result = crew.download_partition(partition, if_exists=DownloadIfExistsOpts.skip)
    assert (result.adopted, result.fetched) == (MANY, 1)
    assert any("pycurl" in line for line in loaded)
    assert not any("arrow" in line for line in loaded)
