"""``mlhub configure``: from a pipe, at its end, beside what is stored, and given wrongly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.net.profiles import profiles_path, read_api_key, write_api_key

SECRET = "s3cr3t%key"


def configure(piped: bytes, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mlhub_core", "configure", *words],
        input=piped,
        capture_output=True,
        timeout=300,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).decode()


def test_a_key_comes_from_a_pipe_and_stays_until_it_is_to_be_replaced() -> None:
    assert configure(b"", "--profile", "p")[0] == 2
    assert not profiles_path().exists()
    assert configure(f"  {SECRET}\r\n".encode(), "--profile", "p")[0] == 0
    assert read_api_key("p") == SECRET
    status, said = configure(b"another\n", "--profile", "p")
    assert (status, read_api_key("p")) == (2, SECRET)
    assert "is kept: --force replaces it" in said
    assert configure(b"another", "--profile", "p", "--force")[0] == 0
    assert read_api_key("p") == "another"


@pytest.mark.parametrize(
    "piped", [b"\xff\xfe\n", b"a\x1bb\n", b"a\tb\n", b"\n", "a\u202eb".encode()]
)
def test_what_is_no_key_is_refused_and_not_repeated(piped: bytes) -> None:
    status, said = configure(piped)
    assert status == 2
    assert "API key" in said
    assert not profiles_path().exists()


@pytest.mark.parametrize(
    "words",
    [
        ["configure", SECRET],
        ["configure", "--api-key", SECRET],
        ["configure", f"--api-key={SECRET}"],
        ["configure", "--profile", "p", "--key", SECRET],
        ["download", "d", f"--api-key={SECRET}"],
        ["download", "d", "--api-key", SECRET],
        ["datasets", "list", "--api_key", SECRET],
        ["verify", "x", "--token", SECRET],
    ],
    ids=" ".join,
)
def test_a_key_given_as_an_argument_is_not_repeated(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert "never an argument" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "damaged",
    [b"no section\n", b"[p]\napi_key = a\n[p]\n", b"\xff\xfe[\x00p\x00", b"[p\napi_key\n"],
)
def test_a_damaged_file_is_left_as_it_is(damaged: bytes) -> None:
    profiles_path().write_bytes(damaged)
    status, said = configure(SECRET.encode())
    assert status != 0
    assert "move it away" in said
    assert SECRET not in said
    assert profiles_path().read_bytes() == damaged


def test_a_file_with_a_byte_order_mark_is_read_and_added_to() -> None:
    profiles_path().write_bytes("[old]\napi_key = kept\n".encode("utf-8-sig"))
    write_api_key("new", SECRET)
    assert (read_api_key("old"), read_api_key("new")) == ("kept", SECRET)


def test_a_link_to_a_file_elsewhere_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("[old]\napi_key = kept\n")
    os.symlink(tmp_path / "elsewhere", profiles_path())
    write_api_key("new", SECRET)
    assert profiles_path().is_symlink()
    assert SECRET in (tmp_path / "elsewhere").read_text()


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_key_that_is_stored_is_read_as_it_was(profile: str, key: str) -> None:
    try:
        write_api_key(profile, key)
    except InvalidArgument:
        return
    assert read_api_key(profile) == key.strip()
