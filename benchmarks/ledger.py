"""The ledger with millions of entries: what each thing that is done with it takes per entry.

Every phase is a process of its own, so that the peak of memory is the phase's. The entries are
those of 64 partitions, four assets to an item. ``--shuffled`` lets the items come in random order,
as they do in an archive that was made of a directory listing.

``--files N`` checks a download of N files, hard links to a thousand files of 4 kB, with
``mlhub verify``'s own steps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlhub_core.paths import DownloadPaths
from mlhub_core.transfer.findings import Findings
from mlhub_core.transfer.ledger import (
    Entry,
    LedgerReader,
    LedgerWriter,
    State,
    entries,
    merge_journals,
)
from mlhub_core.transfer.unrecorded import check_unrecorded
from mlhub_core.transfer.verify import check_recorded

_PARTITIONS = 64
_PER_ITEM = 4
_BATCH = 2_000
_SOURCES = 1_000
_DATASET = "bench"


def save_paths(count: int, partition: int, *, shuffled: bool) -> Iterator[str]:
    """The paths of one partition, in the order of the index."""
    items = range(count // _PER_ITEM)
    # A fixed permutation of the items that needs no list: the step has no divisor of the count.
    step = 1 if not shuffled else _coprime(len(items))
    first = len(items) * partition // _PARTITIONS
    last = len(items) * (partition + 1) // _PARTITIONS
    for number in range(first, last):
        item = number * step % len(items)
        for key in range(_PER_ITEM):
            yield f"bench_source/bench_source_chip_{item:09d}/B{key + 1:02d}.tif"


def _coprime(count: int) -> int:
    from math import gcd

    step = random.Random(1).randrange(count // 3, count // 2)
    while gcd(step, count) != 1:
        step += 1
    return step


def _entry(path: str) -> Entry:
    digest = hashlib.sha256(path.encode()).hexdigest()
    modified = "Mon, 23 Nov 2026 03:48:17 GMT"
    source = digest[:16]
    return Entry(path, 32_768, digest, f'"{digest[:32]}"', modified, source, State.VERIFIED, 1.5)


def write(directory: Path, count: int, shuffled: bool) -> None:
    for partition in range(_PARTITIONS):
        writer = LedgerWriter(directory, partition)
        for path in save_paths(count, partition, shuffled=shuffled):
            writer.add(_entry(path))
        writer.close()


def merge(directory: Path, count: int, shuffled: bool) -> None:
    assert merge_journals(directory) == count // _PER_ITEM * _PER_ITEM


def merge_more(directory: Path, count: int, shuffled: bool) -> None:
    """A later run that fetched a hundredth of the files."""
    writer = LedgerWriter(directory, 1)
    for number, path in enumerate(save_paths(count, 1, shuffled=shuffled)):
        if number < count // 100:
            writer.add(_entry(path))
    writer.close()
    merge_journals(directory)


def look_up(directory: Path, count: int, shuffled: bool) -> None:
    found = 0
    for partition in range(_PARTITIONS):
        reader = LedgerReader(directory, partition=partition)
        batch: list[str] = []
        for path in save_paths(count, partition, shuffled=shuffled):
            batch.append(path)
            if len(batch) == _BATCH:
                found += len(reader.find(batch))
                batch.clear()
        found += len(reader.find(batch))
        reader.close()
    assert found == count // _PER_ITEM * _PER_ITEM


def scan(directory: Path, count: int, shuffled: bool) -> None:
    assert sum(1 for _ in entries(directory)) == count // _PER_ITEM * _PER_ITEM


def lay_files(directory: Path, count: int, shuffled: bool) -> None:
    """Files for all entries, and a ledger that knows them."""
    paths = DownloadPaths.of(_DATASET, directory)
    sources = directory / "sources"
    sources.mkdir()
    known = []
    for number in range(_SOURCES):
        data = number.to_bytes(8) * 512
        (sources / str(number)).write_bytes(data)
        known.append(hashlib.sha256(data).hexdigest())
    made = ""
    for partition in range(_PARTITIONS):
        writer = LedgerWriter(paths.ledger_dir, partition)
        for number, path in enumerate(save_paths(count, partition, shuffled=False)):
            full = f"{paths.asset_dir}/{path}"
            folder = os.path.dirname(full)
            if folder != made:
                os.makedirs(folder)
                made = folder
            os.link(sources / str(number % _SOURCES), full)
            digest = known[number % _SOURCES]
            writer.add(Entry(path, 4096, digest, None, None, "", State.VERIFIED, 1.5))
        writer.close()
    merge_journals(paths.ledger_dir)


def check_files(directory: Path, count: int, shuffled: bool) -> None:
    """Every file that the ledger knows, then every file that it does not."""
    paths = DownloadPaths.of(_DATASET, directory)
    with Findings(paths.state_dir / "findings.csv") as findings:
        files, _, _ = check_recorded(paths, findings)
        check_unrecorded(paths, None, findings)
    assert files == count // _PER_ITEM * _PER_ITEM
    assert not findings.counts


_Phase = Callable[[Path, int, bool], None]
_PHASES: dict[str, _Phase] = {
    "write": write,
    "merge": merge,
    "look up all, in order of partitions": look_up,
    "read all, in order of paths": scan,
    "a later run: write and merge 1 %": merge_more,
}
_FILE_PHASES: dict[str, _Phase] = {"(files made)": lay_files, "check files": check_files}


def main() -> int:
    """Run all phases, or one, in this process, when its name and directory are given."""
    options = _parser().parse_args()
    phases = _FILE_PHASES if options.files else _PHASES
    count = options.files or options.entries
    if options.phase:
        before = time.process_time()
        started = time.perf_counter()
        phases[options.phase](Path(options.directory), count, options.shuffled)
        took = (time.perf_counter() - started, time.process_time() - before)
        print(json.dumps(took))
        return 0
    order = "items in random order" if options.shuffled else "items in order"
    print(f"{count:,} {'files' if options.files else 'entries'}, {order}\n")
    print("| | seconds | CPU per entry | peak memory |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="mlhub-ledger-") as scratch:
        for name in phases:
            command = [sys.executable, "-m", "benchmarks.ledger", *sys.argv[1:]]
            command += ["--phase", name, "--directory", scratch]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                return 1
            seconds, cpu = json.loads(said)
            each = cpu / count * 1_000_000
            print(f"| {name} | {seconds:.1f} | {each:.2f} µs | {usage.ru_maxrss // 1024:,} MB |")
            sys.stdout.flush()
        sizes = [path.stat().st_size for path in Path(scratch).rglob("ledger.sqlite")]
        print(f"\nTable: {sum(sizes) / count:.0f} bytes per entry.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, help="check so many files instead")
    parser.add_argument("--shuffled", action="store_true", help="items in random order")
    parser.add_argument("--directory", help="where to work; default: that for temporary files")
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
