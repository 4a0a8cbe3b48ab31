"""What a dataset comes from: the protocol of a source, and what it says.

A kind of source is one module with a class that has these methods, and one line in
:func:`mlhub_core.sources.open_source`. What a source gives is indexed, filtered, downloaded,
verified and synced by code that knows the protocol only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.addresses import noted_zones
from mlhub_core.net.clients import without_login
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, Stage
from mlhub_core.redact import redact_url
from mlhub_core.settings import TransferSettings
from mlhub_core.sources.documents import Document
from mlhub_core.state import read_state, remove_state, write_state
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

SOURCE_NAME = "source.json"
"""In the state of a download: what it came from, where that is no hub."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a source is wanted: what does not match may be left out of what is read.

    A source takes over what it can. All that it gives is filtered again, so it may give more than
    this, never less.

    Attributes:
        collections: Ids; none means all.
        start: The first moment that an item's time may overlap, UTC; None for an open end.
        end: The last one; None for an open end.
        bbox: West, south, east, north in degrees; west > east crosses the antimeridian.
        intersects: A GeoJSON geometry, as text.
        where: A condition on the properties of items, CQL2 text.
    """

    collections: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    bbox: tuple[float, float, float, float] | None = None
    intersects: str | None = None
    where: str | None = None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The box around the places that are wanted; None where any is."""
        if self.bbox is not None or self.intersects is None:
            return self.bbox
        import shapely  # seldom needed, and takes long to import

        west, south, east, north = shapely.from_geojson(self.intersects).bounds
        return float(west), float(south), float(east), float(north)


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as a user names it. A small value without any key.

    Attributes:
        text: The id or DOI of a hub's dataset, a path, or a URL.
        type: Its kind, by a name of :data:`mlhub_core.sources.KINDS` or of an entry point; None
            where the text says it.
        dataset_id: What the dataset is called here; None for what the source calls it.
        wanted: What may be left out.
        allow_private_hosts: Whether it may lead to this machine and to private networks, wherever
            it lies itself.
        zones: What it may lead to, found out where it was asked: as for
            :class:`~mlhub_core.settings.TransferSettings`.
        named: The collections that the filter names, also where nothing may be left out: what of an
            API is meant.
        whole: Whether all is wanted that may be here of it, whatever the filter names: what is gone
            from it is to be told from what nobody asked for.
        concurrency: Connections per host at most.
    """

    text: str
    type: str | None = None
    dataset_id: str | None = None
    wanted: Wanted = field(default_factory=Wanted)
    allow_private_hosts: bool = False
    zones: tuple[str, ...] | None = None
    named: tuple[str, ...] = ()
    whole: bool = False
    concurrency: int = TransferSettings().concurrency

    def __str__(self) -> str:
        """What people read: no login, no signature."""
        return redact_url(self.text) if "://" in self.text else self.text


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as its dataset lists it.

    Attributes:
        id: Its id.
        types: ``source_imagery``, ``labels``, or both.
        license: In plain text, None when not given.
    """

    id: str
    types: tuple[str, ...] = ()
    license: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset as its source describes it.

    Attributes:
        id: Its id; also the name of its directory.
        title: None when not given.
        doi: None when there is none.
        citation: How to cite it.
        registry_url: Its page.
        collections: What it consists of.
        stac_catalog_size: Bytes of the catalog archive, None when unknown.
        estimated_dataset_size: Bytes of all assets, None when unknown.
    """

    id: str
    title: str | None = None
    doi: str | None = None
    citation: str | None = None
    registry_url: str | None = None
    collections: tuple[CollectionInfo, ...] = ()
    stac_catalog_size: int | None = None
    estimated_dataset_size: int | None = None


@dataclass(frozen=True, slots=True)
class Unarchived:
    """The catalog on disk.

    Attributes:
        directory: Where it lies.
        files: Files of the archive that lie there.
        bytes: Their sizes together.
        written: Files that this run wrote.
        kept: Files that were there already, the same.
        remarks: The first members that were left out, and why.
        remark_count: How many there were.
    """

    directory: Path
    files: int
    bytes: int
    written: int
    kept: int
    remarks: tuple[str, ...] = ()
    remark_count: int = 0


class Catalog(Protocol):
    """A catalog that is here, as a small value that travels between steps."""

    @property
    def dataset_id(self) -> str:
        """The dataset it describes."""

    @property
    def size(self) -> int:
        """Bytes to be read, for progress."""

    @property
    def sha256(self) -> str:
        """What tells one state of it from the next."""

    @property
    def left_out(self) -> str:
        """What was asked of its source, where that left the rest out; empty where it did not.

        Two states of it of which that differs are not to be compared.
        """

    def read(
        self,
        work: Work = UNWATCHED,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Document]:
        """Give its documents one at a time; again from the first whenever it is called.

        Args:
            work: Caps, and what ends it early.
            on_read: Called with the bytes read so far.

        Raises:
            CatalogError: if it cannot be read.
            StorageError: if the disk refuses.
            Interrupted: if ``stop`` is set.
        """

    def unpack(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> Unarchived | None:
        """Put its files into ``paths.catalog_dir``; None where there are none to unpack.

        Args:
            paths: Where they go.
            if_exists: ``overwrite`` writes every file anew; the others keep what is the same.
            work: Caps, what ends it early, and who gets files and bytes, as ``Stage.UNARCHIVE``.

        Raises:
            MLHubException: if it cannot be had, or the disk refuses.
        """


class ReadInPlace:
    """What catalogs have in common that are read where they are, and whole if they do not say."""

    __slots__ = ()

    @property
    def left_out(self) -> str:
        """Nothing: all of it is read."""
        return ""

    def unpack(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> Unarchived | None:
        """None: there is nothing to unpack."""
        return None


AnyCatalog = TypeVar("AnyCatalog", bound=Catalog)


class Source(Protocol):
    """Where a dataset comes from. A small value that can be pickled; it asks nobody when made."""

    @property
    def dataset_id(self) -> str | None:
        """The id of the dataset, as far as that is known without asking anybody."""

    def describe(self) -> DatasetInfo:
        """Say what the dataset is.

        Raises:
            MLHubException: if it cannot be had.
        """

    def here(self, stop: StopFlag | None = None) -> Catalog | None:
        """The catalog where it lies, on this machine; None where it has to be acquired.

        Args:
            stop: Ends the work early.

        Raises:
            StorageError: if it cannot be read.
            Interrupted: if ``stop`` is set.
        """

    def identity(self, paths: DownloadPaths) -> str | None:
        """What the catalog's ``sha256`` is now, found out with one cheap request at most.

        Args:
            paths: The download, whose catalog is the one to ask about.

        Returns:
            The digest, or None where it would have to be acquired to tell.
        """

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> Catalog:
        """Have the catalog here, whole.

        Args:
            paths: Where it goes.
            if_exists: ``skip`` takes one that is there as it is.
            work: Caps, what ends it early, and who gets the bytes, as ``Stage.CATALOG``.

        Raises:
            MLHubException: if it cannot be had.
        """


def found_here(
    catalog: AnyCatalog, paths: DownloadPaths, spec: SourceSpec, work: Work
) -> AnyCatalog:
    """A catalog that is here, once it is written down what it comes from, and told.

    Raises:
        StorageError: if the disk refuses.
    """
    note_source(paths, spec)
    size = catalog.size
    work.on_progress(Progress(Stage.CATALOG, 1, 1, size, size, finished=True))
    return catalog


def note_source(paths: DownloadPaths, spec: SourceSpec | None) -> None:
    """Write down what a download comes from, for those who find it by its directory.

    Args:
        paths: The download.
        spec: The source; None for the hub's dataset of the download's id.

    Raises:
        StorageError: if the disk refuses.
    """
    place = paths.state_dir / SOURCE_NAME
    if spec is None:
        remove_state(place)
        return
    # What a run wanted is not what the next one wants.
    of_this_run = ("wanted", "named", "whole", "concurrency")
    facts = {name: value for name, value in asdict(spec).items() if value}
    facts = {name: value for name, value in facts.items() if name not in of_this_run}
    if "://" in spec.text:
        facts["text"] = without_login(spec.text)
    zones = noted_zones(spec.text) if spec.zones is None and "://" in spec.text else spec.zones
    if zones is not None:
        facts["zones"] = list(zones)
    state = {"version": 2, **facts}
    if read_state(place) != state:
        write_state(place, state)
