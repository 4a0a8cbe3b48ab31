"""``mlhub debug-bundle``: what a report of a defect needs, in one file without secrets."""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from mlhub_core._version import __version__
from mlhub_core.console import show
from mlhub_core.exceptions import system_errors
from mlhub_core.paths import user_path
from mlhub_core.run_log import logs, plain

_MOST_BYTES = 2_000_000
"""Of one file: a report of a million failures says no more than its first rows."""

_VARIABLES = ("MLHUB_", "PREFECT_", "REQUESTS_CA", "CURL_CA", "SSL_CERT", "LC_", "LANG", "PYTHON")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_SHOWN = ("MLHUB_ROOT_URL", "MLHUB_PROFILE", "PREFECT_API_URL")


def add_bundle_command(commands: Any) -> None:
    """Add ``debug-bundle`` to the subcommands of a parser."""
    command = commands.add_parser(
        "debug-bundle",
        help="pack what a report of a defect needs",
        description="Pack the logs of the last runs of a download, versions, settings, the plan "
        "and the report of failures into one file. Keys, logins and the queries of URLs are left "
        "out.",
    )
    command.add_argument(
        "directory", metavar="DIR", help="the dataset's directory, such as data/demo_crops"
    )
    command.add_argument(
        "--output", metavar="FILE.tar.gz", help="(default: mlhub-debug-DATASET-TIME.tar.gz, here)"
    )
    command.set_defaults(run=_bundle)


def _bundle(given: argparse.Namespace) -> None:
    from mlhub_core.workspace import existing_download

    paths = existing_download(given.directory)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    output = user_path(given.output or f"mlhub-debug-{paths.dataset_id}-{stamp}.tar.gz")
    # One that is there already stays, whatever it is.
    with system_errors(f"write {output}"), tarfile.open(output, "x:gz") as archive:
        _add(archive, "environment.json", json.dumps(environment(), indent=1))
        for name, path in _files(paths.state_dir, paths.err_report):
            _add(archive, name, _text(path))
    show(f"Look into it before you send it: `tar -xzf {output.name} -O`", str(output))


def environment() -> dict[str, Any]:
    """Versions, and which variables are set; of most of them, not to what."""
    named = [name for name in os.environ if name.startswith(_VARIABLES) or name.lower() in _PROXIES]
    return {
        "mlhub-flows": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "variables": {
            name: plain(os.environ[name]) if name in _SHOWN else "(set)" for name in sorted(named)
        },
        "packages": dict(sorted((found.name, found.version) for found in metadata.distributions())),
    }


def _files(state_dir: Path, err_report: Path) -> Iterator[tuple[str, Path]]:
    """What goes in: its name there, and where it lies."""
    for path in logs(state_dir):
        yield f"log/{path.name}", path
    yield "err_report.csv", err_report
    for path in sorted(state_dir.glob("*.json")):
        yield f"state/{path.name}", path
    for path in sorted(state_dir.glob("plan*/**/plan.json")):
        yield f"state/{path.relative_to(state_dir).as_posix()}", path


def _text(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace")


def _add(archive: tarfile.TarFile, name: str, text: str | None) -> None:
    if text is None:
        return
    content = "\n".join(plain(line) for line in text.split("\n")).encode()
    member = tarfile.TarInfo(f"mlhub-debug/{name}")
    member.size, member.mtime = len(content), int(time.time())
    archive.addfile(member, io.BytesIO(content))
