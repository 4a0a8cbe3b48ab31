from __future__ import annotations

import io
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import BaseAdapter, HTTPAdapter

from mlhub_core.exceptions import (
    APIError,
    APIKeyNotFound,
    AuthenticationError,
    EntityDoesNotExist,
    HubUnreachable,
    InvalidArgument,
    MLHubException,
)
from mlhub_core.net.connection import is_under
from mlhub_core.net.profiles import write_api_key
from mlhub_core.session import ANONYMOUS_PROFILE, Session, get_session
from mlhub_core.settings import ApiSettings
from tests.faultserver import FaultServer, redirect, reset_before, status, truncate

CANARY = "CANARY-4f9d+key/with specials"
CANARY_FORMS = ("CANARY-4f9d",)
QUICK = ApiSettings(connect_timeout=30, read_timeout=30, backoff_base=0.001, retry_after_cap=0.01)


@pytest.fixture
def root(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> str:
    url = server.url("/mlhub/v1/")
    monkeypatch.setenv("MLHUB_ROOT_URL", url)
    return url


def keyed(path: str, key: str = "secret") -> str:
    return f"/mlhub/v1/{path}?key={key}"


# Which key


def test_key_resolution_in_the_documented_order(
    server: FaultServer, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("argument", "environment", "profile", "profile-from-environment", "default"):
        server.put(keyed("x", name), b"{}")
    write_api_key("default", "default")
    write_api_key("chosen", "profile")
    write_api_key("other", "profile-from-environment")

    def used(**kwargs: str) -> str:
        server.forget()
        with get_session(**kwargs) as session:
            session.get("x")
        return server.paths()[0].rpartition("=")[2]

    assert used() == "default"
    monkeypatch.setenv("MLHUB_PROFILE", "other")
    assert used() == "profile-from-environment"
    assert used(profile="chosen") == "profile"
    monkeypatch.setenv("MLHUB_API_KEY", "environment")
    assert used(profile="chosen") == "environment"
    assert used(profile=ANONYMOUS_PROFILE) == "environment"
    assert used(api_key="argument", profile="chosen") == "argument"


def test_an_empty_key_in_the_environment_falls_through(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_API_KEY", "")
    write_api_key("default", "from-profile")
    with get_session() as session:
        assert "with a key" in repr(session)


def test_no_key_anywhere_names_the_ways(root: str) -> None:
    with pytest.raises(APIKeyNotFound, match=r"MLHUB_API_KEY.*mlhub configure.*__anonymous__"):
        get_session()


def test_no_key_for_the_hub_that_is_off_says_so() -> None:
    with pytest.raises(APIKeyNotFound, match=r"switched off.*MLHUB_ROOT_URL"):
        get_session()


def test_unknown_profile_is_named(root: str) -> None:
    write_api_key("mine", "k")
    with pytest.raises(APIKeyNotFound, match=r"'yours'.*it has: mine"):
        get_session(profile="yours")


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_anonymous_profile_sends_no_key(
    where: str, server: FaultServer, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/mlhub/v1/x", b"{}")
    if where == "environment":
        monkeypatch.setenv("MLHUB_PROFILE", ANONYMOUS_PROFILE)
    with get_session(profile=ANONYMOUS_PROFILE if where == "argument" else None) as session:
        session.get("x")
    assert server.paths() == ["/mlhub/v1/x"]


def test_root_url_must_be_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "ftp://somewhere/")
    with pytest.raises(InvalidArgument, match=r"ftp://somewhere/.*http"):
        Session()


# Where the key goes


def test_key_stays_under_the_root_url(server: FaultServer, root: str) -> None:
    server.put("/elsewhere", b"{}")
    server.put("/mlhub/v1x", b"{}")
    with FaultServer() as stranger, Session(api_key="secret", settings=QUICK) as session:
        stranger.put("/mlhub/v1/x", b"{}")
        session.get(stranger.url("/mlhub/v1/x"))
        session.get(server.url("/elsewhere"))
        session.get(server.url("/mlhub/v1x"))
        assert stranger.paths() == ["/mlhub/v1/x"]
    assert server.paths() == ["/elsewhere", "/mlhub/v1x"]


def test_redirects_to_another_host_carry_no_key(server: FaultServer, root: str) -> None:
    with FaultServer() as stranger, Session(api_key="secret", settings=QUICK) as session:
        stranger.put("/file", b"data")
        server.put(keyed("catalog/x"), b"")
        server.always(keyed("catalog/x"), redirect(stranger.url("/file"), 303))
        response = session.get("catalog/x")
        assert response.content == b"data"
        assert stranger.paths() == ["/file"]
        assert "secret" not in response.url
        assert all("secret" not in hop.url for hop in response.history)


def test_next_links_to_another_host_carry_no_key(server: FaultServer, root: str) -> None:
    with FaultServer() as stranger, Session(api_key="secret", settings=QUICK) as session:
        stranger.put("/page2", b'{"features": [2]}')
        link = stranger.url("/page2").encode()
        server.put(
            keyed("p"), b'{"features": [1], "links": [{"rel": "next", "href": "%s"}]}' % link
        )
        pages = list(session.paginate("p"))
        assert [page["features"] for page in pages] == [[1], [2]]
        assert stranger.paths() == ["/page2"]


def test_pages_that_lead_in_a_circle_end(server: FaultServer, root: str) -> None:
    server.put(keyed("p"), b'{"links": [{"rel": "next", "href": "p"}]}')
    with (
        Session(api_key="secret", settings=QUICK) as session,
        pytest.raises(APIError, match="circle"),
    ):
        list(session.paginate("p"))


@given(
    path=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=30),
    root=st.sampled_from(
        ["http://h.example/mlhub/v1/", "https://h.example:8443/", "http://[::1]:9/a/"]
    ),
)
def test_what_is_under_a_root_has_its_origin(path: str, root: str) -> None:
    assert not is_under(root, "http://other.example/mlhub/v1/" + path)
    if is_under(root, root + path):
        assert ".." not in path.split("/")


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example/mlhub/v1/x",
        "http://h.example:81/mlhub/v1/x",
        "http://h.example.evil.example/mlhub/v1/x",
        "http://h.example@evil.example/mlhub/v1/x",
        "http://h.example/mlhub/v1/../../x",
        "http://h.example/mlhub/v1/%2e%2e/x",
        "http://h.example/mlhub/v1/%252e%252e/x",
        "http://h.example/mlhub/v10/x",
        "http://h.example:bad/mlhub/v1/x",
    ],
)
def test_not_under_the_root(url: str) -> None:
    assert not is_under("http://h.example/mlhub/v1/", url)


def test_default_ports_are_the_same_origin() -> None:
    assert is_under("http://h.example/v1/", "http://H.example:80/v1/x")


# What answers mean


def test_404_is_asked_once_and_does_not_exist(server: FaultServer, root: str) -> None:
    with Session(api_key="secret", settings=QUICK) as session, pytest.raises(EntityDoesNotExist):
        session.get("datasets/unknown")
    assert server.count(keyed("datasets/unknown")) == 1


@pytest.mark.parametrize("code", [401, 403])
def test_401_and_403_are_asked_once(code: int, server: FaultServer, root: str) -> None:
    server.always(keyed("x"), status(code))
    server.put(keyed("x"), b"")
    with Session(api_key="secret", settings=QUICK) as session, pytest.raises(AuthenticationError):
        session.get("x")
    assert server.count(keyed("x")) == 1


@pytest.mark.parametrize(
    "fault", [status(500), status(503, "99999999"), status(429, "x"), reset_before(), truncate(2)]
)
def test_what_may_pass_is_tried_again(fault: object, server: FaultServer, root: str) -> None:
    server.put(keyed("x"), b'{"fine": true}')
    server.script(keyed("x"), fault, fault)  # type: ignore[arg-type]
    with Session(api_key="secret", settings=QUICK) as session:
        assert session.get_json("x") == {"fine": True}
    assert server.count(keyed("x")) == 3


def test_tries_end(server: FaultServer, root: str) -> None:
    server.put(keyed("x"), b"")
    server.always(keyed("x"), status(500))
    with Session(api_key="secret", settings=QUICK) as session, pytest.raises(APIError, match="500"):
        session.get("x")
    assert server.count(keyed("x")) == QUICK.max_attempts


def test_an_answer_that_is_not_json(server: FaultServer, root: str) -> None:
    server.put(keyed("x"), b"<html>parked</html>")
    session = Session(api_key="secret", settings=QUICK)
    with session, pytest.raises(APIError, match=r"not JSON.*MLHUB_ROOT_URL"):
        session.get_json("x")


def test_the_switched_off_default_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that refuses stands for a name that is gone: nothing leaves this machine.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with (
        Session(settings=QUICK) as session,
        pytest.raises(HubUnreachable, match=r"switched off.*MLHUB_ROOT_URL.*mlhub serve") as caught,
    ):
        session.get("datasets")
    assert "\n" not in str(caught.value)


# Nobody sees the key


def everything(error: BaseException) -> str:
    """What a traceback, a pickle and the chain of causes show."""
    shown = "".join(traceback.format_exception(error))
    return shown + repr(pickle.loads(pickle.dumps(error)).__dict__)


@pytest.mark.parametrize("case", ["fine", "401", "404", "500", "refused", "reset"])
def test_the_key_is_never_shown(
    case: str,
    server: FaultServer,
    root: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    path = "/mlhub/v1/x?key=CANARY-4f9d%2Bkey%2Fwith%20specials"
    server.put(path, b"{}")
    if case.isdigit():
        server.always(path, status(int(case)))
    if case == "reset":
        server.always(path, reset_before())
    if case == "refused":
        monkeypatch.setenv("MLHUB_ROOT_URL", "http://127.0.0.1:9/mlhub/v1/")
    shown = ""
    with Session(api_key=CANARY, settings=QUICK) as session:
        try:
            shown += repr(session.get("x").__dict__)
        except MLHubException as error:
            shown += everything(error)
        shown += repr(session)
    if case != "refused":
        assert path in server.paths(), "the key was sent"
    assert (case == "fine") == ("Traceback" not in shown)
    output = capfd.readouterr()
    shown += caplog.text + output.out + output.err
    assert all(form not in shown for form in CANARY_FORMS)


# Profiles


def test_the_profiles_file_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLHUB_HOME", str(tmp_path / "new"))
    path = write_api_key("default", "50%key")
    assert path == tmp_path / "new" / "profiles"
    assert path.stat().st_mode & 0o777 == 0o600
    write_api_key("second", "other")
    assert path.stat().st_mode & 0o777 == 0o600
    for profile in ("default", "second"):
        with get_session(profile=profile) as session:
            assert "with a key" in repr(session)


def test_a_broken_profiles_file_does_not_show_its_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLHUB_HOME", str(tmp_path))
    (tmp_path / "profiles").write_text(f"{CANARY}\n[default\napi_key = {CANARY}\n")
    with pytest.raises(APIKeyNotFound, match="not a readable profiles file") as caught:
        get_session()
    assert all(form not in everything(caught.value) for form in CANARY_FORMS)


@pytest.mark.parametrize("key", ["", " ", "a\nb"])
def test_keys_that_cannot_be_stored(key: str) -> None:
    with pytest.raises(InvalidArgument):
        write_api_key("default", key)


# A key that a call gives, and adapters of others


GIVEN = {
    "parameters": {"params": {"key": "given", "limit": 3}},
    "pairs": {"params": [("key", "given"), ("limit", "3")]},
    "text": {"params": "key=given&limit=3"},
}


@pytest.mark.parametrize("form", [*GIVEN, "the URL", "the session"])
def test_a_key_that_a_call_gives_wins(
    form: str, server: FaultServer, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for limit in ("limit=3&", ""):
        server.put(f"/mlhub/v1/x?{limit}key=given", b"{}")
    with Session(api_key="own", settings=QUICK) as session:
        if form == "the session":
            session.params = {"key": "given"}  # type: ignore[assignment]
        url = root + "x?key=given&limit=3" if form == "the URL" else "x"
        response = session.get(url, **GIVEN.get(form, {}))  # type: ignore[arg-type]
    assert server.paths() == [f"/mlhub/v1/x?{'' if form == 'the session' else 'limit=3&'}key=given"]
    assert "given" not in response.url + repr(response.__dict__) + caplog.text


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_call_may_send_no_key(nothing: str | None, server: FaultServer, root: str) -> None:
    server.put("/mlhub/v1/x", b"{}")
    with Session(api_key="own", settings=QUICK) as session:
        session.get("x", params={"key": nothing})
    assert server.paths() == ["/mlhub/v1/x"]


def test_a_key_of_a_call_goes_with_its_redirects_and_pages(server: FaultServer, root: str) -> None:
    def page(link: str) -> bytes:
        return b'{"features": [1], "links": [{"rel": "next", "href": "%s"}]}' % link.encode()

    server.put(keyed("p", "given"), b"")
    server.always(keyed("p", "given"), redirect("/mlhub/v1/p1?key=given&a=1", 307))
    server.put("/mlhub/v1/p1?a=1&key=given", page("p2?key=another&token=2"))
    server.put("/mlhub/v1/p2?token=2&key=given", b'{"features": [2]}')
    with Session(api_key="own", settings=QUICK) as session:
        assert len(list(session.paginate("p", params={"key": "given"}))) == 2


def test_a_key_for_others_is_theirs(server: FaultServer, root: str) -> None:
    with FaultServer() as stranger, Session(api_key="own", settings=QUICK) as session:
        stranger.put("/x?key=for-them", b"{}")
        session.get(stranger.url("/x"), params={"key": "for-them"})
        assert stranger.paths() == ["/x?key=for-them"]


class _Counting(HTTPAdapter):
    """As people write them: with an attribute of its own."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.sent = 0

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent += 1
        return super().send(*args, **kwargs)


class _InMemory(BaseAdapter):
    """One that opens no connections."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.urls.append(request.url or "")
        response = requests.Response()
        response.status_code, response.url, response.raw = 200, request.url or "", io.BytesIO(b"{}")
        return response

    def close(self) -> None:
        pass


def test_an_adapter_of_others_does_not_lose_the_key(
    server: FaultServer, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    adapter, plain = _Counting(max_retries=2), requests.Session()
    for key in ("key-1", "key-2"):
        server.put(keyed("x", key), b"{}")
    server.put("/mlhub/v1/x", b"{}")
    plain.mount("http://", adapter)
    plain.get(root + "x")  # it may have connections already
    with FaultServer() as stranger:
        stranger.put("/x", b"{}")
        for key in ("key-1", "key-2"):
            session = Session(api_key=key, settings=QUICK)
            session.mount("http://", adapter)
            assert key not in session.get("x").url
            session.get(stranger.url("/x"))
        plain.get(root + "x")
        assert stranger.paths() == ["/x"] * 2
    expected = ["/mlhub/v1/x", keyed("x", "key-1"), keyed("x", "key-2"), "/mlhub/v1/x"]
    assert server.paths() == expected
    assert adapter.sent == 6
    assert "key-" not in caplog.text


@pytest.mark.parametrize("mounted", [False, True])
def test_the_key_goes_through_a_proxy(
    mounted: bool, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://hub.example/v1")
    monkeypatch.setenv("http_proxy", server.url(""))
    server.put("http://hub.example/v1/x?key=own", b"{}")
    server.put("http://other.example/x", b"{}")
    with Session(api_key="own", settings=QUICK) as session:
        if mounted:
            session.mount("http://", HTTPAdapter())
        session.get("x")
        session.get("http://other.example/x")
    assert server.paths() == ["http://hub.example/v1/x?key=own", "http://other.example/x"]


def test_an_adapter_without_connections_finds_the_key_in_the_url(root: str) -> None:
    adapter = _InMemory()
    with Session(api_key="own", settings=QUICK) as session:
        session.mount("http://", adapter)
        session.get("x", params={"a": 1})
        session.get("http://other.example/x")
    assert adapter.urls == [root + "x?a=1&key=own", "http://other.example/x"]


@pytest.mark.parametrize(
    ("api_key", "path", "words"),
    [
        ("own", "x", "refuses the API key"),
        (None, "x", "none was sent"),
        ("own", "/elsewhere", "none was sent outside of"),
    ],
)
def test_a_refusal_says_whether_a_key_was_sent(
    api_key: str | None, path: str, words: str, server: FaultServer, root: str
) -> None:
    for there in ("/mlhub/v1/x", keyed("x", "own"), "/elsewhere"):
        server.put(there, b"")
        server.always(there, status(401))
    session = Session(api_key=api_key, settings=QUICK)
    with session, pytest.raises(AuthenticationError, match=words):
        session.get(server.url(path) if path.startswith("/") else path)


@pytest.mark.parametrize("form", ["{}", "{}/", " {}/?", "{}/#", "HTTP{}/"])
@pytest.mark.parametrize("by", ["environment", "attribute"])
def test_a_root_url_as_people_write_it(
    form: str, by: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put(keyed("collections/x"), b"{}")
    plain = server.url("/mlhub/v1")
    written = form.format(plain.removeprefix("http") if form.startswith("HTTP") else plain)
    monkeypatch.setenv("MLHUB_ROOT_URL", written if by == "environment" else "http://unused/")
    with Session(api_key="secret", settings=QUICK) as session:
        if by == "attribute":
            session.root_url = written
        assert session.root_url == plain + "/"
        for path in ("collections/x", "/collections/x", plain + "/collections/x"):
            session.get(path)


@pytest.mark.parametrize(
    "url",
    ["h/v1", "127.0.0.1:8765", "ftp://h/", "http://", "http://[::1/", "http://h:x/", "http:h/v1"],
)
def test_what_is_no_root_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", url)
    with pytest.raises(InvalidArgument, match="MLHUB_ROOT_URL"):
        Session()


@pytest.mark.parametrize("rest", ["?key=CANARY-4f9d", "/?a=1", "/#top"])
def test_a_root_url_ends_with_its_path(rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", "http://h.example/v1" + rest)
    with pytest.raises(InvalidArgument, match="leave out") as caught:
        Session()
    assert all(form not in str(caught.value) for form in CANARY_FORMS)
