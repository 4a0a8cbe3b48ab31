"""What the orchestration costs: the flow against ``Dataset.download()``, by turns, same files.

A Prefect server runs all the time, with its database on disk and its services, as people have it.
Both are whole processes: what counts is the difference within a turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import requests

from benchmarks.generate import HUB_RULES, Served, generate
from benchmarks.nginx import Nginx, is_there
from benchmarks.rivals import TITLES, Cost, Course, compile_ours, run
from benchmarks.shapes import SHAPES

_START_SECONDS = 300.0
_RIVALS = ("ours", "flow")


def main() -> int:
    """Measure, and print a table."""
    options = _parser().parse_args()
    if not is_there():
        print("No nginx: nothing is measured. scripts/install_nginx.py says how to get it.")
        return 0
    compile_ours()
    shape = SHAPES["small"].shrunk(options.divide)
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(
            prefix="mlhub-bench-", dir=memory if memory.is_dir() else None
        ) as scratch,
        tempfile.TemporaryDirectory(prefix="mlhub-bench-prefect-") as home,
        prefect_server(Path(home)) as api,
    ):
        work = Path(scratch)
        with (
            Nginx(work / "hub", work / "served" / "api", rules=HUB_RULES) as hub,
            Nginx(work / "nginx", work / "served" / "assets") as assets,
        ):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                served = pool.submit(generate, work / "served", shape, assets.url).result()
            course = Course(shape, served, hub, assets, work / "copies", None)
            costs: dict[str, list[Cost]] = {name: [] for name in _RIVALS}
            again: dict[str, list[Cost]] = {name: [] for name in _RIVALS}
            for _ in range(options.runs):
                for name in _RIVALS:
                    costs[name].append(run(name, course))
                    again[name].append(run(name, course, anew=False))
                    shutil.rmtree(course.target / name)
            print(_table(f"{shape.title}, a Prefect server running", costs, served))
            print(_table("The same again, all there", again, served))
            print(f"Task runs of each flow run: {sorted(set(_task_runs(api)))}")
    return 0


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A Prefect server for the length of the block; this process' environment points at it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    os.environ["PREFECT_HOME"] = str(home)
    os.environ["PREFECT_API_URL"] = url
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    prefect = str(Path(sys.executable).with_name("prefect"))
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [prefect, "server", "start", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise SystemExit("The Prefect server does not start.")


def _task_runs(api: str) -> list[int]:
    """How many task runs each flow run had."""
    runs = requests.post(f"{api}/flow_runs/filter", json={}, timeout=60).json()
    wanted = ({"flow_runs": {"id": {"any_": [run["id"]]}}} for run in runs)
    return [
        requests.post(f"{api}/task_runs/count", json=body, timeout=60).json() for body in wanted
    ]


def _table(title: str, costs: dict[str, list[Cost]], served: Served) -> str:
    lines = [f"\n### {title}\n", "| | seconds: min / median / max | CPU s |", "|---|---|---|"]
    for name, listed in costs.items():
        seconds = sorted(cost.seconds for cost in listed)
        middle = statistics.median(seconds)
        cpu = statistics.median(cost.cpu for cost in listed)
        lines.append(
            f"| {TITLES[name]} | {seconds[0]:.1f} / {middle:.1f} / {seconds[-1]:.1f} | {cpu:.1f} |"
        )
    turns = list(zip(costs["flow"], costs["ours"], strict=True))
    more = [flow.seconds - ours.seconds for flow, ours in turns]
    cpu = statistics.median(flow.cpu - ours.cpu for flow, ours in turns)
    lines.append(
        f"\nThe flow takes {statistics.median(more):.1f} s more (from {min(more):.1f} to "
        f"{max(more):.1f} in {len(more)} turns), {cpu:.1f} s of CPU, for {served.files:,} files."
    )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each, by turns; default: 5")
    parser.add_argument("--divide", type=int, default=1, metavar="N", help="an N-th of the files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
