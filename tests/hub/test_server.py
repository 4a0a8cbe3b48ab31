from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from mlhub_core import Dataset
from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.server import DemoHub, HubServer, serve

from .conftest import small_directory


def test_a_hub_runs_for_the_length_of_a_block(tmp_path: Path) -> None:
    threads = threading.enumerate()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with HubServer(small_directory(tmp_path)) as hub:
        url = hub.url
        assert url == f"http://127.0.0.1:{urlsplit(url).port}/mlhub/v1/"
        assert requests.get(url + "datasets").status_code == 200
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert set(threading.enumerate()) <= set(threads)
    with pytest.raises(requests.ConnectionError):
        requests.get(url + "datasets")
    with pytest.raises(InvalidArgument):
        _ = hub.url
    hub.stop()  # a second time does no harm


def test_a_hub_can_be_started_again(tmp_path: Path) -> None:
    hub = HubServer(small_directory(tmp_path))
    for _ in range(2):
        with hub:
            assert requests.get(hub.url + "datasets").status_code == 200
            with pytest.raises(InvalidArgument):
                hub.start()


def test_stopping_does_not_wait_for_a_slow_client(tmp_path: Path) -> None:
    small_directory(tmp_path)
    with (tmp_path / "assets" / "huge").open("wb") as file:
        file.truncate(1 << 30)
    with HubServer(tmp_path) as hub:
        client = socket.create_connection(("127.0.0.1", urlsplit(hub.url).port or 0), timeout=300)
        client.sendall(b"GET /files/assets/huge HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(20).startswith(b"HTTP/1.1 200")
    # The block has ended though the client has read next to nothing.
    assert not hub.is_running
    client.close()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    root = small_directory(tmp_path)
    with HubServer(root) as hub:
        port = urlsplit(hub.url).port or 0
        with pytest.raises(InvalidArgument, match=f"port {port} ") as caught:
            serve(root, port=port)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no host at all", 0)])
def test_an_impossible_address_is_named(tmp_path: Path, host: str, port: int) -> None:
    with pytest.raises(InvalidArgument, match=str(port)):
        HubServer(small_directory(tmp_path), host=host, port=port).start()


def test_a_directory_with_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="nothing to serve"):
        serve(tmp_path, port=0)
    with pytest.raises(InvalidArgument, match="not a directory"):
        serve(tmp_path / "none", port=0)
    with pytest.raises(InvalidArgument, match="No directory"):
        serve(port=0)


def test_any_address_is_shown_as_one_that_can_be_called(tmp_path: Path) -> None:
    with HubServer(small_directory(tmp_path), host="0.0.0.0") as hub:
        assert requests.get(hub.url + "datasets").status_code == 200


def test_the_demo_hub_removes_what_it_made() -> None:
    with DemoHub() as hub:
        made = hub.directory
        item = requests.get(hub.url + "collections/demo_crops_labels/items?limit=1").json()
        href = item["features"][0]["assets"]["labels"]["href"]
        assert requests.get(href).json()["type"] == "FeatureCollection"
    assert not made.exists()


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """``serve`` in a process of its own; the lines that it printed until it was up."""
    code = f"from mlhub_core.hub.server import serve; serve({', '.join(arguments)})"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or (lines[-1] and "Ctrl-C" not in lines[-1]):
                lines.append(process.stdout.readline().strip())
            yield process, lines
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        pytest.param(signal.SIGINT, ["demo=True"], marks=pytest.mark.slow),
        (signal.SIGTERM, ["{root!r}", "api_key='canary'"]),
    ],
)
def test_serve_until_a_signal(tmp_path: Path, number: int, arguments: list[str]) -> None:
    root = str(small_directory(tmp_path))
    filled = [argument.format(root=root) for argument in arguments]
    with serving(*filled, "port=0") as (process, lines):
        exports = [line for line in lines if line.startswith("export ")]
        url = exports[0].removeprefix("export MLHUB_ROOT_URL=")
        assert requests.get(url + "datasets").status_code == 200
        closed = requests.get(url + "catalog/demo_crops", params={"key": "wrong-canary"})
        needs_key = "api_key='canary'" in arguments
        assert closed.status_code == (401 if needs_key else 200)
        assert len(exports) == 2
        expected = '"$MLHUB_SERVE_API_KEY"' if needs_key else "none"
        assert exports[1] == f"export MLHUB_API_KEY={expected}"
        process.send_signal(number)
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    assert errors == ""
    assert "canary" not in output + "".join(lines)


def test_an_example_of_a_directory_can_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of docs/hub.md; and the table there names all that the example has."""
    made = tmp_path / "my-hub"
    assert main(["serve", str(made), "--demo", "--write", "--port", "0"]) == 0
    assert str(made) in capsys.readouterr().out
    guide = (Path(__file__).parents[2] / "docs" / "hub.md").read_text("utf-8")
    for folder in {path.relative_to(made).parts[0] for path in made.iterdir()}:
        assert f"| `{folder}/" in guide
    with HubServer(made) as hub:
        monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
        monkeypatch.setenv("MLHUB_API_KEY", "none")
        assert [dataset.id for dataset in Dataset.list()] == ["demo_crops"]
        report = Dataset.fetch("demo_crops").download(tmp_path, catalog_only=True, progress=False)
        assert report.catalog_only


@pytest.mark.parametrize("words", [["--write"], ["--write", "--demo"], ["{}", "--write"]])
def test_an_example_wants_a_place(words: list[str], tmp_path: Path) -> None:
    assert main(["serve", *(word.format(tmp_path / "hub") for word in words)]) == 2
    assert not (tmp_path / "hub").exists()
