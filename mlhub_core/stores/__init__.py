"""Where final files go: what a store of them is, and which one a download has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mlhub_core.paths import DownloadPaths
from mlhub_core.stores.local import FileStat, LocalStore


class Store(Protocol):
    """Where final files go, each under its save path. Everything raises ``StorageError``."""

    def stat(self, save_path: str) -> FileStat | None:
        """What lies at a final place, None where nothing does."""

    def put(self, source: str, save_path: str) -> None:
        """Let a finished file of our own be the final one, in place of what lies there.

        Args:
            source: The file, which is gone then.
            save_path: The final place.
        """

    def list(self) -> Iterator[str]:
        """The save paths of all that lies there, in any order."""

    def path(self, save_path: str) -> str:
        """Where what lies at a final place can be read."""

    def leads_out(self, save_path: str) -> bool:
        """Whether what lies at a final place is somebody else's, and only to be read."""

    def check_still_there(self) -> None:
        """Check that nobody has removed what was put there."""


def store_of(paths: DownloadPaths) -> Store:
    """The store of a download. Another kind of store is chosen here."""
    return LocalStore(paths.asset_dir)
