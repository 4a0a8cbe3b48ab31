"""The system lets no further process or thread start: all is done by what there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.kit import DATASET, catalog_members, collection, item, publish
from tests.faultserver import FaultServer

# A user of this process alone: whoever else runs this test would take from what the limit leaves.
NOBODY = 1_000_000 + os.getpid()
_OPTIONS = ["--ignore-file-size", "--ignore-space"]


def as_a_user_with(most: int) -> list[str]:
    """A command's first words with which it has so many processes and threads at most, in all.

    The limit does not hold for root, so root becomes somebody else who may read what root may.
    """
    limit = ["prlimit", f"--nproc={most}:{most}"]
    if os.geteuid() != 0:
        return limit
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*user, "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search", *limit]


@pytest.fixture
def out() -> Iterator[Path]:
    """A directory that is whoever's runs the command."""
    with tempfile.TemporaryDirectory(prefix="mlhub-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.mark.skipif(
    not (shutil.which("prlimit") and shutil.which("setpriv")),
    reason="prlimit or setpriv is missing",
)
@pytest.mark.parametrize("most", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_run_goes_on_with_what_it_has(
    most: int, server: FaultServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("/a.tif", b"data")
    # So much promised data would have several processes fetch it.
    asset = {"href": server.url("/a.tif"), "file:size": 10**8}
    documents = [item(f"i{number}", {"data": asset}) for number in range(60)]
    members = catalog_members(collection(), *documents)
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, members=members))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    command = [sys.executable, "-m", "mlhub_core", "download", DATASET]
    done = subprocess.run(
        [*as_a_user_with(most), *command, *_OPTIONS, "--output-dir", str(out)],
        capture_output=True,
        text=True,
        cwd=out,
        env={**os.environ, "MLHUB_HOME": str(out)},
        timeout=300,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "Cannot start another process: " in done.stderr
    assert len(list(out.glob(f"{DATASET}/pictures/*/data.tif"))) == 60
