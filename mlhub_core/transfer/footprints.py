"""The footprints of what a download has, by its ledger, as a map for a notebook."""

from __future__ import annotations

from array import array
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from mlhub_core.exceptions import MLHubException
from mlhub_core.paths import STATE_DIRECTORY
from mlhub_core.selection.footprints import among, every, footprints_of, item_hashes
from mlhub_core.selection.index_reader import IndexReader, open_index
from mlhub_core.transfer.ledger import LedgerReader, undamaged
from mlhub_core.views.html import note, picture
from mlhub_core.views.map import draw

_MOST_COMPARED = 300_000
"""Rows of an index up to which the ledger is asked of each: a cell of a notebook is to be there at
once."""
_COLUMNS = ["collection_id", "item_id", "save_path"]


def map_of_files(index: Path, directory: Path, title: str) -> str:
    """A map as HTML: items of which a file is here, among all that are indexed.

    Args:
        index: The asset index.
        directory: Where the files lie.
        title: Above the map.
    """
    try:
        with open_index(index) as reader:
            if reader.rows > _MOST_COMPARED:
                told = f"items with any of {reader.rows:,} assets, here or not"
                return picture(draw(footprints_of(reader, every), title, told, "all items"))
            here = among(_items_here(reader, directory / STATE_DIRECTORY / "ledger"))
            prints = footprints_of(reader, here)
    except (MLHubException, OSError) as error:
        return note(f"No map: {error}")
    return picture(draw(prints, title, "items that have files here", "all items"))


def _items_here(reader: IndexReader, ledger_dir: Path) -> array[int]:
    hashes = array("q")
    with closing(LedgerReader(ledger_dir)) as ledger:
        for _, rows in reader.scan(_COLUMNS):
            known = undamaged(ledger.find(rows.column("save_path").unique().to_pylist()))
            here = [path in known for path in rows.column("save_path").to_pylist()]
            hashes.extend(item_hashes(rows.filter(pa.array(here, pa.bool_()))))
    return hashes
