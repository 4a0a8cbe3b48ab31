"""Artifacts: their keys, and what happens when the API does not take them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import State

from flows.artifacts import artifact_key, progress_artifact, show_report
from flows.host_limits import taking_turns
from flows.runner import tagged
from mlhub_core.exceptions import StorageError
from mlhub_core.paths import DownloadPaths
from mlhub_core.progress import Progress, Stage
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.settings import TransferSettings
from mlhub_core.sources.base import DatasetInfo
from mlhub_core.transfer.report import DownloadReport
from tasks.runtime import new_run
from tests.faultserver import FaultServer, status


@pytest.mark.parametrize(
    ("dataset", "key"),
    [
        ("nasa_marine_debris", "nasa-marine-debris-progress"),
        ("sen12floods", "sen12floods-progress"),
    ],
)
def test_a_usual_id_is_readable(dataset: str, key: str) -> None:
    assert artifact_key(dataset, "progress") == key


@settings(max_examples=40)
@given(st.text(), st.text())
def test_keys_are_what_prefect_takes_and_differ(one: str, other: str) -> None:
    keys = artifact_key(one, "x"), artifact_key(other, "x")
    assert all(re.fullmatch("[a-z0-9-]{3,80}", key) for key in keys)
    assert (keys[0] == keys[1]) == (one == other)


@settings(max_examples=40)
@given(st.lists(st.sampled_from("ab_-A. "), min_size=1, max_size=4).map("".join))
def test_ids_that_look_alike_have_keys_of_their_own(one: str) -> None:
    for other in (one.replace("_", "-"), one.replace("-", "_"), one.lower(), one.strip(), one * 20):
        assert (artifact_key(one, "x") == artifact_key(other, "x")) == (one == other)


@flow(persist_result=False)
def shows_what_it_can(api: str, paths: DownloadPaths) -> str:
    report = DownloadReport("demo", paths.asset_dir, files=1, failed=1, causes=(("gone", "x", 1),))
    settings = TransferSettings()
    with (
        temporary_settings({PREFECT_API_URL: api}),
        new_run() as hooks,
        tagged("demo"),
        taking_turns((), settings),
        progress_artifact("demo"),
    ):
        hooks.progress(Progress(Stage.DOWNLOAD, 1, 2))
        show_report(DatasetInfo("demo"), report, paths, AssetFilter(), None, None)
    return "went on"


def test_an_api_that_refuses_all_this_fails_nothing(
    prefect_server: str, server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused = ("/api/artifacts/", "/api/v2/concurrency_limits/filter")
    for path in refused:
        server.always(path, status(500))
    paths = DownloadPaths.of("demo", tmp_path)
    assert shows_what_it_can(server.url("/api"), paths) == "went on"
    assert set(refused) <= set(server.paths())
    warnings = [entry.message for entry in caplog.records if entry.levelname == "WARNING"]
    assert len([text for text in warnings if text.startswith("The dashboard does not show")]) == 2
    assert any("hosts have limits" in text for text in warnings)
    assert any("no tag dataset:demo" in text for text in warnings)


@flow(persist_result=False)
def breaks_off() -> None:
    with new_run(), progress_artifact("demo"):
        raise StorageError("The disk is full, see http://x.example/?sig=SECRET")


def test_a_run_that_breaks_off_says_why(prefect_server: str) -> None:
    state: State[None] = breaks_off(return_state=True)
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilterId(any_=[state.state_details.flow_run_id])
        found = client.read_artifacts(flow_run_filter=FlowRunFilter(id=wanted))
    (progress,) = (entry for entry in found if entry.type == "progress")
    assert "**Ended early:** The disk is full" in str(progress.description)
    assert "SECRET" not in str(progress.description)
    assert progress.data == 0
