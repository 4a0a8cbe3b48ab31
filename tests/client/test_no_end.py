"""Hubs whose answers have no end, or come so slowly that there is none in sight."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlhub_core import cli
from mlhub_core.exceptions import APIError, AuthenticationError, HubUnreachable, MLHubException
from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.fetch import FileFetcher
from mlhub_core.session import Session
from mlhub_core.settings import ApiSettings
from tests.faultserver import Fault, FaultServer, drip, endless, redirect

ROOT = "/mlhub/v1/"
QUICK = ApiSettings(
    connect_timeout=30,
    read_timeout=30,
    max_json_bytes=1_000_000,
    backoff_base=0.001,
    retry_after_cap=0.01,
)
IMPATIENT = replace(QUICK, read_timeout=1.5, min_speed=100_000)
GZIP = (("Content-Encoding", "gzip"),)


@pytest.fixture
def hub(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url(ROOT))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    server.put(f"{ROOT}datasets", b"[]")
    return server


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(
            drip("body"), "too slow: .* bytes a second", marks=pytest.mark.slow, id="body"
        ),
        (drip("head"), "too slow: its header"),
    ],
)
def test_what_drips_is_asked_for_once_more_and_given_up(
    hub: FaultServer, fault: Fault, error: str
) -> None:
    hub.always(f"{ROOT}datasets", fault)
    with Session(settings=IMPATIENT) as session, pytest.raises(HubUnreachable, match=error):
        session.get_json("datasets")
    assert len(hub.requests) == 2


@pytest.mark.parametrize("where", ["body", pytest.param("head", marks=pytest.mark.slow)])
def test_an_archive_that_drips_is_asked_for_once_more_and_given_up(
    hub: FaultServer, where: str, tmp_path: Path
) -> None:
    hub.put("/a.tar.gz", b"")
    hub.always("/a.tar.gz", drip(where))
    with Session(settings=IMPATIENT) as session:
        fetcher = FileFetcher(session, hub.url("/a.tar.gz"), tmp_path / "a", tmp_path / "state")
        with pytest.raises(MLHubException, match=r"bytes a second|its header is not whole"):
            fetcher.run(DownloadIfExistsOpts.resume)
    assert len(hub.requests) == 2


BOMB = gzip.compress(b" " * 20_000_000, mtime=0)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (endless(), "more than 1,000,000 bytes: .*max_json_bytes"),
        (Fault(body=BOMB, headers=GZIP), "more than 1,000,000 bytes"),
        (endless(BOMB, headers=GZIP), "more than 1,000,000 bytes"),
        (Fault(body=BOMB, headers=(("Content-Encoding", "gzip, gzip"),)), "nobody asked for"),
        (endless(status=404), "does not exist"),
        (endless(status=403), "wants an API key"),
        (Fault(body=b"[" * 900_000), "not JSON .*nested"),
        (Fault(body=b"[" * 900 + b"]" * 900), "not JSON .*nested more than 100 deep"),
        (redirect("datasets"), "redirects"),
        (endless(status=302, headers=(("Location", "datasets"),)), "redirects"),
        (redirect("http://[::1"), "redirect that cannot be followed"),
        (redirect("http://\u00ff\u00fe/"), "redirect that cannot be followed|does not answer"),
    ],
)
def test_an_answer_without_end_is_refused_in_one_line(
    hub: FaultServer, fault: Fault, error: str
) -> None:
    hub.always(f"{ROOT}datasets", fault)
    with Session(settings=QUICK) as session, pytest.raises(MLHubException, match=error) as caught:
        session.get_json("datasets")
    assert "\n" not in str(caught.value)


def test_an_endless_redirect_that_leads_somewhere_is_followed(hub: FaultServer) -> None:
    hub.put("/there", b"[1]")
    hub.always(f"{ROOT}datasets", endless(status=302, headers=(("Location", "/there"),)))
    with Session(settings=QUICK) as session:
        assert session.get_json("datasets") == [1]


def test_pages_that_lead_on_and_on_come_to_an_end(hub: FaultServer) -> None:
    for number in range(300):
        link = {"rel": "next", "href": f"items?page={number + 1}"}
        page = {"features": [] if number % 2 else None, "links": [link]}
        path = "items" if number == 0 else f"items?page={number}"
        hub.put(f"{ROOT}{path}", json.dumps(page).encode())
    with Session(settings=QUICK) as session, pytest.raises(APIError, match="on and on"):
        list(session.paginate("items"))
    assert len(hub.requests) < 300


def test_a_command_says_in_one_line_that_a_hub_has_no_end(
    hub: FaultServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hub.always(f"{ROOT}datasets", endless(BOMB, headers=GZIP))
    hub.put(f"{ROOT}datasets/tiny", b"")
    hub.always(f"{ROOT}datasets/tiny", endless(b"[" * 65536))
    for words in (["datasets", "list"], ["download", "tiny", "--output-dir", str(tmp_path)]):
        assert cli.main(words) == 3
        assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


LIMITED = (
    Fault(status=429),
    Fault(status=403, headers=(("X-RateLimit-Remaining", "0"),)),
    Fault(status=403, body=b'{"detail": "API rate limit exceeded"}'),
)


@pytest.mark.parametrize("fault", LIMITED)
def test_a_wait_that_the_hub_wants_is_no_failure(hub: FaultServer, fault: Fault) -> None:
    hub.script(f"{ROOT}datasets", *[fault] * 6)
    with Session(settings=QUICK) as session:
        assert session.get_json("datasets") == []
    assert len(hub.requests) == 7


@pytest.mark.parametrize("fault", LIMITED)
def test_a_hub_that_always_wants_another_wait_is_given_up(hub: FaultServer, fault: Fault) -> None:
    hub.always(f"{ROOT}datasets", fault)
    with Session(settings=QUICK) as session, pytest.raises(APIError, match="too often") as caught:
        session.get_json("datasets")
    assert not isinstance(caught.value, AuthenticationError)
    assert len(hub.requests) == 7
