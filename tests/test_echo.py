"""Every line that a command writes about itself leaves in one piece."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from mlhub_core.hub.server import DemoHub

_MLHUB = "mlhub_core.cli"


def writes(module: str, *commands: list[str], cwd: Path) -> list[bytes]:
    """What commands write to standard error, by system call: a packet each."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    code = "; ".join([f"from {module} import main", *(f"main({words!r})" for words in commands)])
    with ours, theirs:
        ours.settimeout(60)
        with subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        ):
            theirs.close()
            return list(iter(lambda: ours.recv(1 << 16), b""))


def test_a_line_is_one_write(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    """Progress, an error, and that nothing was found."""
    commands = [
        ["download", "demo_crops", "--output-dir", "out", "--catalog-only"],
        ["download", "demo_crop", "--output-dir", "out"],
        ["datasets", "list", "--text", "no such words"],
    ]
    packets = writes(_MLHUB, *commands, cwd=tmp_path)
    assert all(packet.endswith(b"\n") and packet != b"\n" for packet in packets)
    said = b"".join(packets)
    for part in (b"catalog: ", b"does not exist", b"No dataset matches"):
        assert part in said


def test_the_command_of_the_flow_says_so_too(at_demo_hub: DemoHub, tmp_path: Path) -> None:
    packets = writes("flows.command", ["demo_crop", "--output-dir", "out"], cwd=tmp_path)
    assert [packet.count(b"\n") for packet in packets] == [1]


def test_a_download_goes_on_when_nobody_listens_any_more(
    at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    words = ["download", "demo_crops", "--output-dir", "out", "--limit", "20"]
    code = f"import sys; from {_MLHUB} import main; sys.exit(main({words!r}))"
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=writing
    ) as process:
        os.close(writing)
        assert os.read(reading, 1)
        os.close(reading)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert b"files are here" in output
