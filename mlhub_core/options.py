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

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.form import form_schema, grouped, ungrouped
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.paths import user_path
from mlhub_core.products import PRODUCTS
from mlhub_core.redact import has_secret, redact_url
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import parse_bytes
from mlhub_core.settings import ArchiveLimits, RunSettings, TransferSettings, root_url
from mlhub_core.sources import KINDS

MAX_INLINE_GEOJSON = 200_000
"""Characters of GeoJSON that travel as a parameter; Prefect refuses 512 KiB for all of them."""

_PUBLIC_URL = r"^(?![^/?#]*//[^/?#]*@)[^?#]*(\?([A-Za-z0-9_.-]+=)?)?$"
"""What Prefect's server takes for a URL without a secret, before it writes anything down."""

_TIME = (
    "^(?=.*[0-9]{4})"  # a year
    "(?!(.*[/ ])?[0-9]{4}-(00|1[3-9]|[2-9][0-9])([^0-9]|$))"  # a month of it
    "(?!(.*[/ ])?[0-9]{4}-[0-9]{2}-(00|3[2-9]|[4-9][0-9])([^0-9]|$))"  # a day of that
)
"""What may be a moment, or two of them. Whether it is one is decided where it is read."""
_PLACE = r"^(?!\s)(?!.*\s$)(?![A-Za-z][A-Za-z0-9+.-]+:)"
"""No URL, and no white space around it."""
_MORE_THAN_NONE: dict[str, Any] = {"minimum": 1}


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

    dataset: str = Field(
        min_length=1,
        title="Source",
        examples=["nasa_marine_debris", "https://earth-search.aws.element84.com/v1"],
    )
    """Id of a hub's dataset, or its DOI; or where STAC lies, which needs no hub: an archive of a
    catalog (tar, tar.gz, tar.bz2, tar.xz, tar.zst, zip), a directory, a catalog.json, a file of
    items or of stac-geoparquet, each by its path or URL, or the URL of a STAC API."""
    source_type: str | None = Field(
        default=None, title="Kind of source", json_schema_extra={"enum": list(KINDS)}
    )
    """What kind of source that is, where it does not show: archive, directory, items, parquet,
    index, static, api or mlhub."""
    dataset_id: str | None = Field(
        default=None, min_length=1, title="Name of the dataset", examples=["my_fields"]
    )
    """What the dataset is called here, which names its directory; by default what its source calls
    it."""
    catalog_only: bool = Field(default=False, title="The catalog alone")
    """Stop when the catalog is unarchived."""
    plan: str | None = Field(
        default=None,
        title="A saved plan",
        examples=["/data/demo_crops/.mlhub/plans/4f1c2a9b0d3e5f67/plan.json"],
        json_schema_extra={"pattern": "[.]json$"},
    )
    """Path of a plan.json that a dry run saved: exactly that is downloaded, without filters."""
    allow_empty: bool = Field(default=False, title="Nothing may match")
    """A filter that leaves nothing is fine; by default it fails the run."""
    strict: bool = Field(default=False, title="Fail if the catalog lacks something")
    """Fail the run if the catalog itself lacks something: items or collections that it links and
    does not hold, entries that cannot be read. By default they are counted and named."""
    demo: bool = Field(default=False, title="Demo hub")
    """Serve the demo hub for the length of the run and download from it."""


class FilterOptions(Options):
    """Which part of a dataset."""

    collection_filter: dict[str, list[str]] | None = Field(
        default=None,
        title="Collections",
        examples=["demo_crops_labels=labels,raster_labels", {"demo_crops_labels": ["labels"]}],
    )
    """Asset keys by collection id; an empty list means every key."""
    datetime: str | None = Field(
        default=None,
        title="Time",
        examples=["2016", "2016-01-01/2016-06-30"],
        json_schema_extra={"pattern": _TIME},
    )
    """A moment, day, month or year, or two of them with a slash between; '..' is an open end."""
    bbox: list[float] | None = Field(
        default=None,
        title="Place",
        examples=["34.0,-1.5,35.2,0.5"],
        json_schema_extra={"minItems": 4, "maxItems": 6},
    )
    """West, south, east, north in degrees; west greater than east crosses the antimeridian."""
    intersects: str | dict[str, Any] | None = Field(
        default=None, title="Shape", examples=["/data/region.geojson"]
    )
    """A GeoJSON geometry, Feature or FeatureCollection, or the path of a file that holds it."""
    intersects_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the file that intersects names: a run started or retried later fails if it is
    another file by then, instead of selecting something else."""
    intersects_with: Literal["bbox", "geometry"] = Field(
        default="bbox", title="What of an item must touch the shape"
    )
    """Whether intersects is tested against the bounding box of items or their geometry."""
    media_type: list[str] | None = Field(
        default=None, title="Media types", examples=["image/tiff", "image/*"]
    )
    """Only assets of these media types; image/* stands for all that begin so."""
    role: list[str] | None = Field(default=None, title="Roles", examples=["data"])
    """Only assets with one of these roles."""
    band: list[str] | None = Field(default=None, title="Bands", examples=["red", "B04"])
    """Only assets with one of these bands, by name (B04) or common name (red)."""
    where: str | None = Field(default=None, title="Condition", examples=["eo:cloud_cover < 10"])
    """A condition on the properties of items, CQL2 text."""
    sample: int | None = Field(
        default=None,
        title="Items by chance",
        examples=[100],
        json_schema_extra=_MORE_THAN_NONE,
    )
    """So many items, chosen at random; the same seed chooses the same ones."""
    seed: int = Field(default=0, title="Seed of the chance")
    """Another one chooses another sample."""
    limit: int | None = Field(
        default=None, title="First items", examples=[100], json_schema_extra=_MORE_THAN_NONE
    )
    """So many items, the first ones of the index."""
    with_sources: bool = Field(default=False, title="With the imagery of the labels")
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

    output_dir: str | None = Field(
        default=None,
        title="Where to",
        examples=["~/mlhub-data"],
        json_schema_extra={"pattern": _PLACE},
    )
    """Where archive and catalog go. Empty or relative: within the directory that the run starts in;
    in the run of a deployment, which has none that stays, within the one that the Prefect variable
    mlhub_output_dir names, or the run is refused."""
    asset_output_dir: str | None = Field(
        default=None,
        title="Where the assets go",
        examples=["/large-disk/mlhub"],
        json_schema_extra={"pattern": _PLACE},
    )
    """Where assets go, if elsewhere."""
    if_exists: DownloadIfExistsOpts = Field(
        default=DownloadIfExistsOpts.resume, title="If a file is here already"
    )
    """resume keeps what is complete and continues what is not; skip keeps whatever is there;
    overwrite fetches anew."""
    profile: str | None = Field(default=None, title="Profile", examples=["default"])
    """Profile with the API key, from the profiles file of the machine that runs this."""
    api_key_block: str | None = Field(
        default=None,
        title="Secret block with the API key",
        examples=["mlhub-api-key"],
        json_schema_extra={"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
    )
    """Name of a Prefect Secret block that holds the API key."""
    unarchive: bool = Field(default=True, title="Unarchive the catalog")
    """Unarchive the catalog. Without it the catalog stays in its archive, and a file per item is
    saved; all else works as ever."""
    stac: Literal["copy", "inplace", "none"] = Field(default="copy", title="Local STAC")
    """Write a local STAC of the files that are here, with links to them: copy puts it into stac/,
    inplace beside the files, where the catalog must not be unarchived to (--no-unarchive)."""
    asset_db: bool = Field(default=True, title="SQLite table")
    """Write mlhub_stac_assets.db, the reference client's SQLite table."""
    ignore_space: bool = Field(default=False, title="Begin without room")
    """Begin though the disk has not the room for what is to come."""
    runner: Literal["threads", "dask"] = Field(default="threads", title="Where partitions run")
    """Where a flow runs its partitions: on threads of its process, or on the workers of a Dask
    cluster, which share the connections and reach the same directories by the same paths."""
    dask_address: str | None = Field(
        default=None,
        title="Scheduler",
        examples=["tcp://10.0.0.5:8786"],
        json_schema_extra={"pattern": "^[a-z]+://[^@?#]+$"},
    )
    """The scheduler of that cluster. Empty: processes of this machine, as many as workers."""


class TransferOptions(Options):
    """How files are fetched."""

    concurrency: int = Field(
        default=TransferSettings().concurrency, ge=1, le=1024, title="Connections"
    )
    """Connections per host."""
    workers: int = Field(default=RunSettings().workers, ge=1, le=64, title="Processes")
    """Processes that fetch at most, where the catalog promises 1 GiB or more and there is a core
    for each. Else, and with 1, it is the process that asked: it does as much over any link of less
    than some 2.5 Gbit/s, and takes the least memory."""
    mirrors: dict[str, str] = Field(
        default_factory=dict,
        title="Mirrors",
        examples=[{"https://old.example/data/": "https://new.example/copy/"}],
        json_schema_extra={
            "propertyNames": {"pattern": _PUBLIC_URL},
            "additionalProperties": {"type": "string", "pattern": _PUBLIC_URL},
        },
    )
    """URL prefixes of the catalog, and where those files are fetched from instead. In a flow
    without a login: that goes into the netrc file of the machine that fetches."""
    ignore_file_size: bool = Field(default=False, title="Sizes of the catalog are wrong")
    """Do not compare the file:size of the catalog, where that is wrong."""
    ignore_checksum: bool = Field(default=False, title="Checksums of the catalog are wrong")
    """Do not compare the file:checksum of the catalog, where that is wrong."""
    alternate: list[str] | None = Field(default=None, title="Alternate assets", examples=["s3"])
    """Names of alternate assets, the preferred one first: the first that an asset has is fetched.
    What cannot be had is asked for from the others anyway."""
    allow_local_files: bool = Field(default=False, title="Files of this machine")
    """Copy the files of this machine that the catalog names by file: or by absolute paths, where
    the source lies on this machine itself and is trusted."""
    allow_private_hosts: bool = Field(default=False, title="Private networks")
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

    max_members: int = Field(default=ArchiveLimits.max_members, ge=1, title="Members of an archive")
    """Cap on the members of a catalog archive."""
    max_bytes: int = Field(default=ArchiveLimits.max_bytes, ge=1, title="Bytes out of an archive")
    """Cap on the unpacked bytes of a catalog archive."""
    max_json_bytes: int = Field(
        default=ArchiveLimits.max_json_bytes, ge=1, title="Bytes of one JSON file"
    )
    """Cap on the bytes of one JSON file of a catalog."""
    max_depth: int = Field(default=ArchiveLimits.max_depth, ge=1, title="Links from the root")
    """Cap on the links from the root of a catalog by URL to its documents."""

    def limits(self, **more: Any) -> ArchiveLimits:
        """The caps.

        Args:
            **more: Other fields of them.
        """
        return ArchiveLimits(
            self.max_members, self.max_bytes, self.max_json_bytes, self.max_depth, **more
        )


class ApprovalOptions(Options):
    """What is decided before the first file is fetched."""

    dry_run: bool = Field(default=False, title="Dry run")
    """Show the plan and fetch nothing; the last line is the plan's path."""
    approve_above: str | None = Field(
        default=None,
        title="Approval above",
        examples=["10 GB"],
        json_schema_extra={"pattern": "^ *[0-9]+([.][0-9]+)? *([kKMGTP]?B)? *$"},
    )
    """A run that would fetch more bytes shows its plan and waits until somebody presses Resume."""

    @property
    def approved_bytes(self) -> int | None:
        """What may be fetched without approval; None for any number of bytes.

        Raises:
            InvalidArgument: if that is no size.
        """
        return None if self.approve_above is None else parse_bytes(self.approve_above)


# The fields of the last base come first.
class DownloadOptions(
    ApprovalOptions, LimitOptions, TransferOptions, WhereOptions, FilterOptions, WhatOptions
):
    """What to download, where to, and how."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        return ungrouped(given, cls._defaults())

    @model_serializer(mode="wrap")
    def _as_parameters(
        self, flat: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        # By alias is how Prefect writes parameters down, for people to read: as the form has them.
        fields: dict[str, Any] = flat(self)
        return grouped(fields, self._defaults()) if info.by_alias else fields

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        fields = cls.model_fields.items()
        return {name: field.get_default(call_default_factory=True) for name, field in fields}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of the form, in place of that of the flat fields."""
        made = handler(core_schema)
        schema = handler.resolve_ref_schema(made)
        form = form_schema(schema)
        schema.clear()
        schema.update(form)
        return made

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.profile and self.api_key_block:
            raise InvalidArgument("profile and api_key_block exclude each other: give one of them.")
        self.approved_bytes  # noqa: B018 - read, to be refused in time
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

    def request(self) -> DownloadRequest:
        """The request that the steps understand.

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
            dry_run=self.dry_run,
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
