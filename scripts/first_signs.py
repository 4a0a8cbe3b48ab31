"""How long each command takes to its first sign of life, as rows of docs/performance.md."""

from __future__ import annotations

import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_RUNS = 10
_COMMANDS = (
    "--help",
    "download --help",
    "download --demo --output-dir out --limit 2",
    "sync --demo --output-dir out --limit 2",
    "verify out/demo_crops",
    "retry out/demo_crops",
    "stac out/demo_crops",
    "index out/demo_crops --output i.parquet",
    "query out/demo_crops/mlhub_stac_assets.parquet",
    "datasets list",
    "completion bash",
)


def first_sign(words: list[str], directory: Path) -> tuple[float, float]:
    """Seconds until a command writes its first byte to a terminal, and of the processor by then.

    The second is what a busy machine does not change much.
    """
    ours, theirs = pty.openpty()
    started = time.monotonic()
    process = subprocess.Popen(
        words, cwd=directory, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.read(ours, 1)
    seconds = time.monotonic() - started
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    busy = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    try:
        while os.read(ours, 1 << 16):
            pass
    except OSError:
        pass  # how Linux tells that the other end has gone
    os.close(ours)
    process.wait()
    return seconds, busy


def main() -> None:
    """Print a table."""
    mlhub = str(Path(sys.executable).with_name("mlhub"))
    print(f"| command | first sign, median of {_RUNS} | of the processor |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for command in _COMMANDS:
            found = [first_sign([mlhub, *command.split()], Path(name)) for _ in range(_RUNS)]
            seconds, busy = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"| `mlhub {command}` | {seconds:.2f} s | {busy:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
