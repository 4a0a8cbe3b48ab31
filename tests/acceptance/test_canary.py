"""A key planted as a canary is found nowhere after a run, however the run ends."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from mlhub_core import Dataset
from mlhub_core.cli import main
from mlhub_core.exceptions import (
    APIError,
    AuthenticationError,
    DownloadIncomplete,
    EntityDoesNotExist,
    HubUnreachable,
    MLHubException,
)
from mlhub_core.hub.server import DemoHub
from mlhub_core.net.profiles import write_api_key
from mlhub_core.repair import retry
from mlhub_core.settings import RunSettings, TransferSettings
from tests.acceptance.kit import DATASET, KEY, api, item, publish
from tests.faultserver import Fault, FaultServer, redirect, status

FORMS = {
    KEY,
    quote(KEY),
    quote(KEY, safe=""),
    quote_plus(KEY),
    repr(KEY)[1:-1],
    json.dumps(KEY)[1:-1],
    KEY[:8],
}


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    """Everything at DEBUG, other people's loggers too, as somebody does who looks for a fault."""
    loggers = [logging.getLogger(name) for name in (None, "mlhub_core", "urllib3")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def assert_hidden(text: str, where: str) -> None:
    for form in FORMS:
        assert form not in text, f"{where} shows the key"


def assert_not_on_disk(root: Path) -> int:
    looked_at = 0
    for path in root.rglob("*"):
        assert_hidden(str(path), "a file name")
        if path.is_file():
            looked_at += 1
            assert_hidden(path.read_bytes().decode("latin-1"), str(path))
    return looked_at


def assert_not_in_error(error: BaseException) -> None:
    """The whole chain, as a traceback prints it and as a debugger shows it."""
    assert_hidden("".join(traceback.format_exception(error)), "the traceback")
    seen: BaseException | None = error
    while seen is not None:
        assert_hidden(f"{seen!s} {seen!r} {seen.args!r} {vars(seen)!r}", "the error")
        seen = seen.__cause__ or seen.__context__


def assert_quiet(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], out: Path
) -> int:
    """Nothing in logs and output; the number of files that were looked at."""
    assert caplog.records
    for record in caplog.records:
        assert_hidden(f"{record.getMessage()} {record.args!r} {record.exc_info!r}", record.name)
    printed = capfd.readouterr()
    assert_hidden(printed.out, "standard output")
    assert_hidden(printed.err, "standard error")
    return assert_not_on_disk(out)


Plant = Callable[[pytest.MonkeyPatch], dict[str, str]]


def by_argument(_: pytest.MonkeyPatch) -> dict[str, str]:
    return {"api_key": KEY}


def by_environment(patch: pytest.MonkeyPatch) -> dict[str, str]:
    patch.setenv("MLHUB_API_KEY", KEY)
    return {}


def by_profile(patch: pytest.MonkeyPatch) -> dict[str, str]:
    write_api_key("canary", KEY)
    return {"profile": "canary"}


PLANTS = pytest.mark.parametrize("plant", [by_argument, by_environment, by_profile])
PLANTS_OF_ALL = pytest.mark.parametrize(
    "plant",
    [
        pytest.param(by_argument, marks=pytest.mark.slow),
        pytest.param(by_environment, marks=pytest.mark.slow),
        by_profile,
    ],
)
QUICK = RunSettings(transfer=TransferSettings(max_attempts=1))


def test_the_search_finds_a_key_in_every_spelling(tmp_path: Path) -> None:
    for number, form in enumerate(FORMS):
        with pytest.raises(AssertionError, match="shows the key"):
            assert_hidden(f"before {form} after", "this")
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").write_bytes(b"\xff\x00" + form.encode())
        with pytest.raises(AssertionError, match="shows the key"):
            assert_not_on_disk(tmp_path / str(number))
    try:
        try:
            raise ValueError(KEY)
        except ValueError as cause:
            raise HubUnreachable("fine") from cause
    except HubUnreachable as error:
        with pytest.raises(AssertionError, match="shows the key"):
            assert_not_in_error(error)


@PLANTS_OF_ALL
def test_success(
    plant: Plant,
    keyed_hub: DemoHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", keyed_hub.url)
    dataset = Dataset.fetch("demo_crops", **plant(monkeypatch))
    out = tmp_path / "out"
    report = dataset.download(out, datetime="2021-03", progress=True)
    assert report.fetched > 0
    assert report.failed == 0
    assert_hidden(f"{report!r} {report.summary()} {dataset!r}", "the report")
    assert assert_quiet(caplog, capfd, out) > report.fetched
    assert {record.name for record in caplog.records} >= {
        "mlhub_core.session",
        "mlhub_core.hub.app",
        "urllib3.connectionpool",
    }


def _echo(code: int, before: int = 0) -> Fault:
    """A hub that says in its error what it was sent."""
    body = json.dumps(
        {"detail": f"{'.' * before}Not with the key {KEY}, /x?key={quote(KEY, safe='')}!"}
    )
    headers = (("Retry-After", "0"),) if code >= 500 else ()
    return Fault(status=code, body=body.encode(), headers=headers, ignore_range=True)


@pytest.mark.parametrize(
    ("plant", "place", "fault", "expected"),
    [
        (by_argument, f"datasets/{DATASET}", _echo(401), AuthenticationError),
        (by_environment, f"datasets/{DATASET}", _echo(401), AuthenticationError),
        (by_profile, f"datasets/{DATASET}", _echo(401), AuthenticationError),
        (by_argument, f"datasets/{DATASET}", _echo(404), EntityDoesNotExist),
        (by_environment, f"datasets/{DATASET}", _echo(500), APIError),
        (by_argument, f"catalog/{DATASET}", _echo(401), AuthenticationError),
        (by_environment, f"catalog/{DATASET}", _echo(404), EntityDoesNotExist),
        (by_profile, f"catalog/{DATASET}", _echo(403), AuthenticationError),
        (by_profile, f"datasets/{DATASET}", _echo(400), APIError),
        (
            by_argument,
            f"catalog/{DATASET}",
            redirect(f"/gone/{DATASET}.tar.gz?key={quote(KEY, safe='')}", 303),
            EntityDoesNotExist,
        ),
        (by_argument, f"catalog/{DATASET}", redirect(f"/{quote(KEY, safe='')}/x.tar.gz"), APIError),
        (by_profile, f"datasets/{DATASET}", redirect(f"http://{quote_plus(KEY)}@h/"), APIError),
        (by_argument, f"datasets/{DATASET}", _echo(400, before=290), APIError),
        (
            by_argument,
            f"catalog/{DATASET}",
            redirect(api(f"catalog/{DATASET}", KEY)),
            APIError,
        ),
    ],
)
def test_the_hub_fails(
    plant: Plant,
    place: str,
    fault: Fault,
    expected: type[MLHubException],
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, key=KEY))
    server.always(api(place, KEY), fault)
    dataset = Dataset(DATASET, **plant(monkeypatch))  # type: ignore[arg-type]
    out = tmp_path / "out"
    with pytest.raises(expected) as caught:
        dataset.download(out, settings=QUICK)
    assert api(place, KEY) in server.paths()  # it was sent
    assert_not_in_error(caught.value)
    assert_quiet(caplog, capfd, out)


@pytest.mark.parametrize("plant", [pytest.param(by_argument, marks=pytest.mark.slow), by_profile])
def test_nothing_listens(
    plant: Plant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", _nowhere())
    dataset = Dataset(DATASET, **plant(monkeypatch))  # type: ignore[arg-type]
    with pytest.raises(HubUnreachable) as caught:
        dataset.download(tmp_path / "out")
    assert_not_in_error(caught.value)
    assert_quiet(caplog, capfd, tmp_path)


@PLANTS
def test_assets_fail(
    plant: Plant,
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every failure of an asset is written down, and asset hosts never get the key.

    A catalog may hold the key itself: somebody once copied the links of an answer.
    """
    nobody = _nowhere().removesuffix("/mlhub/v1/")
    hrefs = {
        "gone": server.url("/gone.tif"),
        "broken": server.url("/broken.tif"),
        "refused": f"{nobody}/refused.tif",
        "under_the_root": server.url(api("assets/x.tif")),
        "fine": server.put("/fine.tif", b"fine"),
    }
    server.always("/broken.tif", _echo(500))
    root = publish(server, item("a", hrefs), key=KEY)
    monkeypatch.setenv("MLHUB_ROOT_URL", root)
    dataset = Dataset.fetch(DATASET, **plant(monkeypatch))
    out = tmp_path / "out"
    with pytest.raises(DownloadIncomplete) as caught:
        dataset.download(out, settings=QUICK)
    assert (out / DATASET / "pictures" / "a" / "fine.tif").read_bytes() == b"fine"
    assert (caught.value.report.failed, caught.value.report.fetched) == (4, 1)
    assert (out / DATASET / "err_report.csv").read_text().count("\n") == 5
    assert_hidden(repr(caught.value.report) + caught.value.report.summary(), "the report")
    assert_not_in_error(caught.value)
    assert_quiet(caplog, capfd, out)
    for request in server.requests:
        if request.path.endswith(".tif"):
            assert_hidden(f"{request.path} {request.headers}", "a request to an asset host")


def _nowhere() -> str:
    """The root of a hub that is not there; the port is one that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/mlhub/v1/"


# The command


def _command(root: str, out: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run ``mlhub download``; its exit status and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mlhub_core", "download", "-v", *arguments, "--output-dir", out],
        env={**os.environ, "MLHUB_ROOT_URL": root, **environment},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The same without a process, which takes a second of nothing but imports."""

    def run(root: str, out: Path, *arguments: str, **environment: str) -> tuple[int, str]:
        for name, value in {"MLHUB_ROOT_URL": root, **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(out.parent)
        code = main(["download", "-v", *arguments, "--output-dir", str(out)])
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        return code, told.out + told.err

    return run


def test_the_command_succeeds(keyed_hub: DemoHub, tmp_path: Path) -> None:
    write_api_key("canary", KEY)
    out = tmp_path / "out"
    code, printed = _command(
        keyed_hub.url, out, "demo_crops", "--datetime", "2021-03", "--profile", "canary"
    )
    assert code == 0, printed
    assert "/mlhub/v1/datasets/demo_crops" in printed  # requests are shown at this level
    assert_hidden(printed, "the output")
    assert assert_not_on_disk(out) > 100


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (_echo(401), 3),
        pytest.param(_echo(404), 2, marks=pytest.mark.slow),
        pytest.param(_echo(500), 3, marks=pytest.mark.slow),
        pytest.param(None, 3, marks=pytest.mark.slow),
    ],
)
def test_the_command_fails(
    fault: Fault | None, code: int, server: FaultServer, tmp_path: Path, in_this_process: Run
) -> None:
    root = publish(server, key=KEY) if fault else _nowhere()
    if fault:
        server.always(api(f"datasets/{DATASET}", KEY), fault)
    got, printed = in_this_process(root, tmp_path / "out", DATASET, MLHUB_API_KEY=KEY)
    assert got == code, printed
    assert fault is None or api(f"datasets/{DATASET}", KEY) in server.paths()
    assert_hidden(printed, "the output")
    assert not (tmp_path / "out").exists()


def test_a_hub_that_repeats_the_key_in_its_texts(
    server: FaultServer,
    tmp_path: Path,
    in_this_process: Run,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root = publish(server, item("a", {"image": server.put("/a.tif", b"II*")}), key=KEY)
    listed = {"id": DATASET, "title": f"For {KEY}", "citation": f"({KEY})", "collections": []}
    for path, answer in ((f"datasets/{DATASET}", listed), ("datasets", [listed])):
        server.put(api(path, KEY), json.dumps(answer).encode())
    code, printed = in_this_process(root, tmp_path / "out", DATASET, MLHUB_API_KEY=KEY)
    assert code == 0, printed
    for words in (["list"], ["list", "--json"], ["show", DATASET], ["show", DATASET, "--json"]):
        assert main(["datasets", *words]) == 0
        told = capfd.readouterr()
        assert "***" in told.out
        printed += told.out + told.err
    assert_hidden(printed, "the output")
    assert assert_not_on_disk(tmp_path / "out") > 3


SIGNATURES = [
    *("sig", "X-Amz-Signature", "X-Amz-Credential", "X-Goog-Signature", "Policy", "Key-Pair-Id"),
    *("code", "jwt", "hdnts", "hdnea", "access_key", "hmac", "auth", "st", "~hash", "q[1]"),
]


def test_what_signs_a_url_is_shown_nowhere_and_asked_with(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: Run
) -> None:
    """Whatever a parameter is called: all of the query is left out, and who logs in."""
    tails = [f"?se=2030-01-01 00:00&{name}=sEcReT%2B/=&x=1" for name in SIGNATURES]
    tails += ["?sEcReT", "#sig=sEcReT", "#sEcReT", ";token=x?a?b=sEcReT", "?a=1#sEcReT"]
    hrefs = [server.url(f"/{number}.tif{tail}") for number, tail in enumerate(tails)]
    host = server.url("").removeprefix("http://")
    hrefs += [f"http://{who}@{host}/user.tif" for who in ("sEcReT", "me:sEcReT", "me:a@sEcReT")]
    hrefs += ["ftp://me:sEcReT@h/x?sEcReT", "http://[::1/x?k=sEcReT", "//me:sEcReT@h/x?sEcReT"]
    documents = [item(f"i{number}", {"image": href}) for number, href in enumerate(hrefs)]
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    root = publish(server, *documents)
    code, printed = in_this_process(root, tmp_path, DATASET)
    assert code == 1, printed
    report = (tmp_path / DATASET / "err_report.csv").read_text("utf-8")
    assert report.count("\n") == len(hrefs) + 1
    assert "/0.tif?…" in report
    assert "sEcReT" not in printed + report
    asked = [path for path in server.paths() if path.startswith("/0.tif")]
    server.put(asked[0], b"II*")
    with pytest.raises(DownloadIncomplete):
        retry(tmp_path / DATASET, settings=QUICK).raise_for_failures()
    assert (tmp_path / DATASET / "pictures" / "i0" / "image.tif").read_bytes() == b"II*"


def test_a_mirror_that_wants_a_login_gets_that_of_the_netrc_file(
    server: FaultServer, tmp_path: Path, in_this_process: Run
) -> None:
    server.put("/copy/a.tif", b"II*")
    root = publish(server, item("a", {"image": "https://old.example/a.tif"}))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password p/a:s@s-sEcReT\n")
    netrc.chmod(0o600)
    mirror = f"--mirror=https://old.example/={server.url('/copy/')}"
    code, printed = in_this_process(
        root, tmp_path / "out", DATASET, mirror, NETRC=str(netrc), MLHUB_PROFILE="__anonymous__"
    )
    assert code == 0, printed
    (sent,) = [one.headers for one in server.requests if one.path == "/copy/a.tif"]
    login = base64.b64encode(b"me:p/a:s@s-sEcReT").decode()
    assert sent["authorization"] == f"Basic {login}"
    assert "sEcReT" not in printed
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"sEcReT" not in path.read_bytes()


def test_the_command_lacks_assets(server: FaultServer, tmp_path: Path) -> None:
    server.always("/broken.tif", status(404))
    root = publish(server, item("a", {"image": server.url("/broken.tif")}), key=KEY)
    got, printed = _command(root, tmp_path / "out", DATASET, MLHUB_API_KEY=KEY)
    assert got == 1, printed
    assert_hidden(printed, "the output")
    assert assert_not_on_disk(tmp_path / "out") > 3
