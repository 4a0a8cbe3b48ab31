"""What the Prefect UI makes a form of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.download_dataset import download_dataset
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.form import BY_PROGRAM, FIRST, GROUPS
from mlhub_core.options import DownloadOptions


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = parameter_schema(download_dataset).model_dump_for_openapi()
    return found


def fields_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The fields of the form: what comes first, and what is in a group."""
    fields: dict[str, Any] = {}
    for name, field in schema["definitions"]["DownloadOptions"]["properties"].items():
        fields |= field["properties"] if name in GROUPS else {name: field}
    return fields


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
    form = fields_of(schema)
    assert form["intersects_with"]["enum"] == ["bbox", "geometry"]
    assert form["if_exists"]["default"] == "resume"
    assert (form["concurrency"]["minimum"], form["concurrency"]["maximum"]) == (1, 1024)


def test_no_field_asks_for_a_secret(schema: dict[str, Any]) -> None:
    names = set(fields_of(schema))
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


def accepted(schema: dict[str, Any], download: dict[str, Any]) -> bool:
    """Whether the server takes parameters: those of a deployment, which it checks most strictly."""
    return not validate({"download": download}, schema, preprocess=False, ignore_required=True)


def test_six_come_first_and_every_option_has_a_place_and_a_name(schema: dict[str, Any]) -> None:
    form = schema["definitions"]["DownloadOptions"]["properties"]
    assert list(form) == [*FIRST, *GROUPS]
    placed = [*FIRST, *BY_PROGRAM, *(name for group in GROUPS.values() for name in group.options)]
    assert sorted(placed) == sorted(DownloadOptions.model_fields)
    assert not set(placed) & set(GROUPS)
    for name, field in fields_of(schema).items():
        assert field["title"] != name.replace("_", " ").title() or " " not in field["title"]
        assert field.get("default", True) is not None, name
        if "default" not in field and "enum" not in field:
            assert "Example: " in field["description"], name
    for group in GROUPS:
        assert "null" not in json.dumps(form[group]), "the form would show a type of None"


DUMPED = DownloadOptions(dataset="d", limit=3, output_dir="/x").model_dump(mode="json")


@pytest.mark.parametrize(
    "saved",
    [
        DUMPED,
        {**DUMPED, "bbox": [1, 2, 3, 4], "collection_filter": {"a": []}, "band": ["red"]},
        {**DUMPED, "intersects": {"type": "Point", "coordinates": [1, 2]}},
        {"dataset": "d", "demo": True, "concurrency": 8, "if_exists": "skip", "source_type": None},
        {"dataset": "d", "datetime": "24 Nov 2018 10:00", "output_dir": ""},
    ],
)
def test_saved_parameters_are_taken_as_ever(schema: dict[str, Any], saved: dict[str, Any]) -> None:
    assert accepted(schema, saved)
    options = DownloadOptions(**saved)
    assert options == DownloadOptions.create(**saved)
    assert {name: getattr(options, name) for name in saved} == saved


def test_the_form_and_flat_parameters_come_to_the_same(schema: dict[str, Any]) -> None:
    given = {
        "dataset": "d",
        "collection_filter": ["labels=mask,labels", "images"],
        "bbox": "170,-20,-170,0",
        "dry_run": True,
        "limits": {"concurrency": 8, "approve_above": "10 GB", "max_depth": 64},
        "more_filters": {"limit": 3, "intersects_with": "bbox"},
        "hub": {"api_key_block": "mine", "demo": False},
    }
    assert accepted(schema, given)
    options = DownloadOptions(**given)
    assert options == DownloadOptions(
        dataset="d",
        collection_filter={"labels": ["mask", "labels"], "images": []},
        bbox=[170, -20, -170, 0],
        dry_run=True,
        concurrency=8,
        approve_above="10 GB",
        limit=3,
        api_key_block="mine",
    )
    assert (options.approved_bytes, options.request().dry_run) == (10**10, True)


def test_what_the_form_shows_as_default_changes_nothing_that_was_saved() -> None:
    saved = {"dataset": "d", "concurrency": 8, "sample": 5}
    assert DownloadOptions(**saved, limits={"concurrency": 32}).concurrency == 8
    assert DownloadOptions(**saved, limits={"concurrency": 16}).concurrency == 16
    assert DownloadOptions(**saved, more_filters={"sample": None}).sample == 5


def test_the_parameters_that_prefect_keeps_are_those_that_somebody_has_given() -> None:
    options = DownloadOptions(dataset="d", output_dir="/x", datetime="2021", limit=3, demo=True)
    (kept,) = download_dataset.serialize_parameters({"download": options}).values()
    assert kept == {
        "dataset": "d",
        "output_dir": "/x",
        "datetime": "2021",
        "more_filters": {"limit": 3},
        "hub": {"demo": True},
    }
    assert DownloadOptions(**kept) == options


WRONG = [
    {"datetime": "2021-13"},
    {"datetime": "2021-02-32/.."},
    {"datetime": "the other day"},
    {"bbox": "1,2,3"},
    {"bbox": [1, 2, 3]},
    {"output_dir": "s3://bucket/data"},
    {"output_dir": " /data"},
    {"collection_filter": ["=mask"]},
    {"dry_run": "perhaps"},
    {"limits": {"concurrency": 0}},
    {"limits": {"approve_above": "much"}},
    {"more_filters": {"sample": 0}},
    {"more_filters": {"intersects_with": "hull"}},
    {"hub": {"api_key_block": "My Key!"}},
    {"cluster": {"dask_address": "tcp://me:hush@h"}},
    {"origin": {"mirrors": {"https://a/": "https://me:hush@h/"}}},
    {"origin": {"source_type": "cupboard"}},
    {"limits": {"unknown": 1}},
    {"unknown": 1},
]


@pytest.mark.parametrize("fields", WRONG)
def test_a_wrong_value_is_refused_in_the_form(
    schema: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert not accepted(schema, {"dataset": "x", **fields})


RIGHT = ["2021", "2021-03/2021-05", "2021-03-01T10:00:00Z/..", "../2021", "/2021-12"]
RIGHT += ["2021-060", "20210301T1000-0130", "Sat, 24 November 2018", "2021-03-01 24:00+01:00/2022"]


@pytest.mark.parametrize("text", RIGHT)
def test_every_way_to_write_a_time_is_taken(schema: dict[str, Any], text: str) -> None:
    assert accepted(schema, {"dataset": "x", "datetime": text})
    assert DownloadOptions.create(dataset="x", datetime=text).wanted.time is not None


def test_a_group_that_is_none_and_a_field_that_is_in_none_are_named() -> None:
    with pytest.raises(InvalidArgument, match=r"limits is a int: give any of approve_above, conc"):
        DownloadOptions.create(dataset="x", limits=3)
    with pytest.raises(InvalidArgument, match=r"limits\.sample"):
        DownloadOptions.create(dataset="x", limits={"sample": 3})
    with pytest.raises(InvalidArgument, match="'much' is no size"):
        DownloadOptions.create(dataset="x", approve_above="much")
