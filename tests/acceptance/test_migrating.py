"""What docs/migrating.md says of us is so. Most of it has tests of its own; this is the rest."""

from __future__ import annotations

import builtins
import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from mlhub_core import Collection, Dataset, client, exceptions, get_session
from mlhub_core.exceptions import InvalidArgument, MLHubException
from mlhub_core.hub.server import DemoHub
from mlhub_core.transfer.failures import HEADER
from tests.acceptance.conftest import Download
from tests.acceptance.kit import collection, item
from tests.faultserver import FaultServer, status

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "migrating.md").read_text("utf-8")
PLOTS = "demo_crops_plots"


def _rows(section: str) -> list[list[str]]:
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    table = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1:]]


def _class(name: str) -> Any:
    for module in (exceptions, requests, builtins):
        if found := getattr(module, name.removeprefix("requests."), None):
            return found
    raise AssertionError(f"no such error: {name}")


def test_errors_are_what_the_table_says() -> None:
    rows = _rows("Errors")
    assert len(rows) > 8
    for _, there, here in rows:
        named = re.findall(r"`([A-Z]\w+Error|[A-Z]\w+|requests\.\w+)`", here)
        ours = [name for name in named if hasattr(exceptions, name)]
        for part in here.split(";") if ours else ():
            first, *bases = re.findall(r"`((?:requests\.)?[A-Z]\w+)`", part) or [ours[0]]
            assert issubclass(_class(first), MLHubException)
            assert all(issubclass(_class(first), _class(base)) for base in bases), part
        caught = [_class(name) for name in re.findall(r"`((?:requests\.)?[A-Z]\w+)`", there)]
        if ours:
            assert all(issubclass(_class(ours[0]), base) for base in caught), there


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (DOCS / target).is_file(), target


@pytest.mark.parametrize(
    "arguments",
    [
        {"bbox": []},
        {"intersects": {}},
        {"collection_filter": {"nope": []}},
        {"collection_filter": {PLOTS: ["nope"]}},
    ],
)
def test_filters_that_are_errors(
    arguments: dict[str, Any], at_demo_hub: DemoHub, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument):
        Dataset.fetch("demo_crops").download(tmp_path, progress=False, **arguments)


def test_where_files_go(download: Download, server: FaultServer) -> None:
    for name in ("a.tiff", "b.json", "c.bin", "own.csv", "lost.bin"):
        server.put(f"/{name}", name.encode())
    server.always("/lost.bin", status(404))
    assets = {
        "a/b": server.url("/a.tiff"),
        "n1": server.url("/b.json"),
        "lost": server.url("/lost.bin?sig=1"),
    }
    own = collection(assets={"table": server.url("/own.csv")})
    with pytest.raises(OSError, match=r"err_report\.csv") as caught:
        download(own, item("n1", assets))
    report = getattr(caught.value, "report", None)
    assert report is not None
    there = report.directory / "pictures" / "n1"
    assert (there / "a%2Fb.tiff").read_bytes() == b"a.tiff"
    assert (there / "%6E1.json").read_bytes() == b"b.json"
    header, row = (report.directory / "err_report.csv").read_text().splitlines()
    assert header == ",".join(HEADER)
    assert f"`{header}`" in PAGE
    assert "sig" not in row


def test_the_rest(at_demo_hub: DemoHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = get_session(api_key="mine")
    assert (session.api_key, session.params) == ("mine", {})
    monkeypatch.chdir(tmp_path)
    dataset = Dataset.fetch("demo_crops")
    report = dataset.download(collection_filter={PLOTS: ["labels"]}, progress=False)
    assert (report.files, report.fetched, report.kept, report.failed) == (48, 48, 0, 0)
    assert report.summary()
    assert not (tmp_path / "demo_crops" / "err_report.csv").exists()
    assert not list((tmp_path / "demo_crops" / PLOTS).glob("readme*")), "of the collection itself"
    assert Collection.fetch(PLOTS).download().parent == tmp_path
    dataset = Dataset("x", [{"id": PLOTS, "types": ["video"]}])
    assert len(dataset.collections) == 1
    assert dataset.collections.labels == dataset.collections.source_imagery == []
    config = client.CatalogDownloaderConfig(dataset_id="x", output_dir=os.curdir)
    assert dataclasses.asdict(config)["dataset_id"] == "x"
