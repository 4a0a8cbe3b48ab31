"""Which image a label is about: by its links, by its item, or by place and time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.selection.filters import suggest

if TYPE_CHECKING:
    import geopandas
    import pandas as pd

log = logging.getLogger(__name__)

_AS_MUCH = 0.999
"""Of the largest overlap: images of one tile at several times overlap a label equally."""
_WAYS = ("link", "item", "place")
_NO_IMAGES = frozenset({"thumbnail", "overview"})
"""Roles of assets that are pictures for people."""


def find_pairs(
    assets: geopandas.GeoDataFrame,
    label: str,
    sources: Sequence[str] | None,
    *,
    collection: str | None = None,
    items: set[str] | None = None,
    by: str | None = None,
    within: str = "1D",
) -> geopandas.GeoDataFrame:
    """Pair labels with images; arguments and columns are those of ``LocalDataset.pairs``.

    Args:
        assets: The assets that are here.
        label: The asset key of labels.
        sources: The asset keys of images.
        collection: Only labels of this collection.
        items: Only labels of these items.
        by: How to find pairs, None for the first way that finds any.
        within: How far apart in time label and image may be, by place.

    Raises:
        InvalidArgument: naming an unknown key, collection or way.
    """
    of_items = assets[assets["item"].notna()]
    labels = of_items[of_items["key"] == _known("label", label, of_items["key"])]
    if collection is not None:
        _known("collection", collection, labels["collection"])
        labels = labels[labels["collection"] == collection]
    if by is not None and by not in _WAYS:
        raise InvalidArgument(f"by is {by!r}: use one of {', '.join(_WAYS)}.")
    images = _images(of_items, label, sources)
    if items is not None:
        labels = labels[labels["item"].isin(items)]
    labels = labels.reset_index(drop=True)
    labels["_row"] = labels.index
    for way in _WAYS if by is None else (by,):
        found = _by_place(labels, images, within) if way == "place" else _WAY[way](labels, images)
        if len(found) or way == by:
            break
    _tell(label, labels, found, way)
    return _table(labels, images, found, way)


def _known(what: str, name: str, names: pd.Series) -> str:
    known = sorted(set(names))
    if name not in known:
        raise InvalidArgument(f"{what} {name!r} is not among what is here{suggest(name, known)}")
    return name


def _images(
    assets: geopandas.GeoDataFrame, label: str, sources: Sequence[str] | None
) -> geopandas.GeoDataFrame:
    """Items with their images: a row for each item that has all of them, a column for each."""
    if isinstance(sources, str):
        sources = [sources]
    if sources is None:
        told = assets["media_type"].fillna("").str.startswith("image/")
        is_shown = assets["roles"].map(lambda roles: not _NO_IMAGES.isdisjoint(_listed(roles)))
        chosen = assets[told & ~assets["key"].eq(label) & ~is_shown.astype(bool)]
        if not len(chosen):
            raise InvalidArgument("No image is here by its media type: name sources.")
    else:
        for name in sources:
            _known("source", name, assets["key"])
        chosen = assets[assets["key"].isin(list(sources))]
    wide = chosen.pivot_table(
        index=["item_path", "item"], columns="key", values="path", aggfunc="first", observed=True
    )
    if sources is not None:
        wide = wide.dropna()[list(sources)]
    wide.columns = [str(name) for name in wide.columns]
    facts = chosen.drop_duplicates(["item_path", "item"]).set_index(["item_path", "item"])
    columns = ["collection", "datetime", "start_datetime", "end_datetime", "geometry"]
    found = facts[columns].join(wide, how="inner").reset_index()
    found.attrs["keys"] = list(wide.columns)
    return found


def _listed(value: Any) -> Any:
    return () if value is None else value


def _by_link(labels: geopandas.GeoDataFrame, images: geopandas.GeoDataFrame) -> pd.DataFrame:
    """Pairs by the links of labels: by the paths of items, and by ids where no path is one."""
    import pandas as pd

    images = images.assign(_image=images.index)
    frames = []
    for links, name in (("source_paths", "item_path"), ("source_items", "item")):
        linked = labels[["_row", links]].explode(links).dropna()
        pairs = linked.merge(images[["_image", name]], left_on=links, right_on=name)
        frames.append(pairs[["_row", "_image"]])
    by_path, by_id = frames
    by_id = by_id[~by_id["_row"].isin(by_path["_row"])]
    found: pd.DataFrame = pd.concat([by_path, by_id]).drop_duplicates()
    return found


def _by_item(labels: geopandas.GeoDataFrame, images: geopandas.GeoDataFrame) -> pd.DataFrame:
    """Pairs of one item."""
    images = images.assign(_image=images.index)
    found: pd.DataFrame = labels[["_row", "item_path", "item"]].merge(
        images[["_image", "item_path", "item"]], on=["item_path", "item"]
    )
    return found[["_row", "_image"]]


def _by_place(
    labels: geopandas.GeoDataFrame, images: geopandas.GeoDataFrame, within: str
) -> pd.DataFrame:
    """Each label with the images that overlap it most, at its time."""
    import geopandas
    import pandas as pd

    left = geopandas.GeoDataFrame(labels[["_row"]], geometry=labels.geometry.values, crs=labels.crs)
    right = geopandas.GeoDataFrame(
        {"_image": images.index}, geometry=images.geometry.values, crs=labels.crs
    )
    joined = left.sjoin(right, predicate="intersects")
    found = pd.DataFrame({"_row": joined["_row"], "_image": joined["_image"]})
    if not len(found):
        return found
    spans = _spans(labels).loc[found["_row"]].reset_index(drop=True)
    others = _spans(images).loc[found["_image"]].reset_index(drop=True)
    apart = pd.concat([spans["start"] - others["end"], others["start"] - spans["end"]], axis=1)
    near = ~(apart.max(axis=1) > pd.Timedelta(within))  # what has no time is near to all
    found = found[near.to_numpy()]
    shapes = labels.geometry.loc[found["_row"]].reset_index(drop=True)
    overlap = shapes.intersection(images.geometry.loc[found["_image"]].reset_index(drop=True))
    found = found.assign(_area=overlap.to_crs("EPSG:6933").area.to_numpy())
    most = found.groupby("_row")["_area"].transform("max")
    best: pd.DataFrame = found[found["_area"] >= most * _AS_MUCH][["_row", "_image"]]
    return best


def _spans(frame: geopandas.GeoDataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "start": frame["start_datetime"].fillna(frame["datetime"]),
            "end": frame["end_datetime"].fillna(frame["datetime"]),
        }
    )


_WAY = {"link": _by_link, "item": _by_item}


def _tell(label: str, labels: Any, found: pd.DataFrame, way: str) -> None:
    """Say how many labels are in no pair, and of which collections."""
    alone = labels[~labels["_row"].isin(found["_row"])]
    if not len(alone):
        return
    names = ", ".join(sorted(set(alone["collection"]))[:3])
    others = [name for name in _WAYS if name != way]
    log.warning(
        "%d of %d files %r are in no pair by %s (of %s): their images are not here, or other ways "
        "find them (by=%s).",
        len(alone),
        len(labels),
        label,
        way,
        names,
        " or ".join(map(repr, others)),
    )


def _table(
    labels: geopandas.GeoDataFrame,
    images: geopandas.GeoDataFrame,
    found: pd.DataFrame,
    way: str,
) -> geopandas.GeoDataFrame:
    import geopandas

    found = found.sort_values(["_row", "_image"], kind="stable")
    left = labels.loc[found["_row"]].reset_index(drop=True)
    right = images.loc[found["_image"]].reset_index(drop=True)
    keys = [key for key in images.attrs["keys"] if right[key].notna().any() or not len(right)]
    columns = {"label": left["path"], **{key: right[key] for key in keys}}
    columns |= {
        "collection": left["collection"],
        "item": left["item"],
        "source_item": right["item"],
        "time": left["datetime"].fillna(left["start_datetime"]),
        "by": [way] * len(left),
    }
    table = geopandas.GeoDataFrame(columns, geometry=left.geometry, crs=labels.crs)
    table.attrs["sources"] = keys
    return table
