"""Makes `.venv-notebook` beside the project: PyTorch, Jupyter's kernel, and what opens a download.

They are large, and nothing but the tutorial, the tests of training and those of other tools needs
them. Where they cannot
be had, this says so and those tests skip; with --require it fails instead. Run again, it has
nothing to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from reference_venv import PROJECT, interpreter

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
    marker = options.directory / "installed.txt"
    wanted = "\n".join((*REQUIREMENTS, (PROJECT / "pyproject.toml").read_text("utf-8")))
    if marker.is_file() and marker.read_text("utf-8") == wanted:
        return 0
    print(f"Making the tutorial's environment in {options.directory.name} (some minutes) ...")
    python = str(interpreter(options.directory))
    quiet = ["--quiet", "--disable-pip-version-check"]
    pinned = ["-c", str(PROJECT / "constraints.txt")]
    for step in (
        [sys.executable, "-m", "venv", "--clear", str(options.directory)],
        [python, "-m", "pip", "install", *quiet, *pinned, "-e", str(PROJECT), *REQUIREMENTS],
        # It admits no pandas 3, and works with it.
        [python, "-m", "pip", "install", *quiet, *pinned, "--no-deps", "stackstac", "dask"],
    ):
        try:
            subprocess.run(step, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"No PyTorch: {error}. The tutorial is not run.", file=sys.stderr)
            return 1 if options.require else 0
    marker.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
