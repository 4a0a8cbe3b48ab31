"""What datasets come from: a hub's catalog archive, an archive on disk, whatever is added."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.net.addresses import zones_from
from mlhub_core.paths import DownloadPaths, archive_ending, user_path
from mlhub_core.settings import RunSettings, TransferSettings, root_url
from mlhub_core.sources.base import SOURCE_NAME, Source, SourceSpec
from mlhub_core.sources.directory import check_apart, directory_of
from mlhub_core.sources.directory import is_meant as is_directory
from mlhub_core.sources.naming import (
    STDIN,
    is_url,
    last_name,
    means_api_collection,
    means_index,
    means_items,
    means_parquet,
)
from mlhub_core.state import read_state

_LOOKS_LIKE_PATH = re.compile(r"[/\\.~]")
"""What an id has none of: where a download lies already, its directory is called as its dataset."""
_IS_PATH = re.compile(r"\.{0,2}[/\\]|~")
"""How a text begins that can be a path only."""
_ENTRY_POINTS = "mlhub_core.sources"
_ROOTS = ("/catalog.json", "/collection.json")


class Kind(NamedTuple):
    """A kind of source.

    Attributes:
        place: Module and class, which has a class method ``open(spec, api_key, profile)``.
        is_meant: Whether a text, without blanks around it, means a source of this kind; without
            asking anybody.
        is_local: Whether the text is a path.
        by_url: Module and class where the text is a URL, if that is another.
    """

    place: str
    is_meant: Callable[[str], bool]
    is_local: bool = False
    by_url: str | None = None

    def open(self, spec: SourceSpec, api_key: str | None, profile: str | None) -> Source:
        """The source that is meant; its module is imported now."""
        place = self.by_url if self.by_url and is_url(spec.text) else self.place
        module, _, name = place.partition(":")
        source: Source = getattr(importlib.import_module(module), name).open(spec, api_key, profile)
        return source


KINDS = {
    "api": Kind("mlhub_core.sources.api:StacApi", means_api_collection),
    "index": Kind("mlhub_core.sources.index_table:IndexSource", means_index, is_local=True),
    "parquet": Kind("mlhub_core.sources.parquet:ParquetSource", means_parquet, is_local=True),
    "items": Kind("mlhub_core.sources.items:ItemsSource", means_items, is_local=True),
    "archive": Kind(
        "mlhub_core.sources.archive:LocalArchive",
        lambda text: archive_ending(last_name(text)) is not None or is_archive(text),
        is_local=True,
        by_url="mlhub_core.sources.remote_archive:RemoteArchive",
    ),
    "directory": Kind("mlhub_core.sources.directory:LocalDirectory", is_directory, is_local=True),
    "static": Kind(
        "mlhub_core.sources.static:StaticCatalog",
        lambda text: is_url(text) and text.lower().endswith(_ROOTS),
    ),
    "url": Kind("mlhub_core.sources.web:WebSource", is_url),
    "mlhub": Kind("mlhub_core.sources.mlhub:HubDataset", lambda text: True),
}
"""Kinds of sources by name; the first that a text may mean is taken."""


def is_archive(text: str) -> bool:
    """Whether a text is the path of a file that begins as an archive does; an id is none."""
    from mlhub_core.sources.formats import looks_like_archive

    if not _LOOKS_LIKE_PATH.search(text):
        return False
    try:
        path = Path(text).expanduser()
        return path.is_file() and looks_like_archive(path)
    except (OSError, RuntimeError, ValueError):  # no name of a file, or no such home
        return False


def paths_for(
    spec: SourceSpec,
    dataset_id: str,
    output_dir: str | Path | None = None,
    asset_output_dir: str | Path | None = None,
) -> DownloadPaths:
    """Where everything of a dataset goes that comes from a source.

    Args:
        spec: The source.
        dataset_id: What the dataset is called.
        output_dir: As for :meth:`DownloadPaths.of`.
        asset_output_dir: As for :meth:`DownloadPaths.of`.

    Raises:
        InvalidArgument: if a directory is none, or would be written to though it is the source.
    """
    paths = with_source(DownloadPaths.of(dataset_id, output_dir, asset_output_dir), spec)
    if paths.origin is not None:
        check_apart(paths.origin, paths.catalog_dir, paths.asset_dir)
    return paths


def with_source(paths: DownloadPaths, spec: SourceSpec) -> DownloadPaths:
    """Paths with what depends on the source: how an archive is called, where a catalog lies."""
    if _is("directory", spec):
        return replace(paths, origin=directory_of(spec.text))
    if _is("archive", spec):
        return replace(
            paths, archive_ending=archive_ending(last_name(spec.text.strip())) or ".tar.gz"
        )
    return paths


def zones_of(spec: SourceSpec, settings: TransferSettings) -> tuple[str, ...] | None:
    """Addresses that a source may lead to, besides those that everybody reaches; None for all.

    What lies on this machine may name any. Mirrors are the user's own.

    Args:
        spec: The source.
        settings: How files are fetched.
    """
    if spec.allow_private_hosts or settings.allow_private_hosts:
        return None
    is_hub = _is("mlhub", spec)
    if not is_hub and not is_url(spec.text):
        return None
    zones = spec.zones
    if zones is None:
        zones = zones_from(root_url() if is_hub else spec.text)
    own = [url for _, url in settings.mirrors]
    own += [settings.s3_endpoint] if settings.s3_endpoint else []
    return tuple({*zones, *(zone for url in own for zone in zones_from(url))})


def within_zones(settings: RunSettings, paths: DownloadPaths) -> RunSettings:
    """Settings by which the assets of a download are asked for only where its source may lead to.

    Raises:
        InvalidArgument: if what it comes from was written down by a later version.
        StorageError: if our state cannot be read.
    """
    spec = spec_of(paths.state_dir) or SourceSpec(paths.dataset_id, "mlhub")
    transfer = replace(settings.transfer, zones=zones_of(spec, settings.transfer))
    return replace(settings, transfer=transfer)


def _is(kind: str, spec: SourceSpec) -> bool:
    """Whether a source is of a kind; no module of somebody else's is needed to tell."""
    return spec.type == kind or (spec.type is None and _kind(spec) is KINDS[kind])


def open_source(
    spec: SourceSpec | str, *, api_key: str | None = None, profile: str | None = None
) -> Source:
    """The source that is meant.

    Args:
        spec: The source, or its text: the id or DOI of a hub's dataset, or the path of a catalog
            archive.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        InvalidArgument: if it can be none.
    """
    spec = SourceSpec(spec) if isinstance(spec, str) else spec
    shown = spec.text.encode("utf-8", "backslashreplace").decode()
    if "\0" in shown or shown != spec.text:
        raise InvalidArgument(
            f"{shown!r} is not UTF-8, or has a null byte in it: no source is called so."
        )
    return _kind(spec).open(spec, api_key, profile)


def check_local(spec: SourceSpec) -> None:
    """Check that a source lies on this machine, as one must that may name files of it.

    Raises:
        InvalidArgument: if it does not.
    """
    text = spec.text.strip()
    if not _kind(spec).is_local or is_url(text) or text == STDIN:
        raise InvalidArgument(
            "allow_local_files (--allow-local-files) is for sources on this machine, and "
            f"{spec} is none: a catalog from elsewhere must not name files of this machine. "
            "Leave it out."
        )


def resolved(spec: SourceSpec) -> SourceSpec:
    """The same source, whatever directory it is opened from later.

    Raises:
        InvalidArgument: if there is no such kind.
    """
    text = spec.text.strip()
    if not _kind(spec).is_local or is_url(text) or text == STDIN:
        return spec
    return replace(spec, text=str(user_path(text)))


def _kind(spec: SourceSpec) -> Kind:
    if spec.type is None:
        text = spec.text.strip()
        kind = next(kind for kind in KINDS.values() if kind.is_meant(text))
        if kind is KINDS["mlhub"] and _IS_PATH.match(text):
            raise _no_source(text)
        return kind
    if spec.type in KINDS:
        return KINDS[spec.type]
    # One that somebody else ships is imported only where it is named.
    for point in entry_points(group=_ENTRY_POINTS, name=spec.type):
        return Kind(point.value, lambda text: False)
    raise InvalidArgument(
        f"source_type (--source-type) is {spec.type!r}: use one of {', '.join(KINDS)}."
    )


def _no_source(text: str) -> InvalidArgument:
    """What is wrong with a path that is none of a source."""
    path = user_path(text)
    if not path.exists():
        return InvalidArgument(f"There is neither a file nor a directory {path}: check the path.")
    return InvalidArgument(
        f"{path} is no STAC that is known by its looks: name a catalog.json, a directory that has "
        "one, a catalog archive, a file of items or a stac-geoparquet table, or say what it is by "
        f"source_type (--source-type): {', '.join(KINDS)}."
    )


def source_of(
    paths: DownloadPaths, *, api_key: str | None = None, profile: str | None = None
) -> Source:
    """The source that a download on disk comes from.

    Args:
        paths: The download.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.

    Raises:
        InvalidArgument: if what was written down can be none, or is of a later version.
        StorageError: if our state cannot be read.
    """
    spec = spec_of(paths.state_dir)
    if spec is None:
        spec = SourceSpec(paths.dataset_id)
    return open_source(spec, api_key=api_key, profile=profile)


def spec_of(state_dir: Path) -> SourceSpec | None:
    """What a download was written down to come from; None for the hub's dataset of its id.

    Args:
        state_dir: The download's state.

    Raises:
        InvalidArgument: if it is of a later version.
        StorageError: if our state cannot be read.
    """
    place = state_dir / SOURCE_NAME
    state = read_state(place)
    if state is None:
        return None
    try:
        version = state.pop("version")
        spec = SourceSpec(state["source"]) if version == 1 else SourceSpec(**state)
    except (KeyError, TypeError):
        version = None
    if version not in (1, 2):
        raise InvalidArgument(
            f"{place} is of a later version: use the mlhub that made it, or name the source."
        )
    return spec
