"""One model of options: command lines, keywords and saved parameters mean what they did."""

from __future__ import annotations

import inspect
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.cli import build_parser
from mlhub_core.cli.downloads import download_options
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.options import DownloadOptions

POINT = {"type": "Point", "coordinates": [1.0, 2.0]}


def options_of(line: str) -> DownloadOptions:
    return download_options(build_parser().parse_args(["download", *shlex.split(line)]))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("--demo", {"dataset": "demo_crops", "demo": True}),
        ("d --bbox -9,36,31,68 --seed -4", {"bbox": [-9, 36, 31, 68], "seed": -4}),
        ("d --bbox=170,-20,-170,0", {"bbox": [170, -20, -170, 0]}),
        ("d --bbox 1,2,-5,3,4,9", {"bbox": [1, 2, 3, 4]}),
        ("d --datetime 2021-03/..", {"datetime": "2021-03/.."}),
        ("d --collection a=x,y --collection b", {"collection_filter": {"a": ["x", "y"], "b": []}}),
        ("d --collection-filter wanted.json", {"collection_filter": {"a": []}}),
        ("d --collection-filter ''", {}),
        ("d --media-type image/* --role data", {"media_type": ["image/*"], "role": ["data"]}),
        ("d --where 'eo:cloud_cover < 10'", {"where": "eo:cloud_cover < 10"}),
        ("d --sample 5 --limit 3 --with-sources", {"sample": 5, "limit": 3, "with_sources": True}),
        ("d --output-dir o --asset-output-dir a", {"output_dir": "o", "asset_output_dir": "a"}),
        ("d --if-exists skip --profile p", {"if_exists": "skip", "profile": "p"}),
        ("d --concurrency 8 --workers 3", {"concurrency": 8, "workers": 3}),
        ("d --mirror s3://a/=https://b/c/", {"mirrors": {"s3://a/": "https://b/c/"}}),
        ("d --no-unarchive --no-asset-db", {"unarchive": False, "asset_db": False}),
        ("d --ignore-space --ignore-checksum", {"ignore_space": True, "ignore_checksum": True}),
        ("d --ignore-file-size --strict", {"ignore_file_size": True, "strict": True}),
        ("d --allow-empty --catalog-only", {"allow_empty": True, "catalog_only": True}),
        ("d --max-members 5 --max-bytes 6", {"max_members": 5, "max_bytes": 6}),
        ("d --max-json-bytes 7 -q -v --dry-run", {"max_json_bytes": 7, "dry_run": True}),
    ],
)
def test_a_command_line(
    line: str, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wanted.json").write_text('{"a": []}')
    monkeypatch.chdir(tmp_path)
    options = options_of(line)
    assert options == DownloadOptions(**{"dataset": "d", **fields})
    assert options.request() == DownloadOptions(**{"dataset": "d", **fields}).request()


def test_help_tells_of_each_option_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["download", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "ID_OR_DOI id of a hub's dataset, or its DOI; or where STAC lies" in text
    assert "--concurrency N connections per host (default: 32)" in text
    assert "--no-unarchive do not unarchive the catalog" in text
    assert "--max-members N cap on the members of a catalog archive (default: 20,000,000)" in text
    assert "Undefined" not in text


def test_a_file_with_a_shape_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "point.geojson"
    path.write_text(json.dumps(POINT))
    options = options_of(f"d --intersects {path}")
    path.unlink()
    assert json.loads(options.request().wanted.intersects or "") == POINT
    elsewhere = options.model_copy(update={"output_dir": str(tmp_path)})
    assert elsewhere.request().wanted == options.request().wanted
    assert elsewhere.intersects_sha256 is not None


def test_the_keyword_arguments_are_the_options() -> None:
    parameters = inspect.signature(Dataset.download).parameters
    own = {"self", "api_key", "settings", "progress"}
    assert own <= set(parameters)
    of_settings = {"concurrency", "workers", "mirrors", "unarchive", "asset_db", "ignore_space"}
    of_settings |= {"max_members", "max_bytes", "max_json_bytes", "max_depth"}
    of_settings |= {"runner", "dask_address", "allow_private_hosts"}
    of_forms = {
        "dataset",
        "source_type",
        "dataset_id",
        "allow_empty",
        "demo",
        "intersects_sha256",
        "api_key_block",
        "dry_run",
        "approve_above",
    }
    assert set(parameters) - own == set(DownloadOptions.model_fields) - of_settings - of_forms
    for name in set(parameters) - own:
        assert parameters[name].default == DownloadOptions.model_fields[name].get_default(), name


NULLABLE = [
    "output_dir",
    "asset_output_dir",
    "collection_filter",
    "datetime",
    "bbox",
    "intersects",
    "intersects_sha256",
    "media_type",
    "band",
    "role",
    "alternate",
    "where",
    "sample",
    "limit",
    "plan",
    "profile",
    "api_key_block",
    "dask_address",
    "source_type",
    "dataset_id",
    "approve_above",
]


def test_saved_parameters_with_nulls() -> None:
    """As Prefect keeps a form that somebody has cleared."""
    saved = {"dataset": "d", **dict.fromkeys(NULLABLE)}
    assert DownloadOptions(**saved).request() == DownloadOptions(dataset="d").request()
    dumped = json.loads(DownloadOptions(dataset="d").model_dump_json())
    assert {name for name, value in dumped.items() if value is None} == set(NULLABLE)
    assert DownloadOptions(**dumped).request() == DownloadOptions(dataset="d").request()
    for name in set(dumped) - set(NULLABLE):
        with pytest.raises(InvalidArgument, match=name):
            DownloadOptions.create(**{**saved, name: None})


def test_a_flow_has_no_standard_input() -> None:
    with pytest.raises(InvalidArgument, match="standard input, which a flow run does not have"):
        DownloadOptions(dataset="-").check_public()
