"""Datasets: what they are, what they consist of, and getting them onto disk."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from mlhub_core import client
from mlhub_core.client.endpoints import count_of, identified, types_of
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import user_path
from mlhub_core.redact import without_secrets
from mlhub_core.session import Login, given_or_known
from mlhub_core.settings import RunSettings
from mlhub_core.threads import Pool

if TYPE_CHECKING:
    import geopandas
    import pystac

    from mlhub_core.datasets.opened import Opened
    from mlhub_core.datasets.stac import Collection
    from mlhub_core.selection.plan import Plan
    from mlhub_core.sources.base import SourceSpec
    from mlhub_core.transfer.report import DownloadReport

_TEXTS = ("title", "registry", "doi", "citation")
_FETCH_THREADS = 8
"""Collections of one dataset fetched at a time; most datasets have two."""


class CollectionType(StrEnum):
    """What a collection is to its dataset."""

    SOURCE = "source_imagery"
    LABELS = "labels"


class CollectionList(Sequence["Collection"]):
    """The collections of a dataset, as a whole and by type.

    Args:
        typed: Each collection with its types; one of both types is in both lists, and once in the
            whole.
    """

    def __init__(self, typed: Iterable[tuple[Collection, frozenset[str]]]) -> None:
        self._typed = tuple(typed)

    @overload
    def __getitem__(self, index: int) -> Collection: ...
    @overload
    def __getitem__(self, index: slice) -> list[Collection]: ...
    def __getitem__(self, index: int | slice) -> Collection | list[Collection]:
        """One collection by position, or several."""
        return [collection for collection, _ in self._typed][index]

    def __len__(self) -> int:
        return len(self._typed)

    def __iter__(self) -> Iterator[Collection]:
        return (collection for collection, _ in self._typed)

    def __repr__(self) -> str:
        return repr(list(self))

    def _repr_html_(self) -> str:
        """What a notebook shows: they are here already, nobody is asked."""
        from mlhub_core.views.html import card, table

        rows = [
            (one.id, one.title, ", ".join(sorted(types)), one.license) for one, types in self._typed
        ]
        return card("Collections", table(("id", "title", "types", "licence"), rows))

    def _of(self, kind: CollectionType) -> list[Collection]:
        return [collection for collection, types in self._typed if kind in types]

    @property
    def source_imagery(self) -> list[Collection]:
        """The collections of imagery."""
        return self._of(CollectionType.SOURCE)

    @property
    def labels(self) -> list[Collection]:
        """The collections of labels."""
        return self._of(CollectionType.LABELS)


class DatasetList(builtins.list["Dataset"]):
    """A list of datasets that reads as a table when it is printed, or shown in a notebook."""

    def __str__(self) -> str:
        width = max((len(one.id) for one in self), default=0)
        lines = [f"{one.id:<{width}}  {one.title or ''}".rstrip() for one in self]
        return without_secrets("\n".join(lines) or "no datasets")

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from mlhub_core.views.html import card, table

        rows = [
            (one.id, one.title, len(one.collection_descriptions), one.doi, one.registry_url)
            for one in self
        ]
        heads = ("id", "title", "collections", "DOI", "page")
        return card(f"{len(rows):,} datasets", table(heads, rows))


class Dataset:
    """A dataset of the hub: several collections that belong together.

    Args:
        id: The dataset's id.
        collections: What it consists of, ``{"id": …, "types": […]}`` each, as the API gives them.
        title: None when there is none.
        registry: URL of its page.
        doi: Its DOI.
        citation: How to cite it.
        api_key: Used by everything this object asks the hub later.
        profile: Likewise.
        **extra: Other fields of the API's object; kept in ``extra_fields``.

    Attributes:
        registry_url: URL of its page, or None.
        collection_descriptions: As given for ``collections``.
    """

    def __init__(
        self,
        id: str,
        collections: list[dict[str, Any]] | None = None,
        title: str | None = None,
        registry: str | None = None,
        doi: str | None = None,
        citation: str | None = None,
        *,
        api_key: str | None = None,
        profile: str | None = None,
        **extra: Any,
    ) -> None:
        self.id = id
        self.title = title
        self.registry_url = registry
        self.doi = doi
        self.citation = citation
        self.collection_descriptions = collections or []
        self.extra_fields = extra
        self.session_kwargs: Login = {"api_key": api_key, "profile": profile}
        self._source: SourceSpec | None = None
        """None for the hub's dataset of this id."""

    def __str__(self) -> str:
        return without_secrets(f"{self.id}: {self.title}")

    def __repr__(self) -> str:
        return f"<Dataset {self}>"

    def _repr_html_(self) -> str:
        """What a notebook shows of what is known already: nobody is asked for it.

        Licences are told once ``collections`` have been looked at, which asks for them.
        """
        from mlhub_core.views.html import card, note, pairs, table

        fetched = self.__dict__.get("collections")
        if fetched is not None:
            below = fetched._repr_html_()
        else:
            listed = [one for one in self.collection_descriptions if isinstance(one, dict)]
            rows = [(one.get("id"), ", ".join(map(str, types_of(one)))) for one in listed]
            below = table(("collection", "types"), rows) + note(
                ".collections asks for their licences and extents; .plan() for sizes, and a map"
            )
        return card(
            self.title or self.id,
            pairs(
                [
                    ("Id", self.id),
                    ("DOI", self.doi),
                    ("Citation", self.citation),
                    ("Page", self.registry_url),
                    ("Source", None if self._source is None else self._source.text),
                ]
            ),
            below,
        )

    @classmethod
    def list(
        cls,
        *,
        tags: str | Iterable[str] | None = None,
        text: str | Iterable[str] | None = None,
        api_key: str | None = None,
        profile: str | None = None,
    ) -> builtins.list[Dataset]:
        """The datasets of the hub that match.

        Arguments and errors are those of :func:`~mlhub_core.client.list_datasets`.
        """
        login: Login = {"api_key": api_key, "profile": profile}
        found = client.list_datasets(tags=tags, text=text, **login)
        return DatasetList(cls._of(fields, **login) for fields in found)

    @classmethod
    def _of(cls, found: dict[str, Any], **login: Unpack[Login]) -> Dataset:
        """Make one of the API's object, whatever that holds beside an id."""
        found = identified(found, "datasets")
        collections = found.get("collections")
        texts = {
            name: found.get(name) if isinstance(found.get(name), str) else None for name in _TEXTS
        }
        dataset = cls(
            found["id"],
            collections if isinstance(collections, builtins.list) else None,
            **texts,
            **login,
        )
        known = {"id", "collections", *_TEXTS}
        dataset.extra_fields = {name: found[name] for name in found if name not in known}
        return dataset

    @classmethod
    def open(
        cls,
        source: str | Path,
        *,
        source_type: str | None = None,
        dataset_id: str | None = None,
        api_key: str | None = None,
        profile: str | None = None,
    ) -> Dataset:
        """A dataset from wherever its STAC lies; ``docs/sources.md`` names the kinds of sources.

        Only the id or DOI of a hub's dataset needs a hub.

        Args:
            source: What names it.
            source_type: The kind of source, where ``source`` does not show it.
            dataset_id: What the dataset is called here; by default what its source calls it.
            api_key: As for :meth:`fetch`.
            profile: As for :meth:`fetch`.

        Raises:
            InvalidArgument: if there is no such file.
            CatalogError: if the archive cannot be read.
            MLHubException: for an id or DOI, as for :meth:`fetch`.
        """
        from mlhub_core.sources import open_source, resolved
        from mlhub_core.sources.base import SourceSpec
        from mlhub_core.sources.mlhub import HubDataset

        text = str(user_path(source) if isinstance(source, Path) else source)
        spec = resolved(SourceSpec(text, source_type, dataset_id))
        found = open_source(spec, api_key=api_key, profile=profile)
        if isinstance(found, HubDataset):
            return cls.fetch(str(source), api_key=api_key, profile=profile)
        info = found.describe()
        listed = [{"id": one.id, "types": builtins.list(one.types)} for one in info.collections]
        texts = {
            "title": info.title,
            "registry": info.registry_url,
            "doi": info.doi,
            "citation": info.citation,
        }
        dataset = cls(info.id, listed, **texts, api_key=api_key, profile=profile)
        dataset._source = spec
        return dataset

    @classmethod
    def fetch(
        cls, dataset_id_or_doi: str, *, api_key: str | None = None, profile: str | None = None
    ) -> Dataset:
        """One dataset by its id or, if there is a ``/`` in it, by its DOI.

        Args:
            dataset_id_or_doi: Either.
            api_key: Used by everything that this object asks the hub later, too.
            profile: The name of the profile that has a key, likewise.

        Raises:
            EntityDoesNotExist: if the hub has no such dataset.
            MLHubException: all that the session raises.
        """
        login: Login = {"api_key": api_key, "profile": profile}
        return cls._of(client.get_dataset(dataset_id_or_doi, **login), **login)

    @classmethod
    def fetch_by_id(
        cls, dataset_id: str, *, api_key: str | None = None, profile: str | None = None
    ) -> Dataset:
        """One dataset by its id; errors as for :meth:`fetch`."""
        login: Login = {"api_key": api_key, "profile": profile}
        return cls._of(client.get_dataset_by_id(dataset_id, **login), **login)

    @classmethod
    def fetch_by_doi(
        cls, dataset_doi: str, *, api_key: str | None = None, profile: str | None = None
    ) -> Dataset:
        """One dataset by its DOI; errors as for :meth:`fetch`."""
        login: Login = {"api_key": api_key, "profile": profile}
        return cls._of(client.get_dataset_by_doi(dataset_doi, **login), **login)

    @cached_property
    def collections(self) -> CollectionList:
        """The collections, fetched from the hub the first time and kept."""
        from mlhub_core.datasets.stac import Collection

        def fetch(description: dict[str, Any]) -> tuple[Collection, frozenset[str]]:
            listed = identified(description, f"datasets/{self.id}")
            collection = Collection.fetch(listed["id"], **self.session_kwargs)
            return collection, frozenset(types_of(listed))

        with Pool(_FETCH_THREADS) as pool:
            return CollectionList(pool.map(fetch, self.collection_descriptions))

    @property
    def stac_catalog_size(self) -> int | None:
        """Bytes of the catalog archive, None when the hub does not say. Asks the hub each time."""
        return self._size("stac_catalog_size")

    @property
    def estimated_dataset_size(self) -> int | None:
        """Bytes of all assets, None when the hub does not say. Asks the hub each time."""
        return self._size("estimated_dataset_size")

    def _size(self, name: str) -> int | None:
        return count_of(client.get_catalog_info(self.id, **self.session_kwargs).get(name))

    def items(self) -> Iterator[pystac.Item]:
        """The items, one at a time, as PySTAC reads them; what it cannot read is logged.

        What has to be fetched for that is kept for as long as this object lives.

        Raises:
            MLHubException: all that the source raises.
        """
        return self._opened.items()

    def index(self, output: str | Path | None = None) -> geopandas.GeoDataFrame:
        """The asset index, a row per asset, with the footprints of their items.

        Args:
            output: Where the index goes, a ``.parquet`` file, and is used again from; by default
                it is kept for as long as this object lives.

        Raises:
            InvalidArgument: if ``output`` cannot be one.
            MLHubException: all that the source raises.
        """
        return self._opened.index(output)

    def plan(
        self,
        output_dir: str | Path | None = None,
        *,
        asset_output_dir: str | Path | None = None,
        progress: bool = True,
        **filters: Any,
    ) -> Plan:
        """What :meth:`download` would fetch, without a byte of it: print it, or pass it on.

        Args:
            output_dir: As for :meth:`download`, which goes on there.
            asset_output_dir: Likewise.
            progress: Likewise.
            **filters: Those of :meth:`download`.

        Returns:
            The plan; ``download(plan=plan.path)`` runs exactly that.

        Raises:
            InvalidArgument: if an argument cannot work.
            NothingMatches: if the filters leave nothing.
            MLHubException: all that the source raises.
        """
        from mlhub_core.display import showing_progress
        from mlhub_core.pipeline import download
        from mlhub_core.request import DownloadRequest
        from mlhub_core.runner import InProcess
        from mlhub_core.selection.filters import AssetFilter

        request = DownloadRequest(
            **self._named(),
            output_dir=output_dir,
            asset_output_dir=asset_output_dir,
            wanted=AssetFilter.create(**filters),
            dry_run=True,
        )
        found: builtins.list[Plan] = []
        with showing_progress(progress) as on_progress:
            runner = InProcess(**self.session_kwargs, on_progress=on_progress)
            download(request, runner, on_plan=found.append)
        return found[0]

    def _named(self) -> dict[str, Any]:
        """The fields of a request that say what the source is."""
        source = self._source
        if source is None:
            return {"dataset": self.id}
        return {
            "dataset": source.text,
            "source_type": source.type,
            "dataset_id": source.dataset_id,
        }

    @cached_property
    def _opened(self) -> Opened:
        from mlhub_core.datasets.opened import Opened
        from mlhub_core.sources.base import SourceSpec

        return Opened(self._source or SourceSpec(self.id, "mlhub"), self.session_kwargs)

    def download(
        self,
        output_dir: str | Path | None = None,
        *,
        asset_output_dir: str | Path | None = None,
        catalog_only: bool = False,
        if_exists: DownloadIfExistsOpts | str = DownloadIfExistsOpts.resume,
        api_key: str | None = None,
        profile: str | None = None,
        bbox: Sequence[float] | None = None,
        intersects: Any = None,
        datetime: Any = None,
        collection_filter: Mapping[str, Iterable[str]] | None = None,
        intersects_with: str = "bbox",
        media_type: str | Iterable[str] | None = None,
        role: str | Iterable[str] | None = None,
        band: str | Iterable[str] | None = None,
        where: str | None = None,
        sample: int | None = None,
        seed: int = 0,
        limit: int | None = None,
        with_sources: bool = False,
        stac: str = "copy",
        strict: bool = False,
        plan: str | Path | None = None,
        ignore_file_size: bool = False,
        ignore_checksum: bool = False,
        alternate: str | Iterable[str] | None = None,
        allow_local_files: bool = False,
        settings: RunSettings | None = None,
        progress: bool = True,
    ) -> DownloadReport:
        """Download the catalog and all assets that match, verified and resumable.

        Args:
            output_dir: Where archive and catalog go; defaults to the current directory at the time
                of the call.
            asset_output_dir: Where assets go; defaults to ``output_dir``.
            catalog_only: Stop when the catalog is unarchived.
            if_exists: ``resume`` keeps what is complete and continues what is not, ``skip`` keeps
                whatever is there, ``overwrite`` fetches anew.
            api_key: Defaults to the one given to ``fetch``.
            profile: Likewise.
            bbox: West, south, east, north in degrees (or six numbers with heights); west greater
                than east crosses the antimeridian. Excludes ``intersects``.
            intersects: A GeoJSON geometry, Feature or FeatureCollection, parsed or as text.
            datetime: A moment, a pair ``(start, end)`` with None for an open end, or text such as
                ``"2016"`` or ``"2016-01-01/.."``. Naive times are UTC.
            collection_filter: Asset keys by collection id; an empty list means every key.
            intersects_with: Test ``intersects`` against the item's ``"bbox"`` or ``"geometry"``.
            media_type: One or several, such as ``"image/tiff"`` or ``"image/*"``.
            role: One or several, such as ``"data"``.
            band: One or several, by name (``"B04"``) or common name (``"red"``).
            where: A condition on the properties of items, CQL2 text, such as
                ``"eo:cloud_cover < 10"``.
            sample: So many items, chosen at random, the same ones for the same ``seed``.
            seed: Another one chooses other items.
            limit: So many items, the first ones of the index.
            with_sources: Add the items that selected ones name as their source.
            stac: Where a local STAC of the files is written: ``copy`` (into ``stac/``),
                ``inplace`` (beside them) or ``none``.
            strict: Raise also if the catalog itself lacks something that it names.
            plan: The ``plan.json`` that a dry run saved: exactly that is downloaded.
            ignore_file_size: Do not compare the ``file:size`` of the catalog, where that is wrong.
            ignore_checksum: Likewise its ``file:checksum``.
            alternate: Names of alternate assets, the preferred one first: the first that an asset
                has is fetched. What cannot be had is asked for from the others anyway.
            allow_local_files: Copy the files of this machine that the catalog names by ``file:`` or
                by absolute paths, where the source lies on this machine itself and is trusted.
            settings: How to transfer; see :class:`~mlhub_core.settings.RunSettings`.
            progress: Show progress: bars on a terminal, else a line now and then.

        Returns:
            What was done, counted.

        Raises:
            InvalidArgument: if an argument cannot work; nothing has been written.
            NothingMatches: if the filters leave nothing.
            DownloadIncomplete: if some assets failed; all others are there, ``err_report.csv``
                names those that are not.
            StorageError: if the disk refuses.
            MLHubException: all that the session raises.
        """
        from mlhub_core.display import showing_progress
        from mlhub_core.pipeline import download
        from mlhub_core.request import DownloadRequest
        from mlhub_core.runner import InProcess
        from mlhub_core.selection.filters import AssetFilter

        if not isinstance(settings, RunSettings | None):
            raise InvalidArgument(f"settings is {settings!r}: give a RunSettings.")
        request = DownloadRequest(
            **self._named(),
            output_dir=output_dir,
            asset_output_dir=asset_output_dir,
            catalog_only=catalog_only,
            if_exists=DownloadIfExistsOpts.of(if_exists),
            wanted=AssetFilter.create(
                collection_filter=collection_filter,
                datetime=datetime,
                bbox=bbox,
                intersects=intersects,
                intersects_with=intersects_with,
                media_type=media_type,
                role=role,
                band=band,
                where=where,
                sample=sample,
                seed=seed,
                limit=limit,
                with_sources=with_sources,
            ),
            plan=None if plan is None else user_path(plan),
            products={"stac": stac},
            strict=strict,
            settings=_with_transfer(
                settings or RunSettings(),
                ignore_file_size=ignore_file_size,
                ignore_checksum=ignore_checksum,
                allow_local_files=allow_local_files,
                alternates=tuple([alternate] if isinstance(alternate, str) else alternate or ()),
            ),
        )
        with showing_progress(progress) as on_progress:
            login = given_or_known({"api_key": api_key, "profile": profile}, self.session_kwargs)
            runner = InProcess(**login, on_progress=on_progress)
            report = download(request, runner)
        report.raise_for_failures(strict=strict)
        return report


def _with_transfer(settings: RunSettings, **given: Any) -> RunSettings:
    """Settings with those of the transfer that are asked for; none is switched off."""
    asked = {name: value for name, value in given.items() if value}
    return replace(settings, transfer=replace(settings.transfer, **asked))
