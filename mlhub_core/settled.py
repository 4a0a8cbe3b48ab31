"""What a download came to last, as a small file: for which catalog, and which filters, all is here.

A run that ends without a failure writes it. Whoever asks whether there is anything to do, as a
sync does, needs to look at nothing else and to write nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlhub_core.index.build import STATE_NAME
from mlhub_core.layout import DownloadPaths
from mlhub_core.state import read_state, write_state

SETTLED_NAME = "settled.json"


@dataclass(frozen=True, slots=True)
class Settled:
    """What is settled.

    Attributes:
        archive: SHA-256 of the catalog archive that it is about.
        wanted: Digests of the filters whose files are all here.
        gone: Whether files may lie here that the catalog no longer has.
    """

    archive: str
    wanted: frozenset[str]
    gone: bool = False


def read_settled(paths: DownloadPaths) -> Settled | None:
    """Read it; None where nothing is settled.

    It holds for the index that is there, and no longer once that is another one; nor while there
    are failures on record.

    Raises:
        StorageError: if it is there and cannot be read.
    """
    state = read_state(paths.state_dir / SETTLED_NAME)
    if state is None or paths.err_report.exists() or not paths.index.is_file():
        return None
    try:
        settled = Settled(
            str(state["archive"]), frozenset(map(str, state["wanted"])), bool(state["gone"])
        )
    except (KeyError, TypeError):
        return None
    return settled if settled.archive == indexed_archive(paths) else None


def settle(paths: DownloadPaths, wanted: str, *, gone: bool | None = None) -> None:
    """Write down that all files of a filter are here, for the catalog that the index is made of.

    Args:
        paths: The download.
        wanted: The filter's digest.
        gone: Whether files may lie here that the catalog no longer has. None where that was not
            looked into: they may, if the catalog has changed.

    Raises:
        StorageError: if the disk refuses.
    """
    archive = indexed_archive(paths)
    if archive is None:
        return
    state = read_state(paths.state_dir / SETTLED_NAME) or {}
    same = state.get("archive") == archive
    earlier = state.get("wanted") if same else None
    kept = set(earlier) if isinstance(earlier, list) else set()
    if gone is None:
        gone = bool(state.get("gone")) if same else bool(state)
    write_state(
        paths.state_dir / SETTLED_NAME,
        {"archive": archive, "wanted": sorted({*kept, wanted}), "gone": gone},
    )


def indexed_archive(paths: DownloadPaths) -> str | None:
    """SHA-256 of the archive that the index was made of, None where there is no index.

    Raises:
        StorageError: if the index's state cannot be read.
    """
    made_from = (read_state(paths.state_dir / STATE_NAME) or {}).get("archive")
    found = made_from.get("sha256") if isinstance(made_from, dict) else None
    return found if isinstance(found, str) and paths.index.is_file() else None
