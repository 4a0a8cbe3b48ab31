"""Every line that a command writes about itself leaves in one piece."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlhub_core.hub.server import DemoHub

_MLHUB = "mlhub_core.cli"


def writes(words: list[str], cwd: Path) -> list[bytes]:
    """What a command writes to standard error, by system call: a packet each."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with ours, theirs:
        ours.settimeout(60)
        with subprocess.Popen(
            [sys.executable, "-c", f"from {words[0]} import main; main({words[1:]!r})"],
            cwd=cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        ):
            theirs.close()
            return list(iter(lambda: ours.recv(1 << 16), b""))


@pytest.mark.parametrize(
    "words",
    [
        [_MLHUB, "download", "demo_crops", "--output-dir", "out", "--catalog-only"],
        [_MLHUB, "download", "demo_crop", "--output-dir", "out"],
        [_MLHUB, "datasets", "list", "--text", "no such words"],
    ],
    ids=["progress", "an error", "nothing found"],
)
def test_a_line_is_one_write(at_demo_hub: DemoHub, tmp_path: Path, words: list[str]) -> None:
    packets = writes(words, tmp_path)
    assert packets
    assert all(packet.endswith(b"\n") and packet != b"\n" for packet in packets)


def test_the_command_of_the_flow_says_so_too(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    packets = writes(["flows.command", "demo_crop", "--output-dir", "out"], tmp_path)
    assert [packet.count(b"\n") for packet in packets] == [1]


def test_a_download_goes_on_when_nobody_listens_any_more(
    at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    words = ["download", "demo_crops", "--output-dir", "out", "--datetime", "2021-03"]
    code = f"import sys; from {_MLHUB} import main; sys.exit(main({words!r}))"
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=writing
    ) as process:
        os.close(writing)
        assert os.read(reading, 1)
        os.close(reading)
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert b"files are here" in output
