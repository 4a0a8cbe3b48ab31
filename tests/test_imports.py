"""What importing brings in: told by a fresh interpreter's ``sys.modules``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HINT = "MIMALLOC_ALLOW_THP"
HEAVY = ("geopandas", "pandas", "pyarrow", "numpy", "shapely", "pycurl", "pydantic", "prefect")


def modules_after(code: str, cwd: Path | None = None) -> set[str]:
    """Modules that are loaded once some code has run."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=cwd
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def loaded_by(code: str, cwd: Path | None = None) -> set[str]:
    """Top-level modules that are loaded once some code has run."""
    return {name.partition(".")[0] for name in modules_after(code, cwd)}


def test_importing_the_library_is_light() -> None:
    assert loaded_by("import mlhub_core").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "from mlhub_core import Session, get_session, DownloadIfExistsOpts",
        "import mlhub_core.client, mlhub_core.exceptions, mlhub_core.settings",
        "import mlhub_core.cli; mlhub_core.cli.build_parser()",
    ],
)
def test_asking_the_hub_needs_no_geopandas(code: str) -> None:
    assert loaded_by(code).isdisjoint(HEAVY)


def test_a_command_line_is_parsed_without_anything_heavy() -> None:
    code = "import mlhub_core.cli, mlhub_core.cli.process; mlhub_core.cli.build_parser()"
    assert loaded_by(code).isdisjoint({*HEAVY, "pystac"})


@pytest.mark.parametrize(
    ("words", "spared"),
    [
        ("--help", {"requests", "pydantic", "numpy", "pyarrow"}),
        ("download --help", {"requests", "numpy", "pyarrow", "pycurl"}),
        ("verify --help", {"requests", "numpy", "pyarrow"}),
        ("query --help", {"requests", "pyarrow"}),
        ("sync --help", {"requests", "numpy", "pyarrow", "pycurl"}),
    ],
)
def test_help_is_there_at_once(words: str, spared: set[str]) -> None:
    code = (
        "import contextlib, mlhub_core.cli\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):\n"
        f"    mlhub_core.cli.main({words.split()!r})"
    )
    assert loaded_by(code).isdisjoint(spared)


def test_a_dataset_alone_needs_no_pystac() -> None:
    loaded = loaded_by("from mlhub_core import Dataset")
    assert loaded.isdisjoint({"pystac", "geopandas", "pandas", "pyarrow", "pycurl", "prefect"})


def test_collections_and_models_need_pystac_but_not_geopandas() -> None:
    loaded = loaded_by("from mlhub_core import Dataset, Collection, MLModel")
    assert "pystac" in loaded
    assert loaded.isdisjoint({"geopandas", "pandas", "pyarrow", "pycurl", "prefect"})


def test_the_core_brings_in_no_orchestrator() -> None:
    code = "import mlhub_core.pipeline, mlhub_core.options, mlhub_core.cli, mlhub_core.hub.server"
    assert "prefect" not in loaded_by(code)


def test_the_command_takes_no_flows_or_tasks_of_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong tasks')")
    (tmp_path / "flows.py").write_text("raise SystemExit('the wrong flows')")
    loaded = loaded_by(
        "import mlhub_core.cli, mlhub_core.pipeline, mlhub_core.options", cwd=tmp_path
    )
    assert loaded.isdisjoint({"tasks", "flows"})


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
    code = (
        "from mlhub_core import Dataset\n"
        "Dataset.fetch('demo_crops').download(datetime='2021-04', progress=False)"
    )
    modules_after(code, tmp_path)
    loaded = modules_after(code, tmp_path)
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
