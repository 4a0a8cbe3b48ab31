"""Checksums of the catalog: compared in whatever spelling, or told of."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mlhub_core.exceptions import DownloadIncomplete
from tests.acceptance.kit import item
from tests.faultserver import FaultServer
from tests.test_checksums import SHA256, SPELLINGS, UNKNOWN


def test_damaged_files_are_refused_and_unread_checksums_told(
    server: FaultServer, download: Any, files: Any, caplog: pytest.LogCaptureFixture
) -> None:
    read = {f"r{n}": spell(SHA256) for n, spell in enumerate(SPELLINGS.values())}
    unread: dict[str, Any] = {f"u{n}": text for n, text in enumerate(UNKNOWN)}
    unread["object"] = {"sha256": hashlib.sha256().hexdigest()}
    with pytest.raises(DownloadIncomplete) as failure:
        download(
            *(
                item(name, {"data": {"href": server.put(f"/{name}", b"!"), "file:checksum": text}})
                for name, text in {**read, **unread}.items()
            )
        )
    report = failure.value.report
    assert set(files()) == {f"pictures/{name}/data" for name in unread}
    assert report.uncompared == len(unread)
    told = f"{len(unread)} files were not compared with the checksum of the catalog"
    assert told in report.summary()
    assert told in caplog.text
    assert "of pictures/" in caplog.text
