"""Whatever a hub answers: objects that can be used, or one line and a documented exit status."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlhub_core import Collection, Dataset, MLModel, client
from mlhub_core.cli import main
from mlhub_core.exceptions import APIError, MLHubException
from mlhub_core.json_text import parse_json
from tests.acceptance.kit import DATASET, ROOT, collection, item, publish
from tests.faultserver import Fault, FaultServer

Json = Any

DATASET_ANSWER: Json = {
    "id": DATASET,
    "title": "Tiny",
    "doi": "10.1/x",
    "citation": "c",
    "registry": "https://r",
    "tags": ["a"],
    "collections": [{"id": "pictures", "types": ["source_imagery"], "license": "l"}],
}
SIZES: Json = {"dataset": DATASET, "stac_catalog_size": 1000, "estimated_dataset_size": 10**9}
COLLECTION: Json = collection()
ITEM: Json = item("i1", {"data": "https://h/a.tif"})
PAGE: Json = {"type": "FeatureCollection", "features": [ITEM], "links": []}
ANSWERS: dict[str, Json] = {
    "datasets": [DATASET_ANSWER],
    f"datasets/{DATASET}": DATASET_ANSWER,
    f"catalog/{DATASET}/info": SIZES,
    "collections": {"collections": [COLLECTION]},
    "collections/pictures": COLLECTION,
    "collections/pictures/items": PAGE,
    "collections/pictures/items/i1": ITEM,
    "archive/pictures/info": {"collection": "pictures", "dataset": DATASET, "size": 5},
    "models": [ITEM],
    "models/i1": ITEM,
}
ODD_TEXTS = [
    "",
    " ",
    "\x1b[2J\x07",
    "a\nb",
    "\x00",
    "..",
    "../../x",
    "/",
    "x" * 5000,
    "\u202e",
    "é",
]
odd: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 10**400, 1e308, *ODD_TEXTS])
    | st.text(st.characters(codec=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "href", "rel", "links", "type", "self", "api_key"]), inner
        )
    ),
    max_leaves=4,
)


def places_in(value: Json) -> Iterator[tuple[Json, Any]]:
    """Every place in a JSON value where another one could stand."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    for key, inner in pairs:
        yield value, key
        if isinstance(inner, dict | list):
            yield from places_in(inner)


@st.composite
def answers(draw: st.DrawFn, honest: Json) -> bytes:
    """An honest answer with some of it replaced, left out or added, as a hub may spell it."""
    box = [json.loads(json.dumps(honest))]
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(places_in(box))))
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[key]
            holder[draw(st.sampled_from(["self", "api_key", "profile", "x"]))] = draw(odd)
        else:
            holder[key] = draw(odd)
    text = json.dumps(box[0], ensure_ascii=draw(st.booleans()))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, draw(st.sampled_from(["replace", "backslashreplace"])))


RAW = [
    b"",
    b"\xff\xfe",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"id": ' * 5_000,
    b'{"id": "tiny", "id": ["tiny"]}',
    b'{"id": NaN}',
    b'{"id": "tiny", "x": ' + b"9" * 5_000 + b"}",
    b'[{"id": "tiny", "title": "\\ud800"}]',
    b'{"id": "tiny", "x": 1e999}',
    b"<!doctype html>",
    b"[[[]]]",
    b'[{"id": ["tiny"]}]',
]


def use(call: Callable[[], Any]) -> None:
    """Call the library as a script would; an error has to be one of its own."""
    with contextlib.suppress(MLHubException):
        found = call()
        for one in found if isinstance(found, list) else [found]:
            str(one)
            repr(one)
            if isinstance(one, Dataset):
                assert isinstance(one.id, str)
                assert len(one.collections) >= 0
                assert one.stac_catalog_size is None or one.stac_catalog_size >= 0


CALLS: dict[str, list[Callable[[], Any]]] = {
    "datasets": [Dataset.list, lambda: Dataset.list(tags=["a"], text="tiny")],
    f"datasets/{DATASET}": [lambda: Dataset.fetch(DATASET)],
    f"catalog/{DATASET}/info": [lambda: Dataset.fetch(DATASET)],
    "collections": [Collection.list],
    "collections/pictures": [lambda: Collection.fetch("pictures")],
    "collections/pictures/items": [lambda: list(client.list_collection_items("pictures"))],
    "collections/pictures/items/i1": [lambda: Collection.fetch("pictures").fetch_item("i1")],
    "archive/pictures/info": [lambda: Collection.fetch("pictures").archive_size],
    "models": [MLModel.list],
    "models/i1": [lambda: MLModel.fetch("i1")],
}


def run(*words: str) -> None:
    """Run a command; it ends well, or with one line and a documented status."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
        out.flush()
        err.flush()
    assert status in (0, 1, 2, 3, 4)
    result, said = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    assert "Traceback" not in said
    assert "\x1b" not in said + result
    if status:
        assert said.splitlines()[-1].startswith("mlhub: ")


def run_all(path: str) -> None:
    """The commands that ask for something."""
    if path == "datasets":
        run("datasets", "list")
        run("datasets", "list", "--json")
        return
    run("datasets", "show", DATASET)
    with tempfile.TemporaryDirectory() as root:
        verb = "sync" if path.endswith("info") else "download"
        run(verb, DATASET, "--output-dir", f"{root}/out", "--catalog-only", "-q")
        assert [inner.name for inner in Path(root).iterdir()] in ([], ["out"])


@pytest.fixture
def hub(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    server.put("/a.tif", b"data")
    documents = [collection(), item("i1", {"data": server.url("/a.tif")})]
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, *documents))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    be_honest(server)
    return server


def be_honest(hub: FaultServer) -> None:
    for path, answer in ANSWERS.items():
        hub.put(ROOT + path, json.dumps(answer).encode())


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_objects_are_used_or_refused(hub: FaultServer, data: st.DataObject) -> None:
    be_honest(hub)
    path = data.draw(st.sampled_from(sorted(ANSWERS)))
    hub.put(ROOT + path, data.draw(answers(ANSWERS[path])))
    for call in CALLS[path]:
        use(call)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_objects_leave_commands_with_one_line(hub: FaultServer, data: st.DataObject) -> None:
    be_honest(hub)
    path = data.draw(
        st.sampled_from(["datasets", f"datasets/{DATASET}", f"catalog/{DATASET}/info"])
    )
    hub.put(ROOT + path, data.draw(answers(ANSWERS[path])))
    run_all(path)


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: repr(raw[:30]))
def test_bytes_that_are_hardly_json(hub: FaultServer, raw: bytes) -> None:
    for path, calls in CALLS.items():
        be_honest(hub)
        hub.put(ROOT + path, raw)
        use(calls[0])
    hub.put(f"{ROOT}datasets", raw)
    run("datasets", "list")


def test_what_is_no_stac_is_named(hub: FaultServer) -> None:
    hub.put(f"{ROOT}models/i1", b'{"id": "i1", "properties": "none"}')
    with pytest.raises(APIError, match=r"MLModel i1: .* not what STAC says"):
        MLModel.fetch("i1")


def test_fields_that_are_named_like_arguments_are_extra_fields(hub: FaultServer) -> None:
    odd_fields = {"api_key": "theirs", "profile": "p", "self": 1, "progress": [2]}
    hub.put(f"{ROOT}datasets/{DATASET}", json.dumps({**DATASET_ANSWER, **odd_fields}).encode())
    dataset = Dataset.fetch(DATASET)
    assert {name: dataset.extra_fields[name] for name in odd_fields} == odd_fields
    assert dataset.session_kwargs == {"api_key": None, "profile": None}


@given(st.binary(max_size=40))
@example(b"9" * 5_000)
@example(b"[" * 100_000)
@example(b'\xef\xbb\xbf{"a": [NaN, Infinity, "\\ud800"]}')
def test_any_bytes_are_json_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        json.dumps(parse_json(data), allow_nan=False).encode()


def test_a_hub_that_hides_a_page_in_json_is_named(hub: FaultServer) -> None:
    hub.always(f"{ROOT}datasets", Fault(body=b"\x1b]0;x\x07<html>"))
    run("datasets", "list")
