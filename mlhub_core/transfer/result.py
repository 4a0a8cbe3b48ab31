"""What a partition comes to: counts and one path, small enough to travel between tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """What was done about one partition's assets.

    ``files == fetched + kept + adopted + failed``; ``resumed`` is a part of ``fetched``.

    Attributes:
        number: The partition's number.
        files: Assets in it.
        fetched: Files that came now, over the network or out of the catalog archive.
        fetched_bytes: Bytes of bodies moved over the network, those thrown away included.
        kept: Files that the ledger knew: nobody was asked.
        adopted: Files that lay there and were found complete, or taken unchecked with ``skip``.
        resumed: Files of which only the rest was fetched.
        unchecked: Files that were fetched, and that nothing vouches for: no checksum, and either
            no length or two parts put together; a part of ``fetched``.
        failed: Assets that cannot be had.
        uncompared: Files whose checksum in the catalog cannot be read, a part of the others.
        uncompared_example: The first of them, with its checksum.
        failures_path: Their segment, None when none failed.
        requests: Requests sent, not counting redirects followed.
        retries: Requests that were not the first of their file.
        seconds: From start to end.
    """

    number: int
    files: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    kept: int = 0
    adopted: int = 0
    resumed: int = 0
    unchecked: int = 0
    failed: int = 0
    uncompared: int = 0
    uncompared_example: str = ""
    failures_path: Path | None = None
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
