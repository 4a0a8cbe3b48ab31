"""What a catalog names and does not hold, from Python: told, counted, and a failure if asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import DownloadIncomplete, InvalidArgument
from tests.acceptance.kit import DATASET, collection, item
from tests.faultserver import FaultServer

_GONE = ("../gone/gone.json", "./n9/n9.json", "n9/../n9/n9.json", "./not%20here.json#x")
_THERE = ("n1/n1.json", "./n1/n1.json?v=2", "./n%31/n1.json", "https://x.test/any.json")


def test_what_the_catalog_links_and_does_not_hold(server: FaultServer, download: Any) -> None:
    server.put("/a.tif", b"a")
    links = [{"rel": "item", "href": href} for href in (*_GONE, *_THERE)]
    links += [{"rel": "child", "href": "./nowhere/collection.json"}, {"rel": "child", "href": 5}]
    links += [{"rel": "license", "href": "./license.txt"}, None]
    whole = {**collection(), "links": links}
    broken = {"key": {"href": ""}, "image": {"href": server.url("/a.tif")}}
    report = download(whole, item("i", broken))
    assert (report.files, report.failed, report.missing) == (1, 0, 5)
    assert report.remark_count == 5
    assert "5 items, collections or assets that the catalog names" in report.summary()
    said = "\n".join(report.remarks)
    for name in ("gone.json", "n9.json", "not%20here", "nowhere", "'key' has no href"):
        assert name in said
    with pytest.raises(DownloadIncomplete, match="5 items, collections or assets") as caught:
        download(strict=True)
    assert caught.value.report.missing == 5
    assert caught.value.report.failed == 0
    with pytest.raises(InvalidArgument, match="catalog_only"):
        download(strict=True, catalog_only=True)


@pytest.mark.parametrize("words", [["--quiet"], ["--json"]])
def test_who_asks_for_quiet_is_told_of_it_all_the_same(
    words: list[str],
    server: FaultServer,
    download: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.put("/a.tif", b"a")
    links = [{"rel": "item", "href": "./gone.json"}]
    download({**collection(), "links": links}, item("i", {"image": {"href": server.url("/a.tif")}}))
    capsys.readouterr()
    assert main(["download", DATASET, "--output-dir", str(tmp_path / "out"), *words]) == 0
    told = capsys.readouterr()
    assert "1 item, collection or asset that the catalog names" in told.err
    assert "names" not in told.out or words == ["--json"]
