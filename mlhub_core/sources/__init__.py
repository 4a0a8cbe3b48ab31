"""What datasets come from: a hub's catalog archive, an archive on disk, whatever is added."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from typing import NamedTuple

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import DownloadPaths, user_path
from mlhub_core.sources.base import SOURCE_NAME, Source, SourceSpec
from mlhub_core.state import read_state

_ENTRY_POINTS = "mlhub_core.sources"
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


class Kind(NamedTuple):
    """A kind of source.

    Attributes:
        place: Module and class, which has a class method ``open(spec, api_key, profile)``.
        is_meant: Whether a text, without blanks around it, means a source of this kind; without
            asking anybody.
        is_local: Whether the text is a path.
    """

    place: str
    is_meant: Callable[[str], bool]
    is_local: bool = False

    def open(self, spec: SourceSpec, api_key: str | None, profile: str | None) -> Source:
        """The source that is meant; its module is imported now."""
        module, _, name = self.place.partition(":")
        source: Source = getattr(importlib.import_module(module), name).open(spec, api_key, profile)
        return source


KINDS = {
    "archive": Kind(
        "mlhub_core.sources.archive:LocalArchive",
        lambda text: "://" not in text and text.lower().endswith(_ARCHIVES),
        is_local=True,
    ),
    "mlhub": Kind("mlhub_core.sources.mlhub:HubDataset", lambda text: True),
}
"""Kinds of sources by name; the first that a text may mean is taken."""


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
    return _kind(spec).open(spec, api_key, profile)


def resolved(spec: SourceSpec) -> SourceSpec:
    """The same source, whatever directory it is opened from later.

    Raises:
        InvalidArgument: if there is no such kind.
    """
    if not _kind(spec).is_local:
        return spec
    return replace(spec, text=str(user_path(spec.text.strip())))


def _kind(spec: SourceSpec) -> Kind:
    if spec.type is None:
        return next(kind for kind in KINDS.values() if kind.is_meant(spec.text.strip()))
    if spec.type in KINDS:
        return KINDS[spec.type]
    # One that somebody else ships is imported only where it is named.
    for point in entry_points(group=_ENTRY_POINTS, name=spec.type):
        return Kind(point.value, lambda text: False)
    raise InvalidArgument(
        f"source_type (--source-type) is {spec.type!r}: use one of {', '.join(KINDS)}."
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
    place = paths.state_dir / SOURCE_NAME
    state = read_state(place)
    if state is None:
        return open_source(paths.dataset_id, api_key=api_key, profile=profile)
    try:
        version = state.pop("version")
        spec = SourceSpec(state["source"]) if version == 1 else SourceSpec(**state)
    except (KeyError, TypeError):
        version = None
    if version not in (1, 2):
        raise InvalidArgument(
            f"{place} is of a later version: use the mlhub that made it, or name the source."
        )
    return open_source(spec, api_key=api_key, profile=profile)
