"""How long a command takes to say its first word, and Python to import us: medians of ten.

    python -m benchmarks.start

Each is a process of its own, timed from its start to its first byte of output, or to its end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import note
from benchmarks.rivals import compile_ours

_MLHUB = (sys.executable, "-m", "mlhub_core")
COMMANDS = {
    "import": (sys.executable, "-c", "import mlhub_core; print()"),
    "help": (*_MLHUB, "--help"),
    "download --help": (*_MLHUB, "download", "--help"),
    "a wrong argument": (*_MLHUB, "download", "nothing", "--bbox", "1"),
    "verify": (*_MLHUB, "verify", "."),
}


def first_word(command: tuple[str, ...], directory: str) -> float:
    """Seconds until a command says anything."""
    started = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds


def main() -> int:
    """Measure, and print a line a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="of each; default: 10")
    parser.add_argument("--figures", type=Path, help="add the figures to this file")
    options = parser.parse_args()
    compile_ours()
    medians = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, command in COMMANDS.items():
            found = sorted(first_word(command, directory) for _ in range(options.runs))
            medians[name] = statistics.median(found)
            print(f"{name}: {found[0]:.2f} / {medians[name]:.2f} / {found[-1]:.2f} s", flush=True)
    note(
        options.figures,
        {
            "start: import": medians.pop("import"),
            "start: help": medians["help"],
            "start: first word": max(medians.values()),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
