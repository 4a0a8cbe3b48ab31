"""Writes samples as tar shards in the WebDataset convention, and an index of them.

What goes into which shard is known before the first byte is written, from the sizes in the ledger.
So the same input gives the same bytes, the room on disk is checked first, and an export that was
killed goes on: a shard that is whole is kept, after a look at its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from mlhub_core.exceptions import InvalidArgument, StorageError, storage_error, storage_errors
from mlhub_core.net.body import digest_file
from mlhub_core.paths import STATE_DIRECTORY, DownloadPaths, safe_name
from mlhub_core.products.publishing import replace_file
from mlhub_core.products.samples import Sample, SampleFile, Samples
from mlhub_core.progress import Progress, ProgressSink, Stage
from mlhub_core.room import not_enough, space_of
from mlhub_core.selection.plan import counted, format_bytes
from mlhub_core.state import open_state, read_state, write_state
from mlhub_core.threads import StopFlag

INDEX_NAME = "index.json"
_EXPORT_NAME = "export.json"
"""In the state directory of an export: what it was made of."""
_SHARDS_NAME = "shards.jsonl"
"""In the state directory of an export: the shards that are whole, a line each."""
_VERSION = 1
_CHUNK = 1 << 20
_BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
_MODE = 0o644
_NAME = re.compile(r"[^/]+-[0-9]{6,}\.tar")


@dataclass(frozen=True)
class ExportPaths(DownloadPaths):
    """The paths of an export: a directory like that of a dataset, with a state of its own.

    Attributes:
        output: The directory.
    """

    output: Path = field(default=Path(), kw_only=True)

    @classmethod
    def at(cls, output: Path) -> ExportPaths:
        """Those of an export in a directory."""
        return cls(output.parent, output.parent, output.name, output=output)

    @property
    def asset_dir(self) -> Path:
        """The directory."""
        return self.output

    @property
    def state_dir(self) -> Path:
        """What is no shard."""
        return self.output / STATE_DIRECTORY


class Shard(NamedTuple):
    """A shard, planned or there.

    Attributes:
        name: Of its file.
        samples: How many.
        files: How many, the descriptions of samples not counted.
        bytes: Of the tar file.
        content: Digest of what goes into it.
        sha256: Digest of the tar file, empty where it is not there yet.
    """

    name: str
    samples: int
    files: int
    bytes: int
    content: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        path: The directory of shards, or the file.
        samples: Samples, rows or items.
        files: Files in them.
        shards: How many.
        bytes: Of all shards.
        written: Shards that this run wrote; the others were there.
        unchecked: Files whose digest the ledger does not know, which were compared by length.
        damaged: Files that are left out, for the ledger knows them as damaged.
        of: What ``samples`` counts.
    """

    path: Path
    samples: int
    files: int = 0
    shards: int = 0
    bytes: int = 0
    written: int = 0
    unchecked: int = 0
    damaged: int = 0
    of: str = "sample"

    def describe(self) -> list[str]:
        """What people are told."""
        lines = [f"{self.path}: {counted(self.samples, self.of)}"]
        if self.shards:
            written = f"{self.written:,} written" if self.written else "unchanged"
            size = format_bytes(self.bytes)
            lines[0] += f" in {counted(self.shards, 'shard')} ({size}), {written}"
        return lines + self.shortcomings()

    def shortcomings(self) -> list[str]:
        """What is left out, or could not be checked."""
        lines = []
        if self.unchecked:
            lines.append(
                f"{counted(self.unchecked, 'file')} had no checksum to be compared with, only a "
                "length"
            )
        if self.damaged:
            lines.append(
                f"{counted(self.damaged, 'damaged file')} left out: `mlhub verify --repair` "
                "fetches them again"
            )
        return lines


def check_output(output: Path, dataset_id: str, options: dict[str, Any]) -> None:
    """Check that a directory can take an export, before any work.

    Raises:
        InvalidArgument: if it holds something else, or another export.
        StorageError: if it cannot be read.
    """
    state = read_state(ExportPaths.at(output).state_dir / _EXPORT_NAME)
    if state is None:
        with storage_errors(f"read {output}"):
            held = sorted(os.listdir(output)) if output.exists() else []
        held = [name for name in held if name != STATE_DIRECTORY]
        if held:
            raise InvalidArgument(
                f"{output} holds {held[0]} and no export of ours: name a new directory."
            )
        return
    wanted = {"dataset": dataset_id, **options}
    for name in sorted(wanted.keys() | (state.keys() - {"version"})):
        if state.get(name) != wanted.get(name):
            raise InvalidArgument(
                f"{output} holds an export with {name} {json.dumps(state.get(name))}, not "
                f"{json.dumps(wanted.get(name))}: name another directory."
            )


def write_shards(
    samples: Samples,
    paths: DownloadPaths,
    export: ExportPaths,
    options: dict[str, Any],
    max_size: int,
    stop: StopFlag,
    on_progress: ProgressSink,
) -> Exported:
    """Write samples as shards, those that are there and whole left alone.

    Args:
        samples: All samples, ready to be read.
        paths: The download.
        export: Where the shards go, its lock held.
        options: What the export was asked for, for the next run to compare.
        max_size: Bytes of a shard, unless a single sample takes more.
        stop: Looked at between files.
        on_progress: Told how many samples are done.

    Raises:
        StorageError: if the disk refuses or has not the room, or a file is not what the ledger
            says: it names that.
        Interrupted: if ``stop`` is set; shards that are whole are kept.
    """
    plan = list(_plan(samples, paths, max_size))
    known = {shard.name: shard for shard in _recorded(export)}
    made_from = {"version": _VERSION, "dataset": paths.dataset_id, **options}
    if read_state(export.state_dir / _EXPORT_NAME) != made_from:
        write_state(export.state_dir / _EXPORT_NAME, made_from)
    total = sum(shard.samples for shard in plan)
    kept = {
        shard.name: found
        for shard in plan
        if (found := known.get(shard.name)) is not None
        and found._replace(sha256="") == shard
        and _is_whole(export.output / shard.name, found, stop)
    }
    missing = [shard for shard in plan if shard.name not in kept]
    _check_room(export.output, missing)
    if missing:
        (export.output / INDEX_NAME).unlink(missing_ok=True)
    _sweep(export)
    _record(export, known.values())
    writer = _Writer(paths, export, stop)
    done: list[Shard] = []
    for shard, members in _in_shards(plan, samples):
        there = kept.get(shard.name)
        if there is None:
            there = writer.write(shard, members)
        done.append(there)
        on_progress(Progress(Stage.EXPORT, sum(one.samples for one in done), total))
    for name in known.keys() - {shard.name for shard in done}:
        (export.output / name).unlink(missing_ok=True)
    _record(export, done)
    _write_index(export.output, paths.dataset_id, done)
    on_progress(Progress(Stage.EXPORT, total, total, finished=True))
    return Exported(
        export.output,
        total,
        sum(shard.files for shard in done),
        len(done),
        sum(shard.bytes for shard in done),
        len(missing),
        unchecked=writer.unchecked,
        damaged=len(samples.damaged),
    )


def _plan(samples: Iterable[Sample], paths: DownloadPaths, max_size: int) -> Iterator[Shard]:
    """Which shards there will be: each takes samples until the next one would not fit."""
    stem = safe_name(paths.dataset_id)
    number = count = files = size = 0
    digest = hashlib.sha256()
    for sample in samples:
        members = _members(sample)
        own = sum(len(_header(name, length)) + _padded(length) for name, length, _ in members)
        if count and _whole(size + own) > max_size:
            name = f"{stem}-{number:06d}.tar"
            yield Shard(name, count, files, _whole(size), digest.hexdigest())
            number, count, files, size = number + 1, 0, 0, 0
            digest = hashlib.sha256()
        for name, length, content in members:
            digest.update(f"{name}\n{length}\n{_identity(content, paths)}\n".encode())
        count, files, size = count + 1, files + len(sample.files), size + own
    if count:
        name = f"{stem}-{number:06d}.tar"
        yield Shard(name, count, files, _whole(size), digest.hexdigest())


Member = tuple[str, int, SampleFile | bytes]


def _members(sample: Sample) -> list[Member]:
    """The members of a sample: their names, lengths, and where they come from."""
    described = {
        file.field: {
            **file.about,
            "path": file.path,
            "size": file.size,
            **({"sha256": file.sha256} if file.sha256 else {}),
        }
        for file in sample.files
    }
    licenses = {one["license"] for one in described.values() if "license" in one}
    facts = {**sample.facts, **({"license": licenses.pop()} if len(licenses) == 1 else {})}
    text = orjson.dumps({**facts, "files": described}, option=orjson.OPT_INDENT_2)
    members: list[Member] = [(f"{sample.key}.json", len(text), text)]
    members += [(f"{sample.key}.{file.field}", file.size, file) for file in sample.files]
    return members


def _identity(content: SampleFile | bytes, paths: DownloadPaths) -> str:
    """What tells the content of a member from another one of its length."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    if content.sha256:
        return content.sha256
    path = paths.asset_dir / content.path
    with storage_errors(f"read {path}"):
        return f"changed {path.stat().st_mtime_ns}"


def _header(name: str, size: int) -> bytes:
    """The header of a member, the same whoever writes it, whenever."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, _MODE, 0
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _whole(size: int) -> int:
    """How long a tar file is whose members take so many bytes: two empty blocks end it."""
    return -(-(size + 2 * _BLOCK) // _RECORD) * _RECORD


def _in_shards(
    plan: list[Shard], samples: Iterable[Sample]
) -> Iterator[tuple[Shard, Iterator[Sample]]]:
    """Each shard with its samples."""
    places = (shard for shard in plan for _ in range(shard.samples))
    pairs = zip(places, samples, strict=True)
    for shard, group in groupby(pairs, key=lambda pair: pair[0]):
        yield shard, (sample for _, sample in group)


class _Writer:
    """Writes shards, each under another name until it is whole.

    Args:
        paths: The download.
        export: Where to.
        stop: Looked at between files.
    """

    def __init__(self, paths: DownloadPaths, export: ExportPaths, stop: StopFlag) -> None:
        self._paths = paths
        self._export = export
        self._stop = stop
        self.unchecked = 0

    def write(self, shard: Shard, samples: Iterable[Sample]) -> Shard:
        """Write a shard; as it is then."""
        part = self._export.state_dir / f"{shard.name}.part"
        place = self._export.output / shard.name
        digest = hashlib.sha256()
        with storage_errors(f"write {place}"):
            with open_state(part, "wb") as file:
                out = _Digesting(file, digest)
                for sample in samples:
                    for name, size, content in _members(sample):
                        self._stop.check()
                        out.write(_header(name, size))
                        self._write_content(out, content)
                        out.write(bytes(_padded(size) - size))
                out.write(bytes(shard.bytes - out.count))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, place)
        made = shard._replace(sha256=digest.hexdigest())
        _append(self._export, made)
        return made

    def _write_content(self, out: _Digesting, content: SampleFile | bytes) -> None:
        if isinstance(content, bytes):
            out.write(content)
            return
        path = self._paths.asset_dir / content.path
        digest, count = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    count += len(chunk)
                    if count > content.size:
                        break
                    digest.update(chunk)
                    out.write(chunk)
        except OSError as error:
            if error.filename is None:
                raise  # of what is written
            raise storage_error(f"read {path}", error) from error
        if count != content.size:
            raise self._differs(path, f"{content.size:,} bytes")
        if content.sha256 is None:
            self.unchecked += 1
        elif digest.hexdigest() != content.sha256:
            raise self._differs(path, f"another SHA-256 ({content.sha256[:12]}…)")

    def _differs(self, path: Path, what: str) -> StorageError:
        return StorageError(
            f"{path} is not what was downloaded: it had {what}. "
            f"`mlhub verify {self._paths.asset_dir} --repair` fetches it again; then the same "
            "command goes on."
        )


class _Digesting:
    """A file that is digested and counted as it is written."""

    def __init__(self, file: BinaryIO, digest: Any) -> None:
        self._file = file
        self._digest = digest
        self.count = 0

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.count += len(content)


def _is_whole(path: Path, shard: Shard, stop: StopFlag) -> bool:
    """Whether a shard is as it was written."""
    try:
        if path.stat().st_size != shard.bytes:
            return False
    except OSError:
        return False
    with storage_errors(f"read {path}"):
        return digest_file(str(path), ["sha256"], stop.check)["sha256"] == shard.sha256


def _check_room(output: Path, missing: list[Shard]) -> None:
    space = space_of(output)
    needed = sum(shard.bytes for shard in missing)
    if space is not None and needed > space[0]:
        raise not_enough(
            f"Not enough room in {output}: {format_bytes(needed)} are to be written, "
            f"{format_bytes(space[0])} are free. Make room, or name another directory."
        )


def _sweep(export: ExportPaths) -> None:
    """Remove the parts of shards that a kill left."""
    with storage_errors(f"tidy {export.state_dir}"):
        for name in os.listdir(export.state_dir):
            if name.endswith(".tar.part"):
                (export.state_dir / name).unlink()


def _recorded(export: ExportPaths) -> Iterator[Shard]:
    """The shards that earlier runs wrote; a torn line, as a kill leaves it, is none."""
    path = export.state_dir / _SHARDS_NAME
    if not path.exists():
        return
    with storage_errors(f"read {path}"), open_state(path, "rb") as lines:
        for line in lines:
            with suppress(ValueError, TypeError):
                shard = Shard(**orjson.loads(line))
                if _NAME.fullmatch(shard.name):
                    yield shard


def _append(export: ExportPaths, shard: Shard) -> None:
    path = export.state_dir / _SHARDS_NAME
    with storage_errors(f"write {path}"), open_state(path, "ab") as file:
        file.write(b"\n" + orjson.dumps(shard._asdict()) + b"\n")  # after a torn line, too


def _record(export: ExportPaths, shards: Iterable[Shard]) -> None:
    """Write down which shards there are."""
    text = b"".join(orjson.dumps(shard._asdict()) + b"\n" for shard in shards)
    replace_file(export.state_dir / _SHARDS_NAME, text)


def _write_index(output: Path, dataset_id: str, shards: list[Shard]) -> None:
    index = {
        "dataset": dataset_id,
        "format": "webdataset",
        "samples": sum(shard.samples for shard in shards),
        "files": sum(shard.files for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "shards": [
            {
                "name": shard.name,
                "samples": shard.samples,
                "files": shard.files,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
            }
            for shard in shards
        ],
    }
    replace_file(output / INDEX_NAME, orjson.dumps(index, option=orjson.OPT_INDENT_2) + b"\n")
