"""A run that would fetch more than it may by itself waits until somebody presses Resume."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import MissingContextError
from prefect.states import State

from flows.approval import decided
from flows.download_dataset import download_dataset
from mlhub_core.options import DownloadOptions
from mlhub_core.selection.plan import Plan, format_bytes, parse_bytes
from mlhub_core.transfer.report import DownloadReport
from tests.flows.conftest import PATIENCE, Mirror
from tests.processes import command, download_words

pytestmark = pytest.mark.usefixtures("prefect_server")

SOME = {"collection_filter": {"demo_crops_plots": []}, "limit": 5}


def options(mirror: Mirror, root: Path, **more: Any) -> DownloadOptions:
    return DownloadOptions(
        dataset="demo_crops", output_dir=str(root), mirrors=mirror.mirrors, **SOME, **more
    )


def pages(client: SyncPrefectClient, state: State[Any] | str) -> dict[str, str]:
    """The Markdown artifacts of a run."""
    run = state if isinstance(state, str) else state.state_details.flow_run_id
    found = client.read_artifacts(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run]))  # type: ignore[list-item]
    )
    return {str(entry.key): str(entry.data) for entry in found if entry.type == "markdown"}


def beside(work: Callable[[], None]) -> Thread:
    """Work that is done while the run goes on, by whoever sits before the dashboard."""
    thread = Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    return thread


def test_it_waits_with_its_plan_until_it_is_resumed(mirror: Mirror, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def press_resume() -> None:
        with get_client(sync_client=True) as client:
            while True:
                wanted = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
                runs = client.request("POST", "/flow_runs/filter", json=wanted).json()
                if runs:
                    break
            seen["asked"] = list(mirror.server.paths())
            seen["pages"] = pages(client, runs[0]["id"])
            client.resume_flow_run(runs[0]["id"])

    helper = beside(press_resume)
    state: State[DownloadReport] = download_dataset(
        options(mirror, tmp_path, approve_above="1 kB"), return_state=True
    )
    helper.join(30)
    assert state.is_completed(), state
    assert seen["asked"] == []
    assert state.result().fetched == len(mirror.server.paths()) > 0
    page = seen["pages"]["demo-crops-plan"]
    for text in ("Press Resume", "1.0 kB that need no approval", "Licence: CC-BY-4.0", "Requests"):
        assert text in page
    assert f"- Files: {state.result().files} of 5 items" in page


def test_less_than_that_waits_for_nobody(tmp_path: Path) -> None:
    plan = Plan("d", tmp_path, (), 4, 4, known_bytes=300, unknown_sizes=1, funnel=())
    assert plan.expected_bytes == 400
    for enough in ("400 B", "1 kB"):
        decided(DownloadOptions(dataset="d", approve_above=enough))(plan)
    decided(DownloadOptions(dataset="d"))(plan)
    with pytest.raises(MissingContextError):  # it would wait, and there is no run that could
        decided(DownloadOptions(dataset="d", approve_above="399 B"))(plan)


def test_a_dry_run_shows_its_plan_and_waits_for_nobody(mirror: Mirror, tmp_path: Path) -> None:
    given = options(mirror, tmp_path, approve_above="1 B", dry_run=True)
    state = download_dataset(given, return_state=True)
    assert state.is_completed()
    assert "a dry run fetches nothing" in str(state.message)
    assert mirror.server.paths() == []
    with get_client(sync_client=True) as client:
        assert "Nothing of it was fetched" in pages(client, state)["demo-crops-plan"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_command_with_a_server_of_its_own_has_no_button(mirror: Mirror, tmp_path: Path) -> None:
    words = download_words("demo_crops", "--approve-above", "1 GB", "--output-dir", "out")
    with command(words, tmp_path) as running:
        assert running.wait(PATIENCE) == 2
        assert "--approve-above needs a Prefect server with its UI" in running.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "count"),
    [("10 GB", 10**10), ("1.5TB", 15 * 10**11), (" 7 ", 7), ("500 kB", 500_000), ("3M", 3 * 10**6)],
)
def test_a_size_is_read_as_people_write_it(text: str, count: int) -> None:
    assert parse_bytes(text) == count
    assert parse_bytes(format_bytes(count)) == count
