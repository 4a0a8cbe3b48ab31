"""Which hosts a plan's files come from, found out without looking at every URL by itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mlhub_core.chores import open_parquet
from mlhub_core.exceptions import StorageError
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.sources import Remote, locate

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65_536
_ORIGIN = r"^(?P<origin>[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+)"


def asset_hosts(partitions: Iterable[Partition], settings: TransferSettings) -> set[str]:
    """The hosts, with their port where one is given, that partitions ask; mirrors are applied.

    Raises:
        StorageError: if a partition file cannot be read.
    """
    import pyarrow as pa

    urls: set[str] = set()
    for partition in partitions:
        try:
            with open_parquet(partition.path) as file:
                for batch in file.iter_batches(
                    batch_size=_BATCH_ROWS, columns=["href"], use_threads=False
                ):
                    urls |= _some_of_each(batch.column(0), settings)
        except (OSError, pa.ArrowException) as error:
            raise StorageError(f"Cannot read the partition {partition.path}: {error}.") from error
    nowhere = Path("/")
    found = (locate(url, nowhere, nowhere, TransferSettings()) for url in urls)
    return {source.host for source in found if isinstance(source, Remote)}


def _some_of_each(hrefs: pa.Array, settings: TransferSettings) -> set[str]:
    """A URL for each host in a column."""
    import pyarrow.compute as pc

    urls: set[str] = set()
    # Longest first, as the longest prefix wins.
    for prefix, replacement in sorted(settings.mirrors, key=lambda pair: -len(pair[0])):
        mirrored = pc.starts_with(hrefs, pattern=prefix)
        if pc.any(mirrored).as_py():
            urls.add(replacement)
            hrefs = hrefs.filter(pc.invert(mirrored))
    origins = pc.struct_field(pc.extract_regex(hrefs, pattern=_ORIGIN), [0])
    for origin in pc.unique(origins.drop_null()).to_pylist():
        endpoint = settings.s3_endpoint if origin.startswith("s3:") else None
        urls.add(endpoint or f"{origin}/")
    return urls
