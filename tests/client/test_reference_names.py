"""What a script finds where the reference client has it, once its import is changed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core import Collection, Dataset, MLModel, client, get_session
from mlhub_core.client import (
    one_to_one_check,
    one_to_range_check,
    range_to_range_check,
)
from mlhub_core.exceptions import APIError, DownloadIncomplete
from tests.acceptance.reference import find_reference
from tests.faultserver import FaultServer, status

MODULES = ("client", "exceptions", "if_exists", "models", "session")
REPLACED = {
    # docs/migrating.md says what to use instead.
    "radiant_mlhub.retry_config": {"config"},
    "radiant_mlhub.client.catalog_downloader": {"AssetRecord"},
}
_PUBLIC_NAMES = """
import importlib, inspect, json, pkgutil
import radiant_mlhub
found = {}
for info in pkgutil.walk_packages(radiant_mlhub.__path__, "radiant_mlhub."):
    module = importlib.import_module(info.name)
    own = {n for n, v in vars(module).items() if not n.startswith("_")
           and getattr(v, "__module__", None) == info.name}
    found[info.name] = sorted(own | set(getattr(module, "__all__", ())))
print(json.dumps(found))
"""


def test_every_public_name_is_where_a_script_imports_it_from() -> None:
    listed = subprocess.run(
        [find_reference(), "-c", _PUBLIC_NAMES], capture_output=True, text=True, check=True
    )
    for module, names in json.loads(listed.stdout.splitlines()[-1]).items():
        wanted = set(names) - REPLACED.get(module, set())
        if wanted:
            ours = importlib.import_module(module.replace("radiant_mlhub", "mlhub_core"))
            assert {name for name in wanted if not hasattr(ours, name)} == set(), module


def test_modules_are_there_after_the_package_is_imported() -> None:
    code = "import mlhub_core\n"
    code += "\n".join(f"print(mlhub_core.{name}.__name__)" for name in MODULES)
    code += "\nassert set(dir(mlhub_core)) >= {'client', 'Dataset', 'session'}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"mlhub_core.{name}" for name in MODULES]


def test_a_catalog_downloader_downloads(tmp_path: Path, at_demo_hub: object) -> None:
    config = client.CatalogDownloaderConfig(
        dataset_id="demo_crops",
        output_dir=tmp_path,
        asset_output_dir=tmp_path / "assets",
        mlhub_api_session=get_session(),
        if_exists="skip",
        temporal_query=(datetime(2021, 1, 1), datetime(2021, 12, 31)),
        collection_filter={"demo_crops_plots": []},
    )
    downloader = client.CatalogDownloader(config=config)
    downloader()
    assert downloader.work_dir == tmp_path / "demo_crops"
    assert (downloader.work_dir / "catalog.json").is_file()
    assert list((downloader.asset_dir / "demo_crops_plots").rglob("*.tif"))
    assert not downloader.err_report_path.exists()


def test_its_wrong_arguments_are_value_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="if_exists"):
        client.CatalogDownloaderConfig(dataset_id="x", output_dir=tmp_path, if_exists="perhaps")
    both = client.CatalogDownloaderConfig(
        dataset_id="x", output_dir=tmp_path, bbox=[0, 0, 1, 1], intersects={"type": "Point"}
    )
    with pytest.raises(ValueError, match="exclude each other"):
        client.CatalogDownloader(both)
    with pytest.raises(ValueError, match="get_session"):
        client.ResumableDownloader("x", tmp_path / "x", session=object())  # type: ignore[arg-type]
    assert issubclass(DownloadIncomplete, IOError)


@pytest.mark.parametrize("get", ["get_dataset", "get_collection", "get_model_by_id"])
def test_low_level_functions_give_the_object_as_it_is(
    get: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of a hub which somebody mocks; objects made of it want an id."""
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url("/"))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    for path in ("datasets", "collections", "models"):
        server.put(f"/{path}/x", b'{"title": 3}')
    assert getattr(client, get)("x") == {"title": 3}
    for fetch in (Dataset.fetch, Collection.fetch, MLModel.fetch):
        with pytest.raises(APIError, match="no id"):
            fetch("x")


@pytest.mark.parametrize("if_exists", ["resume", "skip", "overwrite"])
def test_a_resumable_downloader_has_the_file_whole(
    if_exists: str, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/a.bin", b"0123456789" * 100)
    server.script("/a.bin", status(503))
    there = tmp_path / "a.bin"
    downloader = client.ResumableDownloader(server.url("/a.bin"), there, if_exists=if_exists)
    downloader.run()
    assert there.read_bytes() == b"0123456789" * 100
    server.forget()
    downloader.run()
    assert len(server.requests) == (0 if if_exists == "skip" else 1)


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2000, 1, 5))


@given(st.tuples(MOMENTS, MOMENTS).map(sorted), st.tuples(MOMENTS, MOMENTS).map(sorted))
def test_ranges_are_closed(one: list[datetime], other: list[datetime]) -> None:
    a, b, c, d = *one, *other
    both = range_to_range_check((a, b), (c, d))
    assert both == range_to_range_check((c, d), (a, b)) == (max(a, c) <= min(b, d))
    assert one_to_range_check(a, (c, d)) == (c <= a <= d)
    assert one_to_one_check(a, a.replace(tzinfo=UTC))  # a naive time is UTC


def test_a_star_import_of_the_client_gives_its_public_names_and_no_other() -> None:
    found: dict[str, object] = {}
    exec("from mlhub_core.client import *", found)
    names = found.keys() - {"__builtins__"}
    assert {"CatalogDownloader", "CatalogDownloaderConfig", "ResumableDownloader"} <= names
    assert {"get_dataset", "list_collection_items"} <= names
    assert not names & {"importlib", "sys", "Any", "endpoints"}
