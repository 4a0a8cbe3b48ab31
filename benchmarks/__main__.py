"""Downloads one generated dataset by turns with the reference client and with ours.

Both run as whole processes, from the hub's answer to the last file, into empty directories, against
the same hub (``mlhub serve``) in a process of its own. What is compared is the ratio within one
run: the machine's own speed drifts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATASET = "bench_chips"
COLLECTION = "bench_chips_source"
_OURS = (
    "import sys; from mlhub_core import Dataset; "
    "Dataset.fetch(sys.argv[1]).download(sys.argv[2], progress=False)"
)
_REFERENCE = (
    "import sys; from radiant_mlhub import Dataset; "
    "Dataset.fetch(sys.argv[1]).download(sys.argv[2])"
)


def generate(root: Path, items: int, base_url: str) -> int:
    """Write a hub directory: three bands an item, 4 to 60 kB each.

    Returns:
        The number of asset files.
    """
    numbers = random.Random(20201123)
    noise = numbers.randbytes(200_000)
    bands = ("B02", "B03", "B04")
    for folder in ("datasets", "collections", "catalogs", "assets"):
        (root / folder).mkdir(parents=True)
    with tarfile.open(root / "catalogs" / f"{DATASET}.tar.gz", "w:gz", compresslevel=1) as archive:
        _add(archive, f"{DATASET}/catalog.json", {"type": "Catalog", "id": DATASET, "links": []})
        _add(archive, f"{DATASET}/{COLLECTION}/collection.json", _collection())
        for number in range(items):
            item_id = f"chip_{number:06d}"
            folder = root / "assets" / f"{number // 1000:03d}"
            folder.mkdir(exist_ok=True)
            assets = {}
            for band in bands:
                start, size = numbers.randrange(100_000), numbers.randrange(4_000, 60_000)
                path = folder / f"{item_id}_{band}.tif"
                path.write_bytes(noise[start : start + size])
                assets[band] = {"href": f"{base_url}{folder.name}/{path.name}"}
            west = -180 + number % 3500 / 10
            member = f"{DATASET}/{COLLECTION}/{item_id}/{item_id}.json"
            _add(archive, member, _item(item_id, west, assets))
    listed = [{"id": COLLECTION, "types": ["source_imagery"]}]
    dataset = {"id": DATASET, "title": "Chips", "collections": listed}
    (root / "datasets" / "d.json").write_text(json.dumps(dataset))
    (root / "collections" / "c.json").write_text(json.dumps(_collection()))
    return items * len(bands)


def _collection() -> dict[str, object]:
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    return {
        "type": "Collection",
        "id": COLLECTION,
        "stac_version": "1.0.0",
        "description": "Generated",
        "license": "CC0-1.0",
        "extent": extent,
        "links": [],
    }


def _item(item_id: str, west: float, assets: dict[str, dict[str, str]]) -> dict[str, object]:
    ring = [[west, 0], [west + 0.1, 0], [west + 0.1, 0.1], [west, 0.1], [west, 0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, 0, west + 0.1, 0.1],
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
        "links": [],
        "assets": assets,
    }


def _add(archive: tarfile.TarFile, name: str, content: dict[str, object]) -> None:
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


@contextmanager
def hub(root: Path, port: int) -> Iterator[str]:
    """Serve a directory in a process of its own."""
    command = [sys.executable, "-m", "mlhub_core.cli", "serve", str(root), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
        yield f"http://127.0.0.1:{port}/mlhub/v1/"
    finally:
        process.terminate()
        process.wait()


def run(python: str, script: str, target: Path, root_url: str, *, anew: bool = True) -> float:
    """Run one client; seconds of wall time.

    Raises:
        SystemExit: if the client fails.
    """
    if anew and target.exists():
        subprocess.run(["rm", "-rf", str(target)], check=True)
    environment = {**os.environ, "MLHUB_ROOT_URL": root_url, "MLHUB_API_KEY": "none"}
    started = time.perf_counter()
    done = subprocess.run(
        [python, "-c", script, DATASET, str(target)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-2000:]}")
    return seconds


def main() -> int:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--items", type=int, default=3000, help="three files each")
    parser.add_argument("--runs", type=int, default=3, help="of each client, by turns")
    parser.add_argument("--directory", help="where to work; default: /dev/shm where there is one")
    parser.add_argument("--port", type=int, default=8799)
    options = parser.parse_args()
    reference = Path(__file__).parent.parent / ".venv-reference" / "bin" / "python"
    if not reference.exists():
        print("There is no reference client: it needs Python 3.11 (scripts/reference_venv.py).")
        return 1
    memory = Path("/dev/shm")
    directory = options.directory or (memory if memory.is_dir() else None)
    with tempfile.TemporaryDirectory(dir=directory, prefix="mlhub-bench-") as scratch:
        work = Path(scratch)
        base_url = f"http://127.0.0.1:{options.port}/files/assets/"
        files = generate(work / "hub", options.items, base_url)
        print(
            f"{files} files of 4 to 60 kB, {options.runs} runs of each client by turns", flush=True
        )
        clients = {"reference": (str(reference), _REFERENCE), "ours": (sys.executable, _OURS)}
        cold: dict[str, list[float]] = {name: [] for name in clients}
        warm: dict[str, list[float]] = {name: [] for name in clients}
        with hub(work / "hub", options.port) as root_url:
            for _ in range(options.runs):
                for name, (python, script) in clients.items():
                    target = work / name
                    cold[name].append(run(python, script, target, root_url))
                    warm[name].append(run(python, script, target, root_url, anew=False))
    for title, times in (("download", cold), ("complete re-run", warm)):
        print(f"\n{title}: files a second, as min / median / max of whole processes")
        for name, seconds in times.items():
            rates = sorted(files / one for one in seconds)
            print(f"  {name:<10} {rates[0]:9.0f} {statistics.median(rates):9.0f} {rates[-1]:9.0f}")
        ratios = [
            slow / quick for slow, quick in zip(times["reference"], times["ours"], strict=True)
        ]
        print(f"  ours is {statistics.median(ratios):.1f} times as fast, the median of the pairs")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"\nThe largest process of all took {peak} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
