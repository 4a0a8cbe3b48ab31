"""Where the run of a deployment writes to: directories that are there when it is over."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime
from prefect.context import FlowRunContext
from prefect.variables import Variable

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.options import DownloadOptions
from mlhub_core.paths import check_directory_name, user_path

OUTPUT_DIR_VARIABLE = "mlhub_output_dir"
"""The Prefect variable that names the directory which relative ones are within."""


def lasting(download: DownloadOptions) -> DownloadOptions:
    """Parameters whose directories outlast the run.

    A worker starts each run in a directory of its own and removes that at the end, with everything
    that a relative path has put there. A run that somebody starts by hand is in their directory.

    Raises:
        InvalidArgument: if a directory would go with the run; nothing has been done.
    """
    if not (os.environ.get("PREFECT__FLOW_RUN_ID") or runtime.deployment.id):
        return download
    assets = download.asset_output_dir
    return download.model_copy(
        update={
            "output_dir": _lasting("output_dir", download.output_dir),
            "asset_output_dir": assets and _lasting("asset_output_dir", assets),
        }
    )


def _lasting(label: str, given: str | None) -> str:
    text = given or ""
    if text:
        check_directory_name(label, text)
    if text != text.strip():
        raise InvalidArgument(f"{label} is {text!r}: leave the white space around it out.")
    if _is_absolute(text):
        path = user_path(text)
    else:
        path = _base(label, text) / text
        log = get_run_logger() if FlowRunContext.get() else logging.getLogger(__name__)
        log.info("%s is %s, by the Prefect variable %s", label, path, OUTPUT_DIR_VARIABLE)
    if _goes_with_the_run(path):
        raise InvalidArgument(
            f"{label} is {text or 'not given'}: {path} is the temporary directory of this run, and "
            "is removed with it. Name another directory."
        )
    return str(path)


def _base(label: str, text: str) -> Path:
    value: Any = Variable.get(OUTPUT_DIR_VARIABLE, default=None)
    if value is None:
        raise InvalidArgument(
            f"{label} is {text or 'not given'}: the run of a deployment has no directory that "
            "stays. Give an absolute path, or one that begins with ~; or say once where such runs "
            f"write to: prefect variable set {OUTPUT_DIR_VARIABLE} /the/directory"
        )
    if not isinstance(value, str) or not _is_absolute(value):
        raise InvalidArgument(
            f"The Prefect variable {OUTPUT_DIR_VARIABLE} is {value!r}, which is no absolute path: "
            f"prefect variable set --overwrite {OUTPUT_DIR_VARIABLE} /the/directory"
        )
    return user_path(value)


def _is_absolute(text: str) -> bool:
    return text.startswith("~") or Path(text).is_absolute()


def _goes_with_the_run(path: Path) -> bool:
    """Whether a path is within the working directory, and that is one that a worker made."""
    try:
        here = Path.cwd().resolve()
        temporary = Path(tempfile.gettempdir()).resolve()
    except OSError:  # it is gone already
        return False
    made = here.name.startswith("tmp") and here.name.endswith("prefect")
    return path.resolve().is_relative_to(here) and (made or temporary in here.parents)
