"""What a hub may do without, or do wrong, and a download goes on all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlhub_core import Dataset, client
from mlhub_core.exceptions import InvalidArgument
from tests.acceptance.kit import DATASET, api, item, publish
from tests.faultserver import Fault, FaultServer, redirect, reset_before, stall, status, truncate

SIZES = {
    "a 404": status(404),
    "a refusal": status(403),
    "a failure": status(500),
    "a time-out": stall(0),
    "a broken connection": reset_before(),
    "half an answer": truncate(5),
    "no JSON": Fault(body=b"<html>parked</html>"),
    "nothing": Fault(body=b""),
    "a list": Fault(body=b'["sizes"]'),
    "null": Fault(body=b"null"),
    "words": Fault(body=b'{"stac_catalog_size": "large", "estimated_dataset_size": [1]}'),
    "less than nothing": Fault(body=b'{"stac_catalog_size": -1, "estimated_dataset_size": 1e400}'),
    "a circle": redirect("info"),
    "a way to nowhere": redirect("http://["),
}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=[pytest.mark.slow] if fault == "a time-out" else [])
        for fault in SIZES
    ],
)
def test_sizes_are_for_show(
    fault: str, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", publish(server, item("a", {"b": server.url("/b.bin")})))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    server.put("/b.bin", b"bytes")
    server.always(api(f"catalog/{DATASET}/info"), SIZES[fault])
    report = Dataset.fetch(DATASET).download(tmp_path, progress=False)
    assert (report.files, report.failed) == (1, 0)


@pytest.mark.parametrize("limit", [0, 3, None])
def test_so_many_items_as_asked_for(limit: int | None, at_demo_hub: object) -> None:
    found = list(client.list_collection_items("demo_crops_plots", limit=limit))
    assert len(found) == limit if limit is not None else len(found) > 10


@pytest.mark.parametrize("limit", [-1, 1.5, "3", float("inf")])
def test_what_is_no_number_of_items(limit: object, at_demo_hub: object) -> None:
    with pytest.raises(InvalidArgument, match="limit is"):
        client.list_collection_items("demo_crops_plots", limit=limit)  # type: ignore[arg-type]
