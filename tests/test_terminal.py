"""What commands write: in any encoding, to whoever has gone, and never what commands a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.console import printable
from mlhub_core.hub.server import HubServer

TITLE = "Zürich 漢字 \x1b]0;owned\x07 \x9b2J \u202e ✓"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    directory = tmp_path_factory.mktemp("hub")
    (directory / "datasets").mkdir()
    datasets = [{"id": "d", "title": TITLE, "collections": []}]
    datasets += [{"id": f"d{number}", "title": "a" * 50} for number in range(3000)]
    (directory / "datasets" / "d.json").write_bytes(json.dumps(datasets).encode("utf-8-sig"))
    with HubServer(directory) as server:
        yield server


def run(hub: HubServer, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "mlhub_core", *words],
        env={**os.environ, "MLHUB_ROOT_URL": hub.url, "MLHUB_PROFILE": "__anonymous__", **env},
        capture_output=True,
        timeout=300,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_title_of_any_letters_is_shown_and_commands_no_terminal(
    hub: HubServer, encoding: str
) -> None:
    shown = run(hub, "datasets", "show", "d", PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stderr) == (0, b"")
    text = shown.stdout.decode(encoding)
    assert printable(text.replace("\n", "")) == text.replace("\n", "")
    assert "rich" in text


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_stays_json(hub: HubServer, encoding: str) -> None:
    shown = run(hub, "datasets", "show", "d", "--json", PYTHONIOENCODING=encoding)
    assert json.loads(shown.stdout.decode(encoding))["title"] == TITLE
    assert not {b"\x1b", b"\x07", "\x9b".encode()} & {shown.stdout[n : n + 1] for n in range(999)}
    assert "\x9b".encode() not in shown.stdout


def test_an_error_that_names_foreign_text_commands_no_terminal(hub: HubServer) -> None:
    shown = run(hub, "datasets", "show", "no\x1b[2Jsuch")
    assert shown.returncode == 2
    assert b"\x1b" not in shown.stderr
    assert b"\\x1b[2J" in shown.stderr


@given(st.text())
def test_printable_text_keeps_its_letters(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("words", [["datasets", "list"], ["datasets", "list", "--json"]])
def test_who_reads_no_further_ends_the_output_and_nothing_else(
    hub: HubServer, words: list[str]
) -> None:
    env = {**os.environ, "MLHUB_ROOT_URL": hub.url, "MLHUB_PROFILE": "__anonymous__"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlhub_core", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, b"")
