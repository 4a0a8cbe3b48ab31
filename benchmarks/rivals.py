"""Who takes part: the command of each, and what it costs to run it."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generate import DATASET, Served
from benchmarks.memory import Peak
from benchmarks.nginx import Nginx
from benchmarks.shapes import Shape

_REFERENCE = (
    "import sys; from radiant_mlhub import Dataset; "
    "Dataset.fetch(sys.argv[1]).download(sys.argv[2])"
)
_OURS = (
    "import sys; from mlhub_core import Dataset; "
    "from mlhub_core.settings import RunSettings, TransferSettings; "
    "settings = RunSettings(transfer=TransferSettings(concurrency=int(sys.argv[3]))); "
    "Dataset.fetch(sys.argv[1]).download(sys.argv[2], progress=False, settings=settings)"
)
TITLES = {
    "ours": "`Dataset.download()`",
    "transfer": "our transfer alone",
    "transfer-2": "the same, two processes",
    "reference": "radiant-mlhub 0.5.5",
    "curl": "`curl --parallel --http1.1`",
    "curl-2": "`curl --parallel --http2`",
    "cp": "`cp -r`",
    "flow": "`python -m flows.download_dataset`",
}
"""In the order in which they run."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took.

    Attributes:
        seconds: Of the clock.
        cpu: Seconds of processor time, user and system, of all its processes.
        peak: Kilobytes of memory at most, of all its processes together.
        requests: Seen by the asset server.
        connections: Seen by the asset server.
    """

    seconds: float
    cpu: float
    peak: int
    requests: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Course:
    """Everything that a rival needs to know.

    Attributes:
        shape: What is downloaded.
        served: Where it lies.
        hub: The server of metadata and catalog.
        assets: The server of the files.
        target: Where the copies go.
        reference: The reference client's Python.
    """

    shape: Shape
    served: Served
    hub: Nginx
    assets: Nginx
    target: Path
    reference: Path | None


_PROJECT = Path(__file__).resolve().parents[1]


def compile_ours() -> None:
    """Compile our modules, as pip does with those that it installs: a checkout's are not."""
    for package in ("mlhub_core", "tasks", "flows", "benchmarks"):
        compileall.compile_dir(_PROJECT / package, quiet=1)


def run(name: str, course: Course, *, anew: bool = True) -> Cost:
    """Let a rival download everything.

    Args:
        name: Who.
        course: What.
        anew: Into an empty directory; else into the one of the run before.

    Raises:
        SystemExit: if it fails, or not all is there afterwards.
    """
    target = course.target / name
    if anew and target.exists():
        shutil.rmtree(target)
    tree = target if name in ("curl", "curl-2", "cp") else target / DATASET
    if name == "cp":
        target.parent.mkdir(parents=True, exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
    before = course.assets.counters()
    said = target.parent / f"{name}.out"
    cost = _timed(
        _command(name, course, target),
        target.parent if name == "cp" else target,
        said,
        _environment(course),
    )
    after = course.assets.counters()
    _check(name, course.served, tree)
    return Cost(
        cost.seconds,
        cost.cpu,
        cost.peak,
        after.requests - before.requests,
        after.connections - before.connections,
    )


def _command(name: str, course: Course, target: Path) -> list[str]:
    most = str(course.shape.connections)
    if name == "ours":
        return [sys.executable, "-c", _OURS, DATASET, str(target), most]
    if name == "flow":
        words = [DATASET, "--output-dir", str(target), "--quiet"]
        return [sys.executable, "-m", "flows.download_dataset", *words]
    if name == "reference":
        return [str(course.reference), "-c", _REFERENCE, DATASET, str(target)]
    if name in ("curl", "curl-2"):
        version = "--http2" if name == "curl-2" else "--http1.1"
        command = ["curl", version, "--parallel", "--parallel-max", most]
        command += ["--create-dirs", "--silent"]
        return [*command, "--show-error", "--fail", "-K", str(course.served.curl)]
    if name == "cp":
        return ["cp", "-r", str(course.served.assets), str(target)]
    plan = [str(partition.path) for partition in course.served.partitions]
    words = [str(target), DATASET, most, "2" if name == "transfer-2" else "1", *plan]
    return [sys.executable, "-m", "benchmarks.transfer", *words]


def _environment(course: Course) -> dict[str, str]:
    found = {
        **os.environ,
        "MLHUB_ROOT_URL": f"{course.hub.url}/mlhub/v1/",
        "MLHUB_API_KEY": "none",
        "PYTHONPATH": str(_PROJECT),
    }
    if course.assets.ca_bundle is not None:
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            found[name] = str(course.assets.ca_bundle)
    return found


def _timed(command: list[str], directory: Path, said: Path, environment: dict[str, str]) -> Cost:
    """Run a command; if it measures itself, by what it says in the last line."""
    with said.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        with Peak(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    text = said.read_text(errors="replace")
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n{text[-2000:]}")
    last = text.rstrip().rpartition("\n")[2]
    if last.startswith('{"seconds"'):
        own = json.loads(last)
        return Cost(own["seconds"], own["cpu"], max(peak.kilobytes, usage.ru_maxrss))
    # What short-lived processes reach between two looks, the operating system knows.
    return Cost(seconds, usage.ru_utime + usage.ru_stime, max(peak.kilobytes, usage.ru_maxrss))


def _check(name: str, served: Served, tree: Path) -> None:
    files = size = 0
    for folder, _, names in os.walk(tree):
        for one in names:
            if one.endswith(".tif"):
                files += 1
                size += os.stat(os.path.join(folder, one)).st_size
    if (files, size) != (served.files, served.size):
        raise SystemExit(
            f"{name}: {files} files of {size} bytes instead of {served.files} of {served.size}"
        )
