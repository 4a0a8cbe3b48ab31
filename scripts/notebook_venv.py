"""Makes `.venv-notebook` beside the project: PyTorch, Jupyter's kernel, and what opens a download.

They are large, and nothing but the tutorial, the tests of training and those of other tools needs
them. Where they cannot be had, this says so and those tests skip; with --require it fails instead.
Run again, it has nothing to do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import environments
from environments import PROJECT

REQUIREMENTS = (
    "folium",
    "hypothesis",
    "ipykernel",
    "mapclassify",
    "matplotlib",
    "mlcroissant",
    "nbclient",
    "odc-stac",
    "pillow",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "rasterio",
    "rustac",
    "stac-geoparquet",
    "torch==2.13.0",
)


def main() -> int:
    """Make the environment if it can be made.

    Returns:
        0 if it is there, or may be missing; 1 if it is missing and required.
    """
    parser = argparse.ArgumentParser(description="Make the environment of the tutorial.")
    parser.add_argument("--directory", type=Path, default=PROJECT / ".venv-notebook")
    parser.add_argument("--require", action="store_true", help="fail where it cannot be had")
    options = parser.parse_args()
    wanted = "\n".join((*REQUIREMENTS, (PROJECT / "pyproject.toml").read_text("utf-8")))
    if environments.is_ready(options.directory, wanted):
        return 0
    print(f"Making the tutorial's environment in {options.directory.name} (some minutes) ...")
    pinned = ["-c", str(PROJECT / "constraints.txt")]
    problem = environments.make(
        options.directory,
        wanted,
        [*pinned, "-e", str(PROJECT), *REQUIREMENTS],
        # It admits no pandas 3, and works with it.
        [*pinned, "--no-deps", "stackstac", "dask"],
    )
    if problem is None:
        return 0
    print(f"No PyTorch: {problem}. The tutorial is not run.", file=sys.stderr)
    return 1 if options.require else 0


if __name__ == "__main__":
    sys.exit(main())
