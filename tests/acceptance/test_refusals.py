"""What the system refuses in the middle of a run: one line with the way out, status 4."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlhub_core.cli import main
from tests.acceptance.kit import DATASET, collection, item, publish
from tests.faultserver import FaultServer

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int fails(const char *call, int fd) {
    char link[64], path[4096];
    if (strcmp(getenv("SHIM_CALL"), call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, getenv("SHIM_PATH")) != NULL;
}
int close(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    int bad = fails("close", fd), result = real(fd);
    if (!bad) return result;
    errno = atoi(getenv("SHIM_ERRNO"));
    return -1;
}
int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    if (!fails("fsync", fd)) return real(fd);
    errno = atoi(getenv("SHIM_ERRNO"));
    return -1;
}
"""


@pytest.fixture
def published(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    for number in range(3):
        server.put(f"/{number}.tif", b"II*\0" + bytes(20_000))
    hrefs = {f"a{number}": server.url(f"/{number}.tif") for number in range(3)}
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, collection(), item("one", hrefs)))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    return server


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Whatever writes beyond that is refused, as on a disk with a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("published")
def test_a_disk_that_takes_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--output-dir", str(tmp_path)]
    for size in (0, 500, 15_000):
        with files_of_at_most(size):
            assert main(["download", DATASET, "-q", *where]) == 4
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert "File too large" in printed
    assert main(["download", DATASET, "-q", *where]) == 0


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library in which calls of the system fail as the environment asks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler")
    source = tmp_path_factory.mktemp("shim") / "shim.c"
    source.write_text(SHIM)
    library = source.with_suffix(".so")
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("call", "path", "code", "told"),
    [
        ("close", "/pictures/", 122, "quota"),
        ("fsync", ".mlhub/", 28, "No space left"),
    ],
)
def test_a_call_that_fails(
    shim: Path, tmp_path: Path, call: str, path: str, code: int, told: str
) -> None:
    environment = {"SHIM_CALL": call, "SHIM_PATH": path, "SHIM_ERRNO": str(code)}
    ran = subprocess.run(
        [sys.executable, "-m", "mlhub_core", "download", DATASET, "-q"],
        cwd=tmp_path,
        env={**os.environ, **environment, "LD_PRELOAD": str(shim), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    ours = [
        line for line in ran.stderr.splitlines() if not line.startswith(("/arrow", "<jemalloc"))
    ]
    assert len(ours) == 1
    assert told in ours[0]
    assert ran.returncode == 4


@pytest.mark.parametrize("gone", ["", DATASET, f"{DATASET}/.mlhub"])
def test_a_directory_that_is_removed_meanwhile(
    gone: str, published: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never is all said to be here when it is not."""
    output = tmp_path / "out"
    published.when_asked("/2.tif", lambda: shutil.rmtree(output / gone))
    command = ["download", DATASET, "-q", "--output-dir", str(output), "--concurrency", "1"]
    assert main(command) == 4
    assert capsys.readouterr().err.count("\n") == 1
    published.when_asked("/2.tif", lambda: None)
    assert main(command) == 0
    assert len(list((output / DATASET).rglob("*.tif"))) == 3
