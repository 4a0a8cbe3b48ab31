"""The options of a download, each described once, in groups.

From this model come the form of the Prefect flows, the options of both command lines (by
:mod:`mlhub_core.cli.arguments`, which knows how a command line writes them) and the names of the
keyword arguments of ``Dataset.download``. It holds what a person may type and a database may keep;
API keys are not among it, only the names of profiles and of Prefect Secret blocks.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import user_path
from mlhub_core.products import PRODUCTS
from mlhub_core.redact import has_secret, redact_url
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.settings import ArchiveLimits, RunSettings, TransferSettings, root_url

MAX_INLINE_GEOJSON = 200_000
"""Characters of GeoJSON that travel as a parameter; Prefect refuses 512 KiB for all of them."""

_PUBLIC_URL = r"^(?![^/?#]*//[^/?#]*@)[^?#]*(\?([A-Za-z0-9_.-]+=)?)?$"
"""What Prefect's server takes for a URL without a secret, before it writes anything down."""


class Options(BaseModel):
    """A group of options."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    @classmethod
    def create(cls, **fields: Any) -> Self:
        """Make options, with an error in one line.

        Raises:
            InvalidArgument: naming the option and what would do.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise InvalidArgument(_one_line(error)) from error


class WhatOptions(Options):
    """What to download."""

    dataset: str = Field(min_length=1, title="Dataset", examples=["nasa_marine_debris"])
    """Id of a hub's dataset, or its DOI; or where STAC lies, which needs no hub: an archive of a
    catalog (tar, tar.gz, tar.bz2, tar.xz, tar.zst, zip), a directory, a catalog.json, a file of
    items or of stac-geoparquet, each by its path or URL, or the URL of a STAC API."""
    source_type: str | None = Field(default=None, examples=["archive"])
    """What kind of source that is, where it does not show: archive, directory, items, parquet,
    index, static, api or mlhub."""
    dataset_id: str | None = Field(default=None, min_length=1)
    """What the dataset is called here, which names its directory; by default what its source calls
    it."""
    catalog_only: bool = False
    """Stop when the catalog is unarchived."""
    plan: str | None = None
    """Path of a plan.json that a dry run saved: exactly that is downloaded, without filters."""
    allow_empty: bool = False
    """A filter that leaves nothing is fine; by default it fails the run."""
    strict: bool = False
    """Fail the run if the catalog itself lacks something: items or collections that it links and
    does not hold, entries that cannot be read. By default they are counted and named."""
    demo: bool = False
    """Serve the demo hub for the length of the run and download from it."""


class FilterOptions(Options):
    """Which part of a dataset."""

    collection_filter: dict[str, list[str]] | None = None
    """Asset keys by collection id; an empty list means every key."""
    datetime: str | None = Field(default=None, examples=["2016", "2016-01-01/2016-06-30"])
    """A moment, day, month or year, or two of them with a slash between; '..' is an open end."""
    bbox: list[float] | None = Field(default=None, examples=[[34.0, -1.5, 35.2, 0.5]])
    """West, south, east, north in degrees; west greater than east crosses the antimeridian."""
    intersects: dict[str, Any] | str | None = None
    """A GeoJSON geometry, Feature or FeatureCollection, or the path of a file that holds it."""
    intersects_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the file that intersects names: a run started or retried later fails if it is
    another file by then, instead of selecting something else."""
    intersects_with: Literal["bbox", "geometry"] = "bbox"
    """Whether intersects is tested against the bounding box of items or their geometry."""
    media_type: list[str] | None = Field(default=None, examples=[["image/tiff"]])
    """Only assets of these media types; image/* stands for all that begin so."""
    role: list[str] | None = Field(default=None, examples=[["data"]])
    """Only assets with one of these roles."""
    band: list[str] | None = Field(default=None, examples=[["red"]])
    """Only assets with one of these bands, by name (B04) or common name (red)."""
    where: str | None = Field(default=None, examples=["eo:cloud_cover < 10"])
    """A condition on the properties of items, CQL2 text."""
    sample: int | None = None
    """So many items, chosen at random; the same seed chooses the same ones."""
    seed: int = 0
    """Another one chooses another sample."""
    limit: int | None = None
    """So many items, the first ones of the index."""
    with_sources: bool = False
    """Add the imagery that selected labels name as their source."""

    @model_validator(mode="after")
    def _check_filter(self) -> Self:
        self.wanted  # noqa: B018 - read and checked here, and once
        return self

    @cached_property
    def wanted(self) -> AssetFilter:
        """The filter.

        Raises:
            InvalidArgument: if a filter is wrong, or a GeoJSON file cannot be read.
        """
        given = {name: getattr(self, name) for name in FilterOptions.model_fields}
        digest = given.pop("intersects_sha256")
        if _is_path(self.intersects):
            given["intersects"], found = _read_geojson(self.intersects, digest)
            # Written down with the other parameters; whoever reads the file later compares it.
            object.__setattr__(self, "intersects_sha256", found)
        return AssetFilter.create(**given)


class WhereOptions(Options):
    """Where to, and how."""

    output_dir: str | None = None
    """Where archive and catalog go. Empty or relative: within the directory that the run starts in;
    in the run of a deployment, which has none that stays, within the one that the Prefect variable
    mlhub_output_dir names, or the run is refused."""
    asset_output_dir: str | None = None
    """Where assets go, if elsewhere."""
    if_exists: DownloadIfExistsOpts = DownloadIfExistsOpts.resume
    """resume keeps what is complete and continues what is not; skip keeps whatever is there;
    overwrite fetches anew."""
    profile: str | None = None
    """Profile with the API key, from the profiles file of the machine that runs this."""
    api_key_block: str | None = None
    """Name of a Prefect Secret block that holds the API key."""
    unarchive: bool = True
    """Unarchive the catalog. Without it the catalog stays in its archive, and a file per item is
    saved; all else works as ever."""
    stac: Literal["copy", "inplace", "none"] = "copy"
    """Write a local STAC of the files that are here, with links to them: copy puts it into stac/,
    inplace beside the files, where the catalog must not be unarchived to (--no-unarchive)."""
    asset_db: bool = True
    """Write mlhub_stac_assets.db, the reference client's SQLite table."""
    ignore_space: bool = False
    """Begin though the disk has not the room for what is to come."""
    runner: Literal["threads", "dask"] = "threads"
    """Where a flow runs its partitions: on threads of its process, or on the workers of a Dask
    cluster, which share the connections and reach the same directories by the same paths."""
    dask_address: str | None = Field(default=None, examples=["tcp://10.0.0.5:8786"])
    """The scheduler of that cluster. Empty: processes of this machine, as many as workers."""


class TransferOptions(Options):
    """How files are fetched."""

    concurrency: int = Field(default=TransferSettings().concurrency, ge=1, le=1024)
    """Connections per host."""
    workers: int = Field(default=RunSettings().workers, ge=1, le=64)
    """Processes that fetch at most, where the catalog promises 1 GiB or more and there is a core
    for each. Else, and with 1, it is the process that asked: it does as much over any link of less
    than some 2.5 Gbit/s, and takes the least memory."""
    mirrors: dict[str, str] = Field(
        default_factory=dict,
        json_schema_extra={
            "propertyNames": {"pattern": _PUBLIC_URL},
            "additionalProperties": {"type": "string", "pattern": _PUBLIC_URL},
        },
    )
    """URL prefixes of the catalog, and where those files are fetched from instead. In a flow
    without a login: that goes into the netrc file of the machine that fetches."""
    ignore_file_size: bool = False
    """Do not compare the file:size of the catalog, where that is wrong."""
    ignore_checksum: bool = False
    """Do not compare the file:checksum of the catalog, where that is wrong."""
    alternate: list[str] | None = Field(default=None, examples=[["s3"]])
    """Names of alternate assets, the preferred one first: the first that an asset has is fetched.
    What cannot be had is asked for from the others anyway."""
    allow_local_files: bool = False
    """Copy the files of this machine that the catalog names by file: or by absolute paths, where
    the source lies on this machine itself and is trusted."""
    allow_private_hosts: bool = False
    """Let a remote source lead to this machine and to private networks, for its documents and
    assets. By default it may only where it lies there itself."""

    def settings(self, **more: Any) -> RunSettings:
        """The settings of a run.

        Args:
            **more: Those that are not about how files are fetched.

        Raises:
            InvalidArgument: if one cannot work.
        """
        transfer = TransferSettings(
            concurrency=self.concurrency,
            mirrors=tuple(self.mirrors.items()),
            ignore_file_size=self.ignore_file_size,
            ignore_checksum=self.ignore_checksum,
            alternates=tuple(self.alternate or ()),
            allow_local_files=self.allow_local_files,
            allow_private_hosts=self.allow_private_hosts,
        )
        return RunSettings(transfer=transfer, workers=self.workers, **more)


class LimitOptions(Options):
    """Caps on what comes out of a catalog archive, against archives made to do harm."""

    max_members: int = Field(default=ArchiveLimits.max_members, ge=1)
    """Cap on the members of a catalog archive."""
    max_bytes: int = Field(default=ArchiveLimits.max_bytes, ge=1)
    """Cap on the unpacked bytes of a catalog archive."""
    max_json_bytes: int = Field(default=ArchiveLimits.max_json_bytes, ge=1)
    """Cap on the bytes of one JSON file of a catalog."""
    max_depth: int = Field(default=ArchiveLimits.max_depth, ge=1)
    """Cap on the links from the root of a catalog by URL to its documents."""

    def limits(self, **more: Any) -> ArchiveLimits:
        """The caps.

        Args:
            **more: Other fields of them.
        """
        return ArchiveLimits(
            self.max_members, self.max_bytes, self.max_json_bytes, self.max_depth, **more
        )


# The fields of the last base come first.
class DownloadOptions(LimitOptions, TransferOptions, WhereOptions, FilterOptions, WhatOptions):
    """What to download, where to, and how."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.profile and self.api_key_block:
            raise InvalidArgument("profile and api_key_block exclude each other: give one of them.")
        if self.dask_address and self.runner != "dask":
            raise InvalidArgument('dask_address is given, but runner is not "dask": set both.')
        if self.intersects is not None and len(_inline(self.intersects)) > MAX_INLINE_GEOJSON:
            raise InvalidArgument(
                "intersects is too large for a parameter: put it in a file and give its path."
            )
        self.request()
        return self

    def check_public(self) -> None:
        """Check that an orchestrator can have these: no login or signature in them, no pipe.

        It keeps parameters in its database, and error texts too, for all to see; the hub's URL is
        looked at as well. And its runs have no standard input.

        Raises:
            InvalidArgument: naming what does, and where secrets go.
        """
        if self.dataset.strip() == "-":
            raise InvalidArgument(
                "dataset is -, standard input, which a flow run does not have: write the items "
                "into a file, and name that."
            )
        urls = [("dataset", self.dataset)]
        urls += [("mirrors", url) for pair in self.mirrors.items() for url in pair]
        urls += [("MLHUB_ROOT_URL", root_url()), ("dask_address", self.dask_address or "")]
        for label, url in urls:
            if has_secret(url):
                raise InvalidArgument(
                    f"{label}: {redact_url(url)} has a login or a signature in it, which Prefect "
                    "would keep for all to see. Leave it out: a login goes into the netrc file of "
                    "the machine that fetches (machine HOST login NAME password …), an API key "
                    "into MLHUB_API_KEY, a profile, or a Secret block (api_key_block)."
                )

    def request(self, *, dry_run: bool = False) -> DownloadRequest:
        """The request that the steps understand.

        Args:
            dry_run: Whether to stop when the plan is made and saved.

        Raises:
            InvalidArgument: if an option cannot work.
        """
        keep_free = 0 if self.ignore_space else ArchiveLimits.keep_free
        return DownloadRequest(
            dataset=self.dataset,
            source_type=self.source_type,
            dataset_id=self.dataset_id,
            output_dir=self.output_dir,
            asset_output_dir=self.asset_output_dir,
            catalog_only=self.catalog_only,
            if_exists=self.if_exists,
            wanted=self.wanted,
            settings=self.settings(
                limits=self.limits(keep_free=keep_free),
                unarchive=self.unarchive,
                asset_db=self.asset_db,
                check_space=not self.ignore_space,
                runner=self.runner,
                dask_address=self.dask_address,
            ),
            products={name: getattr(self, name) for name in PRODUCTS},
            allow_empty=self.allow_empty,
            strict=self.strict,
            dry_run=dry_run,
            plan=None if self.plan is None else Path(self.plan),
        )


def _is_path(shape: Any) -> bool:
    return isinstance(shape, str) and not shape.lstrip().startswith("{")


def _inline(shape: dict[str, Any] | str) -> str:
    """What of a shape travels with the parameters: all of it, or the path of its file."""
    return shape if isinstance(shape, str) else json.dumps(shape)


def _read_geojson(name: Any, sha256: str | None) -> tuple[Any, str]:
    """GeoJSON out of a file, and the file's SHA-256.

    Args:
        name: Its path.
        sha256: What that must be, None for any.

    Raises:
        InvalidArgument: if there is no such file, no JSON in it, or it is another one by now.
    """
    how = "name a file that holds a GeoJSON geometry, Feature or FeatureCollection"
    try:
        content = user_path(name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if sha256 not in (None, digest):
            raise InvalidArgument(
                f"intersects: {name} has changed since the run was set up: put the old file back, "
                "or give intersects_sha256 anew."
            )
        return json.loads(content), digest
    except FileNotFoundError as error:
        raise InvalidArgument(f"intersects: {name}: there is no such file; {how}.") from error
    except OSError as error:
        raise InvalidArgument(
            f"intersects: {name} cannot be read ({error.strerror}): {how}."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InvalidArgument(f"intersects: {name} is not JSON ({error}): {how}.") from error


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, InvalidArgument):
        return own.message
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"]
    value = first["input"]
    # Numbers alone are shown: text may be a key in the wrong place.
    given = f" is {value}" if isinstance(value, int | float) else ""
    return f"{where or 'options'}{given}: {message[:1].lower()}{message[1:]}."
