"""``make demo``: the main job on the demo hub, then a part of it, told step by step."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from pathlib import Path

from mlhub_core.console import have_standard_streams

_ALL: tuple[str, list[str]] = ("the whole demo dataset", [])
_PART: tuple[str, list[str]] = (
    "a part of it: the labels of spring, in Kenya",
    [
        "--collection",
        "demo_crops_labels=labels,raster_labels",
        "--datetime",
        "2021-03/2021-05",
        "--bbox",
        "33,-2,42,5",
    ],
)


def main(directory: Path) -> int:
    """Run the demo.

    Args:
        directory: Where everything goes.

    Returns:
        The exit status of the first command that failed, else 0.
    """
    have_standard_streams()
    print("Starting the demo: a hub on this machine, and a Prefect API server for its runs.")
    print("Nothing leaves this machine. The server takes 10 to 60 seconds to start …", flush=True)
    # The demo's runs stay with the demo, out of your own Prefect database.
    os.environ["PREFECT_HOME"] = str(directory.absolute() / ".prefect")
    os.environ.pop("PREFECT_API_URL", None)
    directory.mkdir(parents=True, exist_ok=True)

    from flows.command import main as download
    from flows.local_server import local_server
    from mlhub_core.cli.hub import demo_hub

    with demo_hub(), local_server() as server:
        if server.url is not None:
            server.wait_until_up()
            os.environ["PREFECT_API_URL"] = server.url
        for number, (what, options) in enumerate((_ALL, _PART), start=1):
            target = directory / ("all" if options == [] else "part")
            words = ["demo_crops", "--output-dir", str(target), *options]
            print(f"\n{number}. {what[0].upper()}{what[1:]}")
            print(f"   $ python -m flows.download_dataset {shlex.join(words)}", flush=True)
            if status := download(words):
                return status
            _show(target)
    print(f"\nEverything lies in {directory.absolute()}. Try it yourself:")
    print("   $ .venv/bin/mlhub serve --demo        # a hub to play with; leave it running")
    print("   $ .venv/bin/mlhub datasets list       # in another terminal, with its two exports")
    print("Or look at such a run in the Prefect UI, until Ctrl-C ends all of it:")
    print("   $ make dashboard")
    return 0


def _show(target: Path) -> None:
    files = [path for path in target.rglob("*") if path.is_file() and ".mlhub" not in path.parts]
    kinds = Counter(path.suffix or path.name for path in files)
    print("   " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    index = next(target.glob("*/mlhub_stac_assets.parquet"))
    print(f"   Its asset index opens in GeoPandas, DuckDB and QGIS: {index}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")))
