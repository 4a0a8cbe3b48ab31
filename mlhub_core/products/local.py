"""A download, open: its items and assets as tables, and the pairs to train with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlhub_core.exceptions import InvalidArgument, storage_errors
from mlhub_core.extras import needed
from mlhub_core.paths import PRODUCTS_NAME, DownloadPaths
from mlhub_core.products.here import scan_known
from mlhub_core.products.pairs import find_pairs
from mlhub_core.products.splits import read_splits
from mlhub_core.selection.filters import suggest
from mlhub_core.selection.plan import counted, format_bytes
from mlhub_core.state import read_state
from mlhub_core.transfer.ledger import undamaged
from mlhub_core.workspace import existing_download

if TYPE_CHECKING:
    import geopandas
    import pystac

    from mlhub_core.products.shards import Exported

_COLUMNS = (
    *("collection_id", "item_id", "asset_key", "save_path", "media_type", "roles"),
    *("datetime", "start_datetime", "end_datetime", "common_asset"),
    *("item_path", "source_items", "source_paths", "geometry"),
)
_MOST_MEASURED = 20_000
_NAMES = {"collection_id": "collection", "item_id": "item", "asset_key": "key"}


def open_local(directory: str | Path) -> LocalDataset:
    """Open a download.

    Args:
        directory: The dataset's directory, in which ``.mlhub`` lies.

    Raises:
        InvalidArgument: if it is not that of a download, or nothing was indexed yet.
        StorageError: if it cannot be read.
    """
    paths = existing_download(directory)
    if not paths.index.is_file():
        raise InvalidArgument(
            f"{paths.asset_dir} has a catalog and no files yet: download the dataset first, "
            "without --catalog-only."
        )
    return LocalDataset(paths)


@dataclass(frozen=True)
class LocalDataset:
    """A download, open. Its tables are read when they are first asked for.

    Attributes:
        paths: Where everything is.
    """

    paths: DownloadPaths

    def __repr__(self) -> str:
        return f"<LocalDataset {self.paths.dataset_id} in {self.paths.asset_dir}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: what its collections say of themselves, its files, its map."""
        from mlhub_core.transfer.footprints import map_of_files
        from mlhub_core.views.html import card, pairs, table

        title, described = self._described()
        frame = self.assets.drop_duplicates("save_path")
        counts = frame.groupby("collection").agg(items=("item", "nunique"), files=("key", "size"))
        rows = [(str(name), int(items), int(files)) for name, items, files in counts.itertuples()]
        return card(
            title,
            pairs([("Id", self.id), ("Files", self._files(frame)), ("In", str(self.directory))]),
            described,
            table(("collection", "items", "files"), rows),
            map_of_files(self.paths.index, self.directory, self.id),
        )

    def _described(self) -> tuple[str, str]:
        """The title, and as HTML who made what it is of, as its local STAC has them."""
        import pystac

        from mlhub_core.views.html import note, pairs

        try:
            root = pystac.Catalog.from_file(str(self.stac))
            children = [one for one in root.get_children() if isinstance(one, pystac.Collection)]
        except (InvalidArgument, pystac.STACError, OSError, ValueError, KeyError) as error:
            return self.id, note(f"Nothing is told of it: {error}")
        texts = {
            "Licence": {one.license for one in children},
            "Citation": {str(one.extra_fields.get("sci:citation") or "") for one in children},
        }
        told = [(name, "; ".join(sorted(filter(None, found)))) for name, found in texts.items()]
        return root.title or self.id, pairs(told)

    def _files(self, frame: Any) -> str:
        """How many files there are, and how large where it takes no time to find out."""
        text = counted(len(frame), "file")
        if len(frame) > _MOST_MEASURED:
            return text
        try:
            return f"{text}, {format_bytes(sum(os.path.getsize(path) for path in frame['path']))}"
        except OSError:
            return f"{text}, of which some are gone or cannot be read: mlhub verify names them"

    @property
    def id(self) -> str:
        """The dataset."""
        return self.paths.dataset_id

    @property
    def directory(self) -> Path:
        """Where its files lie."""
        return self.paths.asset_dir

    @property
    def stac(self) -> Path:
        """The root of its local STAC.

        Raises:
            InvalidArgument: if there is none.
        """
        return self._product("stac") / "catalog.json"

    def _product(self, name: str) -> Path:
        called = (read_state(self.paths.state_dir / PRODUCTS_NAME) or {}).get(name)
        place = self.directory / str(called)
        if not isinstance(called, str) or not place.exists():
            raise InvalidArgument(
                f"{self.directory} has no local STAC: `mlhub stac {self.directory}` writes it."
            )
        return place

    def stac_items(self, collection: str | None = None) -> Iterator[pystac.Item]:
        """The items of the local STAC, with absolute paths to their files.

        That is how tools that know nothing of where an item lies take them, such as stackstac.

        Args:
            collection: Only those of this collection.

        Raises:
            InvalidArgument: if there is no local STAC, or no such collection in it.
        """
        import pystac

        root = pystac.Catalog.from_file(str(self.stac))
        children = {child.id: child for child in root.get_children()}
        if collection is not None and collection not in children:
            raise InvalidArgument(
                f"collection {collection!r} is not in {self.stac}{suggest(collection, children)}"
            )
        chosen = children.values() if collection is None else [children[collection]]
        return (_with_places(item) for one in chosen for item in one.get_items())

    @cached_property
    def items(self) -> geopandas.GeoDataFrame:
        """The items that are here, a row each: ``items.parquet``.

        Raises:
            InvalidArgument: if there is none.
        """
        import geopandas

        table = self._product("table")
        with storage_errors(f"read {table}"):
            return geopandas.read_parquet(table)

    @cached_property
    def assets(self) -> geopandas.GeoDataFrame:
        """The files that are here, a row for each asset; ``path`` is where.

        An asset that items share, such as the documentation, has a row for each of them.
        """
        import geopandas
        import pandas as pd
        import pyarrow.parquet as pq

        parts = []
        for batch, known in scan_known(self.paths, _COLUMNS):
            here = undamaged(known)
            rows = [path in here for path in batch.column("save_path").to_pylist()]
            parts.append(batch.to_pandas()[rows])
        frame = pd.concat(parts, ignore_index=True) if parts else _no_rows(pq, self.paths.index)
        frame = frame.rename(columns=_NAMES)
        root = str(self.directory)
        frame["path"] = [f"{root}/{path}" for path in frame["save_path"]]
        shapes = geopandas.GeoSeries.from_wkb(frame["geometry"], crs="EPSG:4326")
        return geopandas.GeoDataFrame(frame.drop(columns="geometry"), geometry=shapes)

    @property
    def keys(self) -> dict[str, list[str]]:
        """The asset keys of each collection that are here."""
        found: dict[str, set[str]] = {}
        columns = ("collection_id", "asset_key", "save_path")
        for batch, known in scan_known(self.paths, columns):
            here = undamaged(known)
            for collection, key, path in zip(
                *(batch.column(name).to_pylist() for name in columns), strict=True
            ):
                if path in here:
                    found.setdefault(collection, set()).add(key)
        return {name: sorted(found[name]) for name in sorted(found)}

    def pairs(
        self,
        label: str = "labels",
        sources: Sequence[str] | None = None,
        *,
        collection: str | None = None,
        split: str | None = None,
        by: str | None = None,
        within: str = "1D",
    ) -> geopandas.GeoDataFrame:
        """Labels, and the imagery that they are about: a row of paths for each pair.

        The columns: ``label``, one for each of ``sources``, ``collection``, ``item`` and
        ``source_item``, ``time``, ``geometry``, and ``by``, which says how they were found:
        ``link`` (the label's link of ``rel: source``), ``item`` (both are of one item), or
        ``place`` (the image overlaps the label in place and time). Labels whose imagery is not
        here are left out, and counted in a warning.

        Args:
            label: The asset key of labels.
            sources: The asset keys of imagery; by default those of images that are no thumbnails.
            collection: Only labels of this collection.
            split: Only labels of this split, see :meth:`splits`.
            by: How to find pairs. By default links where any label has one, else one item where
                any item has both, else place.
            within: How far apart in time label and image may be, by place.

        Raises:
            InvalidArgument: naming an unknown key, collection or split, and near misses.
            StorageError: if index or ledger cannot be read.
        """
        wanted = None if split is None else self._split(split)
        return find_pairs(
            self.assets,
            label,
            sources,
            collection=collection,
            items=wanted,
            by=by,
            within=within,
        )

    def splits(self) -> dict[str, list[str]]:
        """The items of each split that the dataset comes with: train, validation, test.

        They are what the files of the assets ``train_split`` and its like name; empty where the
        dataset has none, or they are not here.

        Raises:
            StorageError: if a file cannot be read.
        """
        known = set(self.assets["item"].dropna())
        named = read_splits(self.paths)
        return {split: [one for one in names if one in known] for split, names in named.items()}

    def _split(self, name: str) -> set[str]:
        splits = self.splits()
        if name not in splits:
            raise InvalidArgument(f"split {name!r} is not here{suggest(name, splits)}")
        return set(splits[name])

    def export(
        self,
        output: str | Path | None = None,
        *,
        format: str = "webdataset",
        label: str | None = None,
        sources: Sequence[str] | None = None,
        **how: Any,
    ) -> Exported:
        """Export the pairs, or the items, in a form that training code reads.

        ``webdataset``: tar shards and an ``index.json``. A sample is a pair where ``label`` is
        given, else an item; it has a ``.json`` that says what it is. Files are compared with the
        ledger as they are read. The same call goes on where one was stopped or killed.
        ``csv``: a row a pair, or a row a file. ``croissant``: ``croissant.json``, of all that is
        here, if it is not what it would be.

        Args:
            output: Of shards, a directory of its own; of CSV, a file.
            format: The form.
            label: The asset key of labels; None for a sample an item.
            sources: The asset keys of images; of items, of all that is taken.
            **how: The other arguments of :meth:`pairs`; ``max_size``, the bytes of a shard;
                ``stop``, a flag that ends the work early; ``on_progress``, told of it.

        Raises:
            InvalidArgument: naming an unknown key, collection or split, or what cannot work.
            NothingMatches: if there is nothing to export.
            StorageError: if the disk refuses, or a file is not what was downloaded.
        """
        from mlhub_core.products.export import export_local

        return export_local(self, output, format=format, label=label, sources=sources, **how)

    def plot(self, column: str | None = "collection", **options: Any) -> Any:
        """Draw the footprints of the items with matplotlib, through GeoPandas.

        Args:
            column: Of :attr:`items`, what colours them; None for one colour.
            **options: Those of ``GeoDataFrame.plot``.

        Returns:
            The axes.

        Raises:
            InvalidArgument: if matplotlib is not installed, or there is no such column.
        """
        needed("matplotlib", "plot")
        return self._coloured_by(column).plot(column=column, **options)

    def explore(self, column: str | None = "collection", **options: Any) -> Any:
        """Show the footprints of the items on a map to move in a notebook, through GeoPandas.

        The map's background is fetched from others by whoever looks at it; ``tiles=None`` is
        without.

        Args:
            column: Of :attr:`items`, what colours them; None for one colour.
            **options: Those of ``GeoDataFrame.explore``.

        Returns:
            The map of folium.

        Raises:
            InvalidArgument: if folium is not installed, or there is no such column.
        """
        for package in ("folium", "matplotlib", "mapclassify"):
            needed(package, "plot")
        return _as_html(self._coloured_by(column)).explore(column=column, **options)

    def _coloured_by(self, column: str | None) -> geopandas.GeoDataFrame:
        """The items with what a map shows: no columns of lists and structs."""
        items = self.items
        shown = [name for name in ("id", "collection", "datetime", column) if name in items]
        if column is not None and column not in shown:
            raise InvalidArgument(
                f"column {column!r} is not among those of the items"
                f"{suggest(column, [str(name) for name in items])}"
            )
        frame = items[[*dict.fromkeys(shown), "geometry"]]
        return (
            frame.assign(datetime=frame["datetime"].astype(str)) if "datetime" in frame else frame
        )

    def to_torch(
        self,
        label: str = "labels",
        sources: Sequence[str] | None = None,
        *,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        **how: Any,
    ) -> Any:
        """The pairs as a dataset of PyTorch.

        A sample has ``image`` (the sources, stacked where all are of one size, else one each by
        key), ``label``, and what the pair's row says of it.

        Args:
            label: As for :meth:`pairs`.
            sources: As for :meth:`pairs`.
            transform: Applied to each sample.
            **how: The other arguments of :meth:`pairs`.

        Raises:
            InvalidArgument: as :meth:`pairs`; or if PyTorch is not installed.
        """
        from mlhub_core.products.torch_data import torch_dataset

        return torch_dataset(self.pairs(label, sources, **how), transform)

    def to_torchgeo(
        self,
        label: str = "labels",
        sources: Sequence[str] | None = None,
        *,
        transforms: Callable[[dict[str, Any]], Any] | None = None,
        **how: Any,
    ) -> Any:
        """The pairs as a ``NonGeoDataset`` of TorchGeo: samples of ``image`` and ``mask``.

        Args:
            label: As for :meth:`pairs`.
            sources: As for :meth:`pairs`.
            transforms: Applied to each sample.
            **how: The other arguments of :meth:`pairs`.

        Raises:
            InvalidArgument: as :meth:`pairs`; or if TorchGeo is not installed.
        """
        from mlhub_core.products.torch_data import torchgeo_dataset

        return torchgeo_dataset(self.pairs(label, sources, **how), transforms)


def _as_html(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Texts as folium has to have them, which shows as HTML what any catalog says."""
    texts = [name for name in frame.columns.drop("geometry") if frame[name].dtype.kind == "O"]
    return frame.assign(
        **{
            str(name): frame[name].map(lambda one: escape(one) if isinstance(one, str) else one)
            for name in texts
        }
    )


def _with_places(item: pystac.Item) -> pystac.Item:
    item.make_asset_hrefs_absolute()
    return item


def _no_rows(pq: Any, index: Path) -> Any:
    schema = pq.read_schema(index)
    return schema.empty_table().select(list(_COLUMNS)).to_pandas()
