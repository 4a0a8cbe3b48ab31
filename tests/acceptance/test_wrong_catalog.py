"""Where the catalog is wrong about a file, there is a way round, if it is asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.options import DownloadOptions
from mlhub_core.repair import verify
from tests.acceptance.kit import DATASET, Json, item
from tests.faultserver import FaultServer

TRUTH = b"II*\0picture"
WRONG = {
    "ignore_file_size": {"file:size": 99},
    "ignore_checksum": {"file:checksum": f"md5:{hashlib.md5(b'other').hexdigest()}"},
}


def wrong(server: FaultServer, option: str, **more: str) -> list[Json]:
    href = server.put("/a.tif", TRUTH)
    return [item("a", {"image": {"href": href, **WRONG[option], **more}})]


@pytest.mark.parametrize("option", WRONG)
def test_what_the_catalog_is_wrong_about(
    download: Any, files: Any, server: FaultServer, tmp_path: Path, option: str
) -> None:
    with pytest.raises(DownloadIncomplete) as failure:
        download(*wrong(server, option))
    assert f"--{option.replace('_', '-')}" in failure.value.report.summary()
    assert download(**{option: True}).fetched == 1
    assert files() == {"pictures/a/image.tif": TRUTH}
    assert verify(tmp_path / "out" / DATASET).wrong == 0
    server.forget()
    assert download().kept == 1  # it was asked for once, and need not be again
    assert server.count("/a.tif") == 0
    with pytest.raises(DownloadIncomplete):  # until the catalog says something else
        download(*wrong(server, option, updated="2022"))


@pytest.mark.parametrize("option", WRONG)
def test_retry_and_flows_know_the_way(
    download: Any, files: Any, server: FaultServer, tmp_path: Path, option: str
) -> None:
    settings = DownloadOptions.create(dataset="x", **{option: True}).request().settings
    assert getattr(settings.transfer, option) is True
    with pytest.raises(DownloadIncomplete):
        download(*wrong(server, option))
    directory = str(tmp_path / "out" / DATASET)
    assert main(["retry", directory, f"--{option.replace('_', '-')}", "-q"]) == 0
    assert files() == {"pictures/a/image.tif": TRUTH}
    assert main(["verify", directory, "-q"]) == 0
