"""A STAC API as a source: downloaded, filtered, continued and synced; and APIs that misbehave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from tests.acceptance.kit import collection, item
from tests.stacserver import CLASSES, FILTERS, HTML, Fault, StacServer

COUNT = 7
CONTENT = {f"i{n}": f"picture {n} ".encode() * 50 for n in range(COUNT)}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StacServer]:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with StacServer() as running:
        about = {"sci:citation": "Cite us.", "sci:doi": "10.1/x", "title": "Pictures"}
        running.add({**collection(), **about})
        running.add({**collection("others"), "license": "MIT"})
        for number in range(COUNT):
            add(running, f"i{number}", number)
        yield running


def add(api: StacServer, name: str, number: int, of: str = "pictures", **more: Any) -> None:
    content = CONTENT.get(name, name.encode() * 50)
    place = {"type": "Point", "coordinates": [10.0 * number, 5.0]}
    about = {"datetime": f"2020-0{number + 1}-15T12:00:00Z", "eo:cloud_cover": 10 * number}
    api.add(
        item(
            name,
            {"image": api.data(f"{name}.tif", content)},
            of,
            geometry=place,
            bbox=[10.0 * number, 5.0, 10.0 * number, 5.0],
            properties={**about, **more},
        )
    )


def download(api: StacServer, *words: str, path: str = "/collections/pictures") -> int:
    return main(["download", api.url(path), "--output-dir", "out", *words])


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a command that say what went wrong."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlhub:")]


def images() -> dict[str, bytes]:
    found = Path("out").glob("*/*/*/image.tif")
    return {path.parent.name: path.read_bytes() for path in found}


def test_a_collection(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert download(api) == 0
    assert images() == CONTENT
    assert api.pages() == [0, 2, 4, 6]
    before = len(api.asked("/data/i0.tif"))
    assert download(api) == 0
    assert len(api.asked("/data/i0.tif")) == before
    assert main(["verify", "out/pictures", "-q"]) == 0
    add(api, "new", 7)
    capsys.readouterr()
    words = [api.url("/collections/pictures"), "--output-dir", "out"]
    asked = [one for one in api.requests if one.path.startswith("/data")]
    assert main(["sync", *words]) == 0
    assert "1 added, 0 changed, 0 removed" in capsys.readouterr().out
    now = [one for one in api.requests if one.path.startswith("/data")]
    assert [one.path for one in now[len(asked) :]] == ["/data/new.tif"]
    assert "new" in images()
    del api.items[0]
    assert main(["sync", *words, "--prune"]) == 0
    assert "0 added, 0 changed, 1 removed" in capsys.readouterr().out
    assert images().keys() == {*CONTENT, "new"} - {"i0"}


def test_what_a_filter_leaves_out_is_not_pruned(api: StacServer) -> None:
    words = ["sync", api.url("/collections/pictures"), "--output-dir", "out"]
    assert main(words) == 0
    assert main([*words, "--datetime", "2020-02", "--prune"]) == 0
    assert images() == CONTENT
    assert main([*words, "--datetime", "2020-02"]) == 0
    assert main([*words, "--prune"]) == 0
    assert images() == CONTENT


def test_of_several_collections_only_what_is_gone_is_pruned(api: StacServer) -> None:
    for name in ("other", "foreign"):
        api.add(collection(name), item(f"of-{name}", {"image": api.data("o.tif", b"o")}, name))
    words = ["sync", api.url("/"), "--output-dir", "out", "--dataset-id", "all"]
    assert main([*words, "--collection", "pictures", "--collection", "other"]) == 0
    assert images().keys() == {*CONTENT, "of-other"}
    del api.items[0]
    # An earlier run has the other one here: that nobody names it now does not mean it is gone.
    assert main([*words, "--collection", "pictures", "--prune"]) == 0
    assert images().keys() == {*CONTENT, "of-other"} - {"i0"}
    assert not any("foreign" in json.dumps([one.body, one.query]) for one in api.requests)


def test_signatures_are_no_changes(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sync", api.url("/collections/pictures"), "--output-dir", "out"]
    for signature in ("first", "second"):
        for one in api.items:
            url = one["assets"]["image"]["href"].partition("?")[0]
            one["assets"]["image"]["href"] = f"{url}?sv=2020&se=2030-01-01&sig={signature}-abc%3D"
        assert main(words) == 0
    assert "0 added, 0 changed, 0 removed" in capsys.readouterr().out
    assert len([one for one in api.requests if one.path.startswith("/data")]) == COUNT


def test_from_python(api: StacServer) -> None:
    dataset = Dataset.open(api.url("/collections/pictures"))
    assert (dataset.id, dataset.title, dataset.doi) == ("pictures", "Pictures", "10.1/x")
    assert dataset.citation == "Cite us."
    report = dataset.download("out", progress=False)
    assert (report.dataset_id, report.fetched) == ("pictures", COUNT)
    assert images() == CONTENT


def test_a_root(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    add(api, "other", 3, "others")
    assert download(api, "--source-type", "api", path="/") == 2
    said = capsys.readouterr().err
    assert "has 2 collections: name those that are wanted" in said
    assert "pictures, others" in said
    assert not Path("out").exists()
    assert download(api, "--source-type", "api", "--collection", "picture", path="/") == 2
    assert "did you mean 'pictures'?" in capsys.readouterr().err
    chosen = ["--collection", "others", "--collection", "pictures"]
    assert download(api, "--source-type", "api", *chosen, path="/") == 0
    assert images().keys() == {*CONTENT, "other"}
    assert [path.name for path in Path("out").iterdir()] == ["pictures-api"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("searches", [True, False])
def test_filters_are_asked_of_the_api(api: StacServer, method: str, searches: bool) -> None:
    api.classes = (*CLASSES, *FILTERS) if searches else CLASSES[:3]
    api.methods = (method,)
    add(api, "nothing", 3, **{"eo:cloud_cover": None})
    words = ["--datetime", "2020-02/2020-06", "--bbox", "0,0,40,10"]
    assert download(api, *words, "--where", "eo:cloud_cover < 35 AND eo:cloud_cover > 5") == 0
    assert images().keys() == {"i1", "i2", "i3"}
    path = "/search" if searches else "/collections/pictures/items"
    first = api.asked(path)[0]
    assert first.method == (method if searches else "GET")
    given = first.body or first.query
    assert given["datetime"] == "2020-02-01T00:00:00Z/2020-06-30T23:59:59.999999Z"
    assert given["bbox"] in ("0.0,0.0,40.0,10.0", [0.0, 0.0, 40.0, 10.0])
    assert ("filter" in given) is searches
    assert api.pages(path) == ([0, 2] if searches else [0, 2, 4])


def test_ids(api: StacServer) -> None:
    assert download(api, "--where", "id IN ('i2', 'i5') AND eo:cloud_cover < 30") == 0
    assert images().keys() == {"i2"}
    (asked,) = api.asked("/search")
    assert asked.query["ids"] == "i2,i5"


def test_other_filters_are_another_catalog(api: StacServer) -> None:
    assert download(api, "--datetime", "2020-01/2020-03") == 0
    assert images().keys() == {"i0", "i1", "i2"}
    assert download(api, "--datetime", "2020-03/2020-04") == 0
    assert images().keys() == {"i0", "i1", "i2", "i3"}
    assert download(api) == 0
    assert images() == CONTENT


def test_a_page_that_fails_is_asked_for_again(api: StacServer) -> None:
    later = Fault(status=429, headers={"Retry-After": "1"})
    faults = [
        *(None, Fault(status=500), None),
        *(Fault(status=429, headers={"Retry-After": "0"}), Fault(cut=100), None),
        *(HTML, Fault(body=b'{"type": "FeatureCollection", "features": ['), later),
    ]
    api.script("/search", *faults)
    assert download(api) == 0
    assert images() == CONTENT
    assert api.pages() == [0, 2, 2, 4, 4, 4, 6, 6, 6, 6]


def test_a_page_that_keeps_failing(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.script("/search", None, None, *[HTML] * 4)
    assert download(api) == 3
    (said,) = errors(capsys)
    assert "answers with something that is not JSON" in said
    assert "4 of 7 items are here; the same command goes on from there." in said
    api.requests.clear()
    assert download(api) == 0
    assert api.pages() == [4, 6]
    assert images() == CONTENT


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (signal.SIGKILL, -signal.SIGKILL),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_broken_off_goes_on(
    api: StacServer, sent: signal.Signals, status: int
) -> None:
    command = [sys.executable, "-m", "mlhub_core", "download", api.url("/collections/pictures")]
    running = subprocess.Popen([*command, "--output-dir", "out", "-q"], env={**os.environ})
    api.script("/search", None, None, Fault(then=lambda: os.kill(running.pid, sent)))
    assert running.wait(300) == status
    assert api.pages() == [0, 2, 4]
    api.requests.clear()
    assert download(api) == 0
    assert api.pages() == [4, 6]
    assert images() == CONTENT


def test_a_page_that_is_gone_when_a_run_goes_on(
    api: StacServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    api.script("/search", None, Fault(status=404))
    assert download(api) == 3
    (said,) = errors(capsys)
    assert "2 of 7 items are here" in said
    api.script("/search", Fault(status=400))
    api.requests.clear()
    assert download(api) == 0
    assert "no longer there (400); reading from the first page" in caplog.text
    assert api.pages() == [2, 0, 2, 4, 6]
    assert images() == CONTENT


def test_what_is_here_is_taken_if_it_is_what_is_wanted(api: StacServer) -> None:
    assert download(api, "--datetime", "2020-02/2020-03") == 0
    api.requests.clear()
    assert download(api, "--datetime", "2020-02/2020-03", "--if-exists", "skip") == 0
    assert api.pages() == []
    assert download(api, "--if-exists", "skip") == 0
    assert images() == CONTENT


@pytest.mark.parametrize(("said", "status"), [(9, 1), (7, 0), (5, 0), (None, 0)])
def test_how_many_there_are(
    api: StacServer, said: int | None, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    api.matched = lambda count: said
    assert download(api) == 0
    assert (f"said {said} items and gave 7" in caplog.text) is (said in (9, 5))
    assert ("2 items, collections or assets that the catalog names" in caplog.text) is (said == 9)
    assert images() == CONTENT
    assert download(api, "--strict") == status


def test_items_that_come_twice(api: StacServer, caplog: pytest.LogCaptureFixture) -> None:
    api.items.insert(3, api.items[0])
    api.matched = lambda count: COUNT
    assert download(api) == 0
    assert "1 items came more than once" in caplog.text
    assert images() == CONTENT


def test_pages_in_a_circle(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.matched = lambda count: None
    api.next_link = lambda link, token: {**link, "href": api.url("/search?limit=2&token=2")}
    assert download(api) == 3
    (said,) = errors(capsys)
    assert "lead in a circle" in said


def test_pages_without_end(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has another address, and the same items."""
    api.matched = lambda count: None
    counter = iter(range(1000))
    api.next_link = lambda link, token: {**link, "href": api.url(f"/search?n={next(counter)}")}
    assert download(api) == 3
    assert "on and on" in capsys.readouterr().err
    assert len(api.pages()) < 10


def test_another_method(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A search that takes POST only, and links its pages as if it took GET."""
    api.classes = (*CLASSES, *FILTERS)
    api.methods = ("POST",)
    api.next_link = lambda link, token: {"rel": "next", "href": f"{link['href']}?token={token}"}
    assert download(api, "--where", "eo:cloud_cover < 100") == 3
    (said,) = errors(capsys)
    assert "refuses the GET that the link to the next page asks for (405)" in said


def test_a_search_that_takes_no_post(api: StacServer) -> None:
    api.classes = (*CLASSES, *FILTERS)
    api.script("/search", Fault(status=405))
    assert download(api, "--where", "eo:cloud_cover < 25") == 0
    assert [one.method for one in api.asked("/search")] == ["POST", "GET", "GET"]
    assert api.asked("/search")[-1].query["filter"]
    assert images().keys() == {"i0", "i1", "i2"}


def test_headers_of_a_link_stay_with_its_host(api: StacServer) -> None:
    with StacServer() as other:
        other.add(*api.collections.values(), *api.items)
        wants = {"X-Page": "secret-word-9"}
        links = iter(["/search?token=2", other.url("/search?token=4")])
        api.next_link = lambda link, token: {"rel": "next", "headers": wants, "href": next(links)}
        assert download(api) == 0
        assert [one.headers.get("x-page") for one in api.asked("/search")] == [
            None,
            wants["X-Page"],
        ]
        assert "x-page" not in other.asked("/search")[0].headers
    assert images() == CONTENT


def test_a_body_that_is_merged(api: StacServer) -> None:
    api.classes = (*CLASSES, *FILTERS)
    api.next_link = lambda link, token: {**link, "body": {"token": token}, "merge": True}
    assert download(api, "--where", "eo:cloud_cover < 55") == 0
    assert images().keys() == {f"i{n}" for n in range(6)}
    assert [one.body["token"] for one in api.asked("/search")[1:] if one.body] == [2, 4]
    assert all("filter" in (one.body or {}) for one in api.asked("/search"))


def test_what_is_refused_is_decided_here(api: StacServer, caplog: pytest.LogCaptureFixture) -> None:
    api.classes = (*CLASSES, *FILTERS)
    api.refuses = frozenset({"filter"})
    assert download(api, "--where", "eo:cloud_cover < 15", "--datetime", "2020") == 0
    assert "answered 400: no filter). It is asked without where, which is" in caplog.text
    assert images().keys() == {"i0", "i1"}
    assert all("datetime" in (one.body or one.query) for one in api.asked("/search"))


def test_pages_that_are_too_large(api: StacServer) -> None:
    api.most = 1000
    api.script("/search", *[Fault(status=413)] * 1)
    assert download(api) == 0
    assert [one.query["limit"] for one in api.asked("/search")] == ["500", "100"]
    assert images() == CONTENT


def test_a_login_goes_to_its_host_only(api: StacServer, tmp_path: Path) -> None:
    api.login = "me:secret-word-9"
    with StacServer() as other:
        other.add(*api.collections.values(), *api.items)
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login me password secret-word-9\n")
        netrc.chmod(0o600)
        other.root = other.root.replace("127.0.0.1", "localhost")
        api.next_link = lambda link, token: {**link, "href": other.url("/search?token=2")}
        assert download(api) in (0, 1)
        assert {one.headers.get("authorization") for one in other.asked("/search")} == {None}
        assert other.pages()
    assert "secret-word-9" not in "".join(
        path.read_text(errors="replace") for path in Path("out").rglob("*.json")
    )


def test_a_login_that_is_missing(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.login = "me:secret-word-9"
    assert download(api) == 3
    assert "~/.netrc" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/collections/gone", "has no collection 'gone': it has pictures, others."),
        ("/data/i0.tif", "answers with something that is not JSON"),
        ("/catalog.json", "is a catalog, but not of an API"),
        ("/collections/pictures/items/i0", "does not exist"),
    ],
)
def test_what_is_no_collection(
    api: StacServer, path: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.files["/catalog.json"] = b'{"type": "Catalog", "id": "c", "links": []}'
    assert download(api, "--source-type", "api", path=path) in (2, 3)
    (said,) = errors(capsys)
    assert says in said
    assert not Path("out").exists()


def test_a_page_is_not_all(api: StacServer, caplog: pytest.LogCaptureFixture) -> None:
    """The URL of a search is a file of items, of which it has the first."""
    assert download(api, path="/search") == 0
    assert "not read: the pages behind this one" in caplog.text
    assert "name that, …/collections/ID" in caplog.text
    assert images().keys() == {"i0", "i1"}
    assert download(api, "--strict", path="/search") == 1
    page = {"type": "FeatureCollection", "features": api.items[:1]}
    more = {**page, "links": [{"rel": "next", "href": "https://api.example/search?token=2"}]}
    Path("one.geojson").write_text(json.dumps(page) + "\n")
    Path("first.geojson").write_text(json.dumps(more) + "\n")
    words = ["--output-dir", "out", "--strict"]
    assert main(["download", "one.geojson", *words]) == 0
    assert main(["download", "first.geojson", *words]) == 1


def test_what_the_url_of_an_api_is(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert download(api, path="/collections") == 2
    assert "has 2 collections" in errors(capsys)[0]
    assert download(api, "--collection", "pictures", path="/") == 0
    assert download(api, path="/collections/pictures/items") == 0
    assert images() == CONTENT
    assert sorted(path.name for path in Path("out").iterdir()) == ["pictures", "pictures-api"]


def test_a_plan_is_of_the_pages_that_its_filters_asked_for(
    api: StacServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download(api, "--datetime", "2020-02/2020-03", "--dry-run") == 0
    plan = capsys.readouterr().out.split()[-1]
    api.requests.clear()
    assert download(api, "--plan", plan) == 0
    assert images().keys() == {"i1", "i2"}
    assert api.pages() == [0]


def test_a_page_elsewhere(api: StacServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The cloud's metadata, where an API on this machine has no business."""
    api.next_link = lambda link, token: {**link, "href": "http://169.254.169.254/latest?limit=2"}
    assert download(api) == 3
    (said,) = errors(capsys)
    assert "leads to a private address" in said
