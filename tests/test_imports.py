"""What importing brings in: told by a fresh interpreter's ``sys.modules``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlhub_core import Dataset

HINT = "MIMALLOC_ALLOW_THP"
HEAVY = ("geopandas", "pandas", "pyarrow", "numpy", "shapely", "pycurl", "pydantic", "prefect")


def modules_after(*steps: str, cwd: Path | None = None) -> list[set[str]]:
    """Modules that are loaded once each step has run."""
    listed = "print(json.dumps(sorted(sys.modules)))"
    script = "\n".join(["import json, sys", *(f"{code}\n{listed}" for code in steps)])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=cwd
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines() if line[:1] == "["]


def loaded_after(*steps: str, cwd: Path | None = None) -> list[set[str]]:
    """Top-level modules that are loaded once each step has run."""
    return [{name.partition(".")[0] for name in found} for found in modules_after(*steps, cwd=cwd)]


def test_each_step_brings_in_what_it_needs_and_no_more() -> None:
    """One after another, the lightest first: what a step is free of, it would be free of alone."""
    steps = {
        "the library": "import mlhub_core",
        "its names": "from mlhub_core import Session, get_session, DownloadIfExistsOpts",
        "the hub": "import mlhub_core.client, mlhub_core.exceptions, mlhub_core.settings",
        "the command": "import mlhub_core.cli, mlhub_core.cli.process",
        "its words": "mlhub_core.cli.build_parser()",
        "a dataset": "from mlhub_core import Dataset",
        "a collection": "from mlhub_core import Collection, MLModel",
    }
    loaded = loaded_after(*steps.values())
    light = {*HEAVY, "pystac"}
    for step, modules in zip(steps, loaded[:-2], strict=False):
        assert modules.isdisjoint(light), step
    *_, dataset, collection = loaded
    heavier = light - {"numpy", "shapely", "pydantic"}
    assert dataset.isdisjoint(heavier)
    assert "pystac" in collection
    assert collection.isdisjoint(heavier - {"pystac"})


def test_help_is_there_at_once() -> None:
    """Of each of these, one after another: the lightest come first."""
    spared = {
        "--help": {"requests", "pydantic", "numpy", "pyarrow"},
        "download --help": {"requests", "numpy", "pyarrow", "pycurl"},
        "sync --help": {"requests", "numpy", "pyarrow", "pycurl"},
        "verify --help": {"requests", "numpy", "pyarrow"},
        "query --help": {"requests", "pyarrow"},
    }
    steps = (
        "import contextlib, mlhub_core.cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):\n"
        f"    mlhub_core.cli.main({words.split()!r})"
        for words in spared
    )
    for words, loaded in zip(spared, loaded_after(*steps), strict=True):
        assert loaded.isdisjoint(spared[words]), words


def test_the_core_brings_in_no_orchestrator_and_nothing_of_the_current_directory(
    tmp_path: Path,
) -> None:
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong tasks')")
    (tmp_path / "flows.py").write_text("raise SystemExit('the wrong flows')")
    code = "import mlhub_core.cli, mlhub_core.pipeline, mlhub_core.options, mlhub_core.hub.server"
    (loaded,) = loaded_after(code, cwd=tmp_path)
    assert "mlhub_core" in loaded
    assert loaded.isdisjoint({"prefect", "tasks", "flows"})


def test_the_names_of_the_reference_client_are_there() -> None:
    import mlhub_core
    from mlhub_core import client

    for name in mlhub_core.__all__:
        assert getattr(mlhub_core, name) is not None
    for name in ("list_datasets", "get_collection", "download_collection_archive"):
        assert callable(getattr(client, name))
    with pytest.raises(AttributeError, match="no_such_name"):
        mlhub_core.no_such_name  # noqa: B018


def test_a_complete_re_run_loads_little(at_demo_hub: object, tmp_path: Path) -> None:
    """A re-run is little but imports."""
    Dataset.fetch("demo_crops").download(tmp_path, datetime="2021-04", progress=False)
    code = (
        "from mlhub_core import Dataset\n"
        "Dataset.fetch('demo_crops').download(datetime='2021-04', progress=False)"
    )
    (loaded,) = modules_after(code, cwd=tmp_path)
    assert "mlhub_core.transfer.ledger" in loaded
    assert loaded.isdisjoint({"geopandas", "pandas", "shapely", "pystac", "prefect"})


@pytest.mark.parametrize(("given", "kept"), [(None, "0"), ("1", "1")])
def test_arrow_is_told_to_leave_large_pages_unless_somebody_said_otherwise(
    given: str | None, kept: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != HINT}
    if given is not None:
        environment[HINT] = given
    code = f"import mlhub_core, os; print(os.environ[{HINT!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == kept
