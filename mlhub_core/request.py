"""What is asked of a download: the parameters of all its steps in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import DownloadPaths
from mlhub_core.products import NONE, check_mode, default_modes, product
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan
from mlhub_core.settings import RunSettings
from mlhub_core.sources import check_local, paths_for
from mlhub_core.sources.base import SourceSpec, Wanted
from mlhub_core.workspace import check_directories


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What to download, where to, and how; everything but the key.

    Attributes:
        dataset: What the source is: an id or DOI, a path, a URL.
        output_dir: Where archive and catalog go, None for the current directory.
        asset_output_dir: Where assets go, None for ``output_dir``.
        catalog_only: Stop when the catalog is unarchived.
        if_exists: What to do where a file already lies.
        wanted: The filter.
        settings: How to transfer.
        products: How products are written, ``none`` for not at all; those not named as by default.
        allow_empty: Whether a filter that leaves nothing is fine.
        strict: Whether it is a failure that the catalog lacks something that it names.
        dry_run: Stop when the plan is made and saved.
        plan: A saved plan to run as it is, without filters; None to make one.
        source_type: The kind of source, None where ``dataset`` says it.
        dataset_id: What the dataset is called here, None for what the source calls it.
        whole: Whether the source may leave nothing out, whatever is wanted: who removes what a
            catalog no longer has needs to know all that it has.
    """

    dataset: str
    output_dir: str | Path | None = None
    asset_output_dir: str | Path | None = None
    catalog_only: bool = False
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume
    wanted: AssetFilter = field(default_factory=AssetFilter)
    settings: RunSettings = field(default_factory=RunSettings)
    products: Mapping[str, str] = field(default_factory=dict)
    allow_empty: bool = False
    strict: bool = False
    dry_run: bool = False
    plan: Path | None = None
    source_type: str | None = None
    dataset_id: str | None = None
    whole: bool = False

    @property
    def source(self) -> SourceSpec:
        """The source, and what may be left out of it.

        Items that others name as their source are wanted whatever the filters say of them, so
        nothing may be left out then. A saved plan fits the catalog that it was made of, which lacks
        what its filters left out.
        """
        wanted = self.wanted if self.plan is None else _wanted_of(self.plan)
        time, named = wanted.time, tuple(collection for collection, _ in wanted.collections or ())
        if self.whole or wanted.with_sources:
            some = Wanted()
        else:
            some = Wanted(
                named,
                time.start if time else None,
                time.end if time else None,
                wanted.bbox,
                wanted.intersects,
                wanted.where,
            )
        allows = self.settings.transfer.allow_private_hosts
        return SourceSpec(
            self.dataset,
            self.source_type,
            self.dataset_id,
            some,
            allows,
            named=named,
            whole=self.whole,
            concurrency=self.settings.transfer.concurrency,
        )

    def paths(self, dataset_id: str) -> DownloadPaths:
        """Where everything of a dataset goes."""
        return paths_for(self.source, dataset_id, self.output_dir, self.asset_output_dir)

    @property
    def completes(self) -> AssetFilter | None:
        """The filter that everything is here for when the run is over.

        A dry run fetches nothing, and what filters a saved plan was made with nobody knows.
        """
        return None if self.dry_run or self.plan is not None else self.wanted

    def wanted_products(self) -> list[tuple[str, str]]:
        """Names of the products to write, and how."""
        if self.catalog_only or self.dry_run:
            return []
        modes = default_modes() | dict(self.products)
        return [(name, mode) for name, mode in modes.items() if mode != NONE]

    def check(self) -> None:
        """Check what can be checked before the hub is asked.

        Raises:
            StorageError: if a directory cannot be used.
            InvalidArgument: if the dataset is not named, or the plan cannot be run.
        """
        if not isinstance(self.dataset, str) or not self.dataset.strip():
            raise InvalidArgument(f"dataset is {self.dataset!r}: give the id or DOI of a dataset.")
        for name, mode in self.products.items():
            check_mode(name, mode)
        if self.plan is not None:
            if not self.wanted.is_everything:
                raise InvalidArgument(
                    f"The plan {self.plan} says already what to download: leave the filters out, "
                    "or the plan."
                )
            Plan.load(self.plan)
        if self.catalog_only and not self.settings.unarchive:
            raise InvalidArgument(
                "catalog_only (--catalog-only) and unarchive=False (--no-unarchive) leave nothing "
                "to do: give one of them."
            )
        if self.strict and self.catalog_only:
            raise InvalidArgument(
                "strict (--strict) and catalog_only (--catalog-only) exclude each other: what a "
                "catalog lacks is found when it is indexed."
            )
        if self.settings.transfer.allow_local_files:
            check_local(self.source)
        paths = self.paths("dataset")
        for name, mode in self.products.items():
            if mode != NONE:
                product(name).check(mode, paths, unarchive=self.settings.unarchive)
        check_directories(paths.output_dir, paths.asset_output_dir)


def _wanted_of(plan: Path) -> AssetFilter:
    """The filter that a saved plan was made with; none where an earlier version made it."""
    found = Plan.load(plan).made_from.get("wanted")
    return AssetFilter.create(**found) if isinstance(found, dict) else AssetFilter()
