"""Every setting: its type, unit, default and reason, in one place.

Nothing here reads the environment when it is imported; the functions at the end read it when they
are called.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from mlhub_core._version import __version__
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.redact import redact_url

MIB = 1024 * 1024

MIN_SPEED = 100
"""Bytes a second that any answer has to come at. A modem of 28.8 kbit/s still gives each of 32
connections that much; what is slower takes three hours for a megabyte, and is no download but a
fault."""

USER_AGENT = f"mlhub-flows/{__version__} (dataset downloader)"
"""Sent with every request. Some hosts refuse clients that they do not know; we say who we are."""

AZURE_STORAGE_VERSION = "2021-06-08"
"""Sent as ``x-ms-version``: without it Azure Blob Storage ignores Range."""

DEFAULT_ROOT_URL = "https://api.radiant.earth/mlhub/v1/"
"""The root of the public API, since switched off."""


@dataclass(frozen=True)
class ArchiveLimits:
    """Caps on what is taken out of a catalog, against archives and servers made to do harm."""

    max_members: int = 20_000_000
    """Members or documents in all. The largest real catalogs hold a few millions."""
    max_bytes: int = 200 * 1000**3
    """Bytes in all, unpacked."""
    max_json_bytes: int = 64 * MIB
    """Bytes of one JSON document: it is parsed in memory."""
    max_depth: int = 64
    """Links from the root to a document of a catalog by URL: some go on for ever."""
    keep_free: int = 256 * MIB
    """Bytes of the disk that the archive and what it unpacks to leave for others, or a fiftieth of
    the disk if that is less. 0 for none, where a file system tells wrong numbers."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the hub's API is asked. Durations are in seconds."""

    connect_timeout: float = 10.0
    """Until a connection stands."""
    read_timeout: float = 45.0
    """Until the header of an answer is whole, and between two pieces of its body."""
    min_speed: int = MIN_SPEED
    """Bytes a second that a body has to come at, measured over ``read_timeout``. An answer that is
    slower is asked for once more, and then given up."""
    max_json_bytes: int = 64 * MIB
    """Bytes of one JSON answer, decompressed: it is parsed in memory."""
    max_attempts: int = 4
    """Tries per request, the first included, for failures that may pass. Where the hub says that it
    is asked too often, nearly twice as many: a wait that it wants is no failure."""
    backoff_base: float = 0.3
    """Wait before the second try; doubled for each further one, with jitter."""
    backoff_cap: float = 30.0
    """The longest wait between two tries that nobody asks for."""
    retry_after_cap: float = 60.0
    """The longest wait that a hub may ask for, by ``Retry-After``, ``RateLimit-Reset`` or their
    like; a longer one counts as this."""


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How files are fetched.

    Durations are in seconds, sizes in bytes.
    """

    concurrency: int = 32
    """Connections per host at most, for the whole process. A run begins with all of them, and has
    half as many each time that the host says that it is asked too often."""
    connect_timeout: float = 20.0
    """Until a connection stands, TLS included."""
    stall_timeout: float = 30.0
    """Until the header of an answer is whole, and between two pieces of its body; then the transfer
    is broken off and retried."""
    min_speed: int = MIN_SPEED
    """Bytes a second that a body has to come at, measured over ``stall_timeout``. A file that is
    slower is asked for once more, and then failed: others wait for the end of its partition."""
    max_attempts: int = 5
    """Tries per file, the first included, for failures that may pass. A refusal that is meant for
    all (429, 503, or a 403 that speaks of a rate limit) costs none: the host is left alone for as
    long as it says, or else twice as long each time, and given up when it has refused eight times
    in a row (twice as often as a file is tried again)."""
    backoff_base: float = 0.5
    """Wait before the second try; doubled for each further one, with jitter."""
    backoff_cap: float = 30.0
    """The longest wait between two tries."""
    retry_after_cap: float = 120.0
    """The longest wait that a host may ask for, by ``Retry-After``, ``RateLimit-Reset`` or their
    like; a longer one counts as this."""
    resume_threshold: int = MIB
    """Partial files from this size on are kept for resuming; smaller ones are fetched again."""
    max_redirects: int = 5
    """Redirects followed per request."""
    mirrors: tuple[tuple[str, str], ...] = ()
    """``(prefix, replacement)`` pairs: an asset URL that starts with a prefix is fetched from the
    replacement instead. The longest prefix wins. The index keeps the catalog's own URL."""
    ignore_file_size: bool = False
    """Whether ``file:size`` of the catalog is not compared: a way round catalogs that are wrong.
    What was taken so counts as whole until the catalog says something else."""
    ignore_checksum: bool = False
    """The same for ``file:checksum``. What the servers say is compared all the same."""
    alternates: tuple[str, ...] = ()
    """Names of alternate assets: the first of them that an asset has is fetched in place of its own
    href. What cannot be had from where it is asked for is asked for from the others."""
    allow_local_files: bool = False
    """Whether files of this machine are copied that hrefs of a catalog name by ``file:`` or by
    their absolute path. A catalog that somebody else made could name any."""
    s3_endpoint: str | None = None
    """Where ``s3://bucket/key`` is fetched from, as ``{endpoint}/{bucket}/{key}``; None means
    ``https://{bucket}.s3.amazonaws.com/{key}``."""

    allow_private_hosts: bool = False
    """Whether a remote source may lead to this machine and to private networks."""
    zones: tuple[str, ...] | None = None
    """Addresses that may be asked besides those that everybody reaches, by the names of
    :class:`~mlhub_core.net.addresses.Zone`; None for all. Runs set it by where the source lies."""

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= 1024:
            raise InvalidArgument(
                f"concurrency is {self.concurrency}: use a number of connections from 1 to 1024."
            )
        if self.max_attempts < 1:
            raise InvalidArgument(f"max_attempts is {self.max_attempts}: use 1 or more.")
        for prefix, replacement in self.mirrors:
            if not replacement.startswith(("http://", "https://")) or not prefix:
                given = f"{redact_url(prefix)!r}={redact_url(replacement)!r}"
                raise InvalidArgument(
                    f"mirror {given}: both sides are URL prefixes, and the right one starts with "
                    "http:// or https://."
                )


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Settings of one run that are not about what to download."""

    transfer: TransferSettings = field(default_factory=TransferSettings)
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)
    workers: int = 2
    """Processes that fetch at most, where there is enough to fetch; one stays in the process that
    asked. The plan has two partitions for each."""
    processes_from: int = 1024 * MIB
    """Several processes fetch where the catalog promises so many bytes that are not here: one fills
    a link of some 2.5 Gbit/s by itself, and does as much as two over slower ones."""
    unarchive: bool = True
    """Whether to unarchive the catalog. Left in its archive it costs no inodes: a million files are
    spared where there are a million items. What the archive carries of the assets comes out."""
    asset_db: bool = True
    """Whether to write ``mlhub_stac_assets.db``, the reference client's SQLite table."""
    check_space: bool = True
    """Whether a run that the disk has not the room for is refused before its first byte. Some
    network file systems tell wrong numbers."""
    runner: str = "threads"
    """Where a flow runs its partitions: ``threads`` of its process, or a ``dask`` cluster."""
    dask_address: str | None = None
    """Of the cluster's scheduler, such as ``tcp://10.0.0.5:8786``; None makes a cluster on this
    machine, of as many processes as there are workers."""


def root_url() -> str:
    """The root URL of the hub, always with a trailing slash.

    Read from ``MLHUB_ROOT_URL`` at the time of the call; empty counts as unset.

    Raises:
        InvalidArgument: as :func:`as_root_url`.
    """
    return as_root_url(
        os.environ.get("MLHUB_ROOT_URL", "").strip() or DEFAULT_ROOT_URL, "MLHUB_ROOT_URL"
    )


def as_root_url(url: str, label: str = "root_url") -> str:
    """A root URL as people write it, with a trailing slash.

    Raises:
        InvalidArgument: if it is not an http or https URL, or goes on after its path.
    """
    if not isinstance(url, str):
        raise InvalidArgument(f"{label} is {url!r}: give a URL.")
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    shown = redact_url(url)
    if not usable:
        raise InvalidArgument(
            f"{label} is {shown!r}: it must start with http:// or https:// and name a host, "
            "as in http://127.0.0.1:8000/mlhub/v1/."
        )
    if parts.query or parts.fragment:
        raise InvalidArgument(
            f"{label} is {shown!r}: leave out what follows its path. A key goes to MLHUB_API_KEY."
        )
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
