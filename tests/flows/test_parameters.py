"""What the Prefect UI makes a form of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.download_dataset import download_dataset
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.options import DownloadOptions


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = parameter_schema(download_dataset).model_dump_for_openapi()
    return found


def test_there_is_one_object_of_described_fields(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == {"download"}
    assert schema["required"] == ["download"]
    form = schema["definitions"]["DownloadOptions"]
    assert form["required"] == ["dataset"]
    assert form["additionalProperties"] is False
    for name, described in form["properties"].items():
        assert described.get("title") or "$ref" in json.dumps(described), name
        assert described.get("description"), name


def test_a_choice_is_a_choice(schema: dict[str, Any]) -> None:
    options = schema["definitions"]["DownloadIfExistsOpts"]
    assert options["enum"] == ["resume", "skip", "overwrite"]
    form = schema["definitions"]["DownloadOptions"]["properties"]
    assert form["intersects_with"]["enum"] == ["bbox", "geometry"]
    assert form["if_exists"]["default"] == "resume"
    assert (form["concurrency"]["minimum"], form["concurrency"]["maximum"]) == (1, 1024)


def test_no_field_asks_for_a_secret(schema: dict[str, Any]) -> None:
    names = set(schema["definitions"]["DownloadOptions"]["properties"])
    assert {"profile", "api_key_block"} <= names
    assert not names & {"api_key", "key", "token", "password"}


SECRET_URLS = [
    "http://me:hush@h/",
    "https://hush@h/data/",
    "http://me:a@b:hush@h:80/x",
    "https://h/?sig=hush&x=",
    "https://h/x?hush",
    "https://h/#hush",
]
PUBLIC_URLS = ["https://h/", "http://h:80/a@b/", "s3://bucket/", "https://proxy/fetch?url="]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_login_is_refused_before_it_is_written_down(
    schema: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server, which checks the schema, by the command and the flow."""
    for mirrors in ({url: "https://new/"}, {"https://old/": url}):
        sent = {"download": {"dataset": "x", "mirrors": mirrors}}
        with pytest.raises(ValidationError):
            validate(sent, schema, raise_on_error=True)
        with pytest.raises(InvalidArgument, match="netrc") as caught:
            DownloadOptions(dataset="x", mirrors=mirrors).check_public()
        assert "hush" not in str(caught.value)
    monkeypatch.setenv("MLHUB_ROOT_URL", url)
    with pytest.raises(InvalidArgument, match="MLHUB_API_KEY") as caught:
        DownloadOptions(dataset="x").check_public()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", PUBLIC_URLS)
def test_other_mirrors_are_taken(schema: dict[str, Any], url: str) -> None:
    mirrors = {"https://old/": url} if url[:4] == "http" else {url: "https://new/"}
    validate({"download": {"dataset": "x", "mirrors": mirrors}}, schema, raise_on_error=True)
    DownloadOptions(dataset="x", mirrors=mirrors).check_public()


def test_the_schema_is_small_and_plain_json(schema: dict[str, Any]) -> None:
    assert len(json.dumps(schema)) < 20_000


def test_what_the_form_sends_comes_back_as_it_was() -> None:
    fields = {
        "dataset": "x",
        "bbox": [170, -20, -170, 0],
        "datetime": "2021-03/..",
        "collection_filter": {"labels": []},
        "if_exists": "skip",
        "mirrors": {"https://a.example/": "http://b.example/"},
    }
    sent = json.loads(DownloadOptions.create(**fields).model_dump_json())
    assert DownloadOptions(**sent).request() == DownloadOptions(**fields).request()


@pytest.mark.parametrize(
    "fields",
    [
        {"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}},
        {"profile": "a", "api_key_block": "b"},
        {"if_exists": "perhaps"},
        {"intersects_with": "hull"},
        {"concurrency": 0},
        {"datetime": "the other day"},
        {"unknown": 1},
        {"intersects": {"type": "MultiPoint", "coordinates": [[0.5, 0.5]] * 50_000}},
    ],
)
def test_what_cannot_work_is_told_in_one_line(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        DownloadOptions.create(dataset="x", **fields)
    assert "\n" not in str(caught.value)
