"""A dataset of a hub: its metadata, and its catalog as an archive."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mlhub_core.client.endpoints import count_of, get_catalog_info, get_dataset, types_of
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.http_errors import APIError, EntityDoesNotExist, HubUnreachable
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.addresses import Gate, zones_from
from mlhub_core.net.fetch import FileFetcher, is_unchanged, known_file
from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import without_secrets
from mlhub_core.session import get_session
from mlhub_core.settings import ApiSettings, root_url
from mlhub_core.sources.archive import CatalogArchive, is_archive
from mlhub_core.sources.base import CollectionInfo, DatasetInfo, SourceSpec, note_source
from mlhub_core.sources.documents import text_of
from mlhub_core.threads import StopFlag
from mlhub_core.work import UNWATCHED, Work

log = logging.getLogger(__name__)

_FOR_SHOW = ApiSettings(connect_timeout=5, read_timeout=10, max_attempts=2)
"""How the hub is asked for what a run can do without."""
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A hub's dataset, as a source.

    Attributes:
        dataset: Its id or DOI.
        api_key: As for :func:`~mlhub_core.session.get_session`.
        profile: As for :func:`~mlhub_core.session.get_session`.
        allow_private_hosts: Whether the hub may redirect to private networks, wherever it lies.
    """

    dataset: str
    api_key: str | None = field(default=None, repr=False)
    profile: str | None = None
    allow_private_hosts: bool = False

    @classmethod
    def open(cls, spec: SourceSpec, api_key: str | None, profile: str | None) -> HubDataset:
        """The dataset that is meant.

        Raises:
            InvalidArgument: if it is to have another id than the hub's.
        """
        if spec.dataset_id is not None and spec.dataset_id != spec.text.strip():
            raise InvalidArgument(
                "dataset_id (--dataset-id): a hub's dataset has the id that the hub gives it; "
                "leave it out."
            )
        return cls(spec.text, api_key, profile, spec.allow_private_hosts)

    @property
    def dataset_id(self) -> str | None:
        """The id of the dataset; None where a DOI was given."""
        text = self.dataset.strip()
        return None if "/" in text else text

    def describe(self) -> DatasetInfo:
        """Ask the hub about the dataset."""
        return fetch_metadata(self.dataset, api_key=self.api_key, profile=self.profile)

    def here(self, stop: StopFlag | None = None) -> None:
        """None: it has to be acquired."""

    def identity(self, paths: DownloadPaths) -> str | None:
        """The digest of the archive that is here, if the hub says that it is still the one."""
        archive = known_file(paths.archive, paths.state_dir)
        if archive is None or archive.etag is None:
            return None
        with get_session(api_key=self.api_key, profile=self.profile) as session:
            return archive.sha256 if is_unchanged(session, _place(paths), archive) else None

    def acquire(
        self,
        paths: DownloadPaths,
        if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume,
        work: Work = UNWATCHED,
    ) -> CatalogArchive:
        """Have the catalog archive on disk (``GET /catalog/{dataset_id}``).

        The hub answers with a redirect to the file; the API key goes to the hub alone. An archive
        that is there is asked about in one conditional request.

        Raises:
            EntityDoesNotExist: if the dataset has no catalog.
            FetchError: if it cannot be had whole.
            StorageError: if the disk refuses.
            Interrupted: if stopped; the partial file is kept.
            MLHubException: all that the session raises.
        """
        with get_session(api_key=self.api_key, profile=self.profile) as session:
            session.gate = Gate() if self.allow_private_hosts else None
            fetcher = FileFetcher(
                session,
                _place(paths),
                paths.archive,
                paths.state_dir,
                stop=work.stop,
                on_progress=work.on_progress,
                limits=work.limits,
                is_sound=is_archive,
            )
            try:
                file = fetcher.run(if_exists)
            except EntityDoesNotExist as error:
                raise EntityDoesNotExist(
                    f'The hub has no catalog of the dataset "{paths.dataset_id}".',
                    response=error.response,
                ) from error
        zones = zones_from(root_url())
        note_source(paths, SourceSpec(paths.dataset_id, "mlhub", zones=zones))
        return CatalogArchive(
            file.path, paths.dataset_id, file.size, file.sha256, file.etag, file.moved
        )


def _place(paths: DownloadPaths) -> str:
    return f"catalog/{quote(paths.dataset_id, safe='')}"


def fetch_metadata(
    dataset_id_or_doi: str, *, api_key: str | None = None, profile: str | None = None
) -> DatasetInfo:
    """Ask the hub about a dataset: the dataset itself, and the sizes of its catalog and data.

    Sizes are for show: a hub that does not tell them, for whatever reason, may still have the
    catalog.

    Raises:
        EntityDoesNotExist: if the hub has no such dataset.
        MLHubException: all that the session raises.
    """
    dataset = get_dataset(dataset_id_or_doi, api_key=api_key, profile=profile)
    info = read_info(dataset)
    try:
        sizes = get_catalog_info(info.id, api_key=api_key, profile=profile, settings=_FOR_SHOW)
    except EntityDoesNotExist:
        return info
    except (APIError, HubUnreachable) as error:
        log.warning("The sizes of %s are not known: %s", info.id, error)
        return info
    return read_info(dataset, sizes)


def read_info(dataset: dict[str, Any], sizes: dict[str, Any] | None = None) -> DatasetInfo:
    """Read the API's objects; what is missing or of the wrong type is None.

    Raises:
        APIError: if the object has no id.
    """
    dataset_id = text_of(dataset.get("id"))
    if dataset_id is None:
        raise APIError("The hub answered with a dataset that has no id.")
    listed = dataset.get("collections")
    sizes = sizes or {}
    return DatasetInfo(
        dataset_id,
        _words(dataset.get("title")),
        text_of(dataset.get("doi")),
        _words(dataset.get("citation")),
        text_of(dataset.get("registry")),
        tuple(
            CollectionInfo(
                entry["id"],
                types_of(entry),
                _plain(_words(entry.get("license"))),
            )
            for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, dict) and text_of(entry.get("id"))
        ),
        count_of(sizes.get("stac_catalog_size")),
        count_of(sizes.get("estimated_dataset_size")),
    )


def _words(value: Any) -> str | None:
    """A text for people; some hubs repeat in it what was asked, the key included."""
    text = text_of(value)
    return text and without_secrets(text)


def _plain(text: str | None) -> str | None:
    return text and _MARKDOWN_LINK.sub(r"\1", text)
