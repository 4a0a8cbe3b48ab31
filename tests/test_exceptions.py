"""The tree of errors: what a script catches, and what is left of them after a pickle."""

from __future__ import annotations

import copy
import copyreg
import errno
import importlib
import pickle
import pkgutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import mlhub_core
from mlhub_core import Dataset, client, exceptions, get_session
from mlhub_core.exceptions import (
    APIError,
    DirectoryBusy,
    DownloadIncomplete,
    FetchError,
    HubUnreachable,
    InvalidArgument,
    MLHubException,
    NothingMatches,
    StorageError,
)
from mlhub_core.hub.server import DemoHub
from mlhub_core.session import Session
from mlhub_core.settings import ApiSettings
from tests.faultserver import FaultServer, stall, status, truncate

QUICK = ApiSettings(connect_timeout=30, read_timeout=30, max_attempts=1)
CAUGHT_AS: dict[type[MLHubException], tuple[type[BaseException], ...]] = {
    InvalidArgument: (ValueError,),
    NothingMatches: (RuntimeError, ValueError),
    APIError: (requests.HTTPError,),
    HubUnreachable: (requests.ConnectionError,),
    FetchError: (requests.ConnectionError,),
    DownloadIncomplete: (OSError,),
    StorageError: (OSError,),
}


def _tree() -> list[type[MLHubException]]:
    """Every class of it that the library has, wherever it is defined."""
    for module in pkgutil.walk_packages(mlhub_core.__path__, "mlhub_core."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, new = [MLHubException], [MLHubException]
    while new:
        new = [below for above in new for below in above.__subclasses__()]
        found += [kind for kind in new if kind.__module__.startswith("mlhub_core")]
    public = {kind for kind in found if not kind.__name__.startswith("_")}
    return sorted(public, key=lambda kind: kind.__name__)


TREE = _tree()


def _unpicklable() -> BaseException:
    class Local(Exception):
        pass

    return Local("?key=secret of another library")


def _asked() -> BaseException:
    request = requests.Request("GET", "http://h/", headers={"Authorization": "secret"}).prepare()
    return requests.ConnectionError("broken off", request=request)


CAUSES: dict[str, Callable[[], BaseException]] = {
    "of ours": lambda: FetchError("half of it", status=503, retryable=True),
    "of the system": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "of requests": _asked,
    "that cannot be pickled": _unpicklable,
    "that is a syntax error": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
}


@pytest.fixture
def pickled_by_us() -> Iterator[None]:
    """As where Dask is not: once imported, it has tblib pickle all exceptions known then."""
    before = dict(copyreg.dispatch_table)
    copyreg.dispatch_table.clear()
    yield
    copyreg.dispatch_table.update(before)


@pytest.mark.usefixtures("pickled_by_us")
@pytest.mark.parametrize("cause", CAUSES)
def test_a_pickle_keeps_all_and_its_cause(cause: str) -> None:
    for kind in TREE:
        _check_pickle(kind, cause)


def _check_pickle(kind: type[MLHubException], cause: str) -> None:
    before = CAUSES[cause]()
    error = kind("what happened, and the way out")
    error.extra = {"a": 1}  # type: ignore[attr-defined]
    try:
        raise error from before
    except kind as raised:
        after = pickle.loads(pickle.dumps(raised))
        again = pickle.loads(pickle.dumps(copy.copy(after)))
    for loaded in (after, again):
        assert type(loaded) is kind, kind
        assert (str(loaded), loaded.args) == (str(error), error.args)
        assert loaded.__dict__ == error.__dict__, kind
        assert "secret" not in repr(pickle.dumps(loaded))
        assert str(before).partition("?")[0] in str(loaded.__cause__)
    if cause == "of ours":
        assert (after.__cause__.status, after.__cause__.retryable) == (503, True)
    if isinstance(after, StorageError):
        assert after.errno == error.errno == getattr(before, "errno", None)


def test_each_is_also_what_a_script_catches() -> None:
    for kind in TREE:
        for ours, theirs in CAUGHT_AS.items():
            assert issubclass(kind, theirs) or not issubclass(kind, ours), kind
        if kind.__module__ == "mlhub_core.exceptions":
            assert kind.__name__ in (exceptions.__doc__ or "")
            assert getattr(exceptions, kind.__name__, None) is kind, kind
            assert kind.__name__ in dir(exceptions)


@pytest.fixture
def root(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url("/v1/"))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    return "/v1/"


ENDPOINTS: dict[str, Callable[[], object]] = {
    "datasets": client.list_datasets,
    "datasets/x": lambda: client.get_dataset("x"),
    "datasets/doi/10.1/x": lambda: client.get_dataset("10.1/x"),
    "collections": client.list_collections,
    "collections/x": lambda: client.get_collection("x"),
    "collections/x/items": lambda: list(client.list_collection_items("x")),
    "collections/x/items/y": lambda: client.get_collection_item("x", "y"),
    "models": client.list_models,
    "models/x": lambda: client.get_model_by_id("x"),
    "catalog/x/info": lambda: client.get_catalog_info("x"),
    "archive/x/info": lambda: client.get_collection_archive_info("x"),
    "archive/x": lambda: client.download_collection_archive("x"),
}


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_an_error_of_the_hub_is_an_http_error_with_its_response(
    code: int, root: str, server: FaultServer
) -> None:
    for path in ENDPOINTS:
        _check_error(path, code, root, server)


def _check_error(path: str, code: int, root: str, server: FaultServer) -> None:
    server.put(root + path, b"")
    server.always(root + path, status(code))
    with pytest.raises(requests.HTTPError) as caught:
        ENDPOINTS[path]()
    error = caught.value
    assert isinstance(error, APIError)
    assert error.response is not None
    assert (error.status, error.response.status_code) == (code, code)
    assert error.request is not None
    assert error.request.url == server.url(root + path)
    after = pickle.loads(pickle.dumps(error))
    assert (after.response.status_code, after.response.url) == (code, error.response.url)
    assert (after.response.content, after.request) == (b"", None)


def test_no_answer_is_a_connection_error_or_a_timeout(root: str, server: FaultServer) -> None:
    server.put(root + "slow", b"{}")
    server.always(root + "slow", stall(0))
    with socket.create_server(("127.0.0.1", 0)) as silent, Session(settings=QUICK) as session:
        there = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        for url in ("slow", there):  # nothing after the head, and no head
            with pytest.raises(requests.Timeout):
                session.get(url, timeout=0.1)
        silent.close()
        with pytest.raises(requests.ConnectionError):
            session.get(there)


def test_an_archive_that_always_breaks_off_is_a_connection_error(
    root: str, server: FaultServer, tmp_path: Path
) -> None:
    server.put("/v1/archive/x", b"0123456789")
    server.always("/v1/archive/x", truncate(4))
    with pytest.raises(requests.ConnectionError):
        client.download_collection_archive("x", tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[::1/",
        "http://h:port/",
        "http://*.h/",
        "https:///x",
        "http:x",
        "s3://b/k",
    ],
)
def test_a_wrong_url_is_a_value_error(url: str, root: str) -> None:
    with Session(settings=QUICK) as session, pytest.raises(ValueError, match="no URL"):
        session.get(url)


WRONG: dict[str, tuple[dict[str, object], type[Exception]]] = {
    "both places": ({"bbox": [0, 0, 1, 1], "intersects": {}}, ValueError),
    "a box of three": ({"bbox": [0, 0, 1]}, ValueError),
    "no shape": ({"intersects": {"type": "Feature", "geometry": None}}, ValueError),
    "no time": ({"datetime": "yesterday"}, ValueError),
    "no option": ({"if_exists": "perhaps"}, ValueError),
    "nothing left": ({"datetime": "1850"}, RuntimeError),
    "no such collection": ({"collection_filter": {"x": []}}, ValueError),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_what_the_reference_raised(
    case: str, at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    arguments, kind = WRONG[case]
    with pytest.raises(kind):
        Dataset.fetch("demo_crops").download(tmp_path, progress=False, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [IOError, FileExistsError, ValueError])
@pytest.mark.parametrize("argument", ["output_dir", "asset_output_dir"])
def test_a_file_for_a_directory(
    argument: str, kind: type[Exception], at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    where = {"output_dir": tmp_path, argument: tmp_path / "file"}
    with pytest.raises(kind):
        Dataset.fetch("demo_crops").download(progress=False, **where)  # type: ignore[arg-type]
    with pytest.raises(kind):
        client.download_collection_archive("demo_crops_plots", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


JUNK: tuple[Any, ...] = (object(), 3, 1.5, b"x", [1], {"a": 1}, (1, 2), float("nan"), range(3))
CALLS: dict[str, Callable[[Any], object]] = {
    "output_dir": lambda value: Dataset("x").download(value),
    "asset_output_dir": lambda value: Dataset("x").download(asset_output_dir=value),
    "plan": lambda value: Dataset("x").download(plan=value),
    "settings": lambda value: Dataset("x").download(settings=value),
    "if_exists": lambda value: Dataset("x").download(if_exists=value),
    "api_key": lambda value: Dataset("x", api_key=value).download(),
    "tags": lambda value: Dataset.list(tags=value),
    "text": lambda value: Dataset.list(text=value),
    "id": Dataset.fetch,
    "archive": lambda value: client.download_collection_archive("x", value),
    "extensions": lambda value: client.list_collection_items("x", extensions=value),
    "url": lambda value: get_session().get(value),
    "root_url": lambda value: setattr(get_session(), "root_url", value),
    "out_file": lambda value: client.ResumableDownloader("x", value),
}


@pytest.mark.parametrize("argument", CALLS)
def test_a_value_of_a_wrong_type_is_a_wrong_argument(
    argument: str, root: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    several = argument in ("tags", "text", "extensions")  # a mapping's names are several
    for value in JUNK:
        if several and isinstance(value, dict):
            continue
        with pytest.raises(InvalidArgument):
            CALLS[argument](value)
    assert server.paths() == []
    assert list(tmp_path.iterdir()) == []


def test_a_session_needs_no_key_to_fail(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert issubclass(DirectoryBusy, OSError)
    monkeypatch.delenv("MLHUB_PROFILE")
    with pytest.raises(MLHubException):
        get_session()
