"""``make dashboard``: a Prefect server, the deployments, a worker and a run, until Ctrl-C ends all.

Everything that it writes, Prefect's database too, lies in one directory.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import requests

from mlhub_core.console import have_standard_streams

_PORT = 4200
_UP_SECONDS = 300.0
_END_SECONDS = 30.0
_PREFECT = [sys.executable, "-P", "-m", "prefect"]


class _Failed(Exception):
    """One of the programs did not do its part; the message says which, and where its output is."""


def main(directory: Path) -> int:
    """Run all of it.

    Args:
        directory: Where everything goes.

    Returns:
        The exit status.
    """
    have_standard_streams()
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    url = f"http://127.0.0.1:{_free_port()}"
    env = {
        **os.environ,
        "PREFECT_HOME": str(directory / ".prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
    }
    try:
        with ExitStack() as running:
            _start_all(running, directory, url, env)
            print(f"\nThe dashboard is at {url}/runs. Ctrl-C ends all of it.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print(f"\nEnded: server, worker and runs. Their files are in {directory}.")
    except _Failed as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 3
    return 0


def _start_all(running: ExitStack, directory: Path, url: str, env: Mapping[str, str]) -> None:
    print("1. A Prefect server, which takes 10 to 60 seconds to start …", flush=True)
    port = url.rpartition(":")[2]
    words = ["server", "start", "--host", "127.0.0.1", "--port", port]
    server = running.enter_context(_program(words, directory / "server.log", env))
    _wait_until_up(url, server, directory / "server.log")
    print("2. The work pool, and both deployments …", flush=True)
    log = directory / "deploy.log"
    _finish(["work-pool", "create", "mlhub", "--type", "process", "--overwrite"], log, env)
    file = str(Path(__file__).with_name("prefect.yaml"))
    _finish(["--no-prompt", "deploy", "--all", "--prefect-file", file], log, env)
    print("3. A worker, and a run of the demo …", flush=True)
    words = ["worker", "start", "--pool", "mlhub"]
    running.enter_context(_program(words, directory / "worker.log", env))
    wanted = {"dataset": "demo_crops", "demo": True, "output_dir": str(directory / "data")}
    wanted_text = f"download={json.dumps(wanted)}"
    words = ["deployment", "run", "download-dataset/on-demand", "--param", wanted_text]
    _finish(words, log, env)


@contextmanager
def _program(
    words: list[str], log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of Prefect's for the length of the block, and end it, with all that it started.

    In a session of its own: Ctrl-C comes to us, and the worker has to find the server to the end.
    """
    with log.open("wb") as output:
        process = subprocess.Popen([*_PREFECT, *words], **_apart(output, log.parent, env))
    try:
        yield process
    finally:
        _signal(process, signal.SIGINT)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # it is killed
        finally:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program and what it has started, if anything of that is left."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _finish(words: list[str], log: Path, env: Mapping[str, str]) -> None:
    with log.open("ab") as output:
        done = subprocess.run([*_PREFECT, *words], **_apart(output, log.parent, env))
    if done.returncode:
        raise _Failed(f"`prefect {' '.join(words[:3])} …` failed: see {log}.")


def _apart(output: BinaryIO, directory: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """How a program is started whose output is a log, and that Ctrl-C, which is ours, spares."""
    return {
        "env": env,
        "cwd": directory,
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": output,
        "start_new_session": True,
    }


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between us and the loopback interface
        while server.poll() is None and time.monotonic() < deadline:
            try:
                if session.get(f"{url}/api/health", timeout=10).ok:
                    return
            except requests.RequestException:
                pass  # not up yet: that is what is being waited for
            time.sleep(0.3)
    raise _Failed(f"the Prefect server did not start: see {log}.")


def _free_port() -> int:
    """Prefect's own port, or another one where that is taken."""
    for port in (_PORT, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as found:
                return int(found.getsockname()[1])
        except OSError:
            continue
    raise _Failed("no port of this machine is free.")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output/dashboard")))
