"""The dashboard as a person sees it: a run on demand, a scheduled one, and one that fails."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import browser_page, shot
from tests.faultserver import status
from tests.flows.conftest import Gate, Mirror
from tests.prefect_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STEPS = ("fetch-metadata", "fetch-catalog", "unarchive", "index-assets", "filter")


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with browser_page() as opened:
        yield opened


def see(page: Page, *texts: str | re.Pattern[str]) -> None:
    """Wait until all of these are on the page for people to see."""
    for text in texts:
        page.get_by_text(text).first.wait_for(state="visible")


def open_run(page: Page, site: Site, run: str) -> None:
    page.goto(f"{site.url}/runs/flow-run/{run}")
    see(page, re.compile(r"demo_crops 20\d\d-"), "dataset:demo_crops")


def open_artifact(page: Page, site: Site, run: str, kind: str) -> None:
    (found,) = [entry for entry in site.artifacts(run) if entry["type"] == kind]
    page.goto(f"{site.url}/artifacts/artifact/{found['id']}")
    see(page, found["key"])


def test_a_run_on_demand_while_it_goes_on_and_afterwards(
    site: Site, mirror: Mirror, gate: Gate, tmp_path: Path, page: Page
) -> None:
    fields = {"output_dir": str(tmp_path), "mirrors": mirror.mirrors}
    run = site.start_run("on-demand", dataset="demo_crops", **fields)
    gate.wait()
    progress = {"type": "", "description": ""}
    while "download:" not in progress["description"]:
        progress = next((a for a in site.artifacts(run) if a["type"] == "progress"), progress)
        time.sleep(0.2)
    open_run(page, site, run)
    see(page, "Running")
    page.get_by_text("Task Runs", exact=True).click()
    see(page, *(f"{step} demo_crops" for step in STEPS), "download demo_crops 1/4")
    shot(page, "running")
    open_artifact(page, site, run, "progress")
    see(page, re.compile(r"download: \d+ of 876 files"), re.compile(r"Progress: \d+(\.\d+)?%"))
    shot(page, "progress")

    gate.open()
    site.wait_for(run, "COMPLETED")
    page.set_viewport_size({"width": 1280, "height": 1000})
    open_run(page, site, run)
    see(page, "Completed", "876 files in the dataset", re.compile("All 876 files are here"))
    page.wait_for_load_state("networkidle")
    shot(page, "flow-run")
    page.set_viewport_size({"width": 1280, "height": 1300})
    open_artifact(page, site, run, "markdown")
    see(page, "Demo Crops: fields that never were", re.compile("^All 876 files are here"))
    see(page, re.compile("^Licence: CC-BY-4.0"), re.compile("^Citation: "), "Where it lies")
    see(page, str(tmp_path / "demo_crops" / "mlhub_stac_assets.parquet"))
    picture = page.get_by_alt_text("Footprints of the selection over those of all items")
    picture.wait_for(state="visible")
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 720
    shot(page, "summary")


def test_a_run_that_fails_shows_its_table(
    site: Site, mirror: Mirror, tmp_path: Path, page: Page
) -> None:
    gone = [path for path in mirror.files if path.endswith("B04.tif")]
    for number, path in enumerate(gone[:20]):
        mirror.server.always(path, status(404 if number % 3 else 403))
    fields = {"output_dir": str(tmp_path), "mirrors": mirror.mirrors}
    run = site.start_run("on-demand", dataset="demo_crops", **fields)
    site.wait_for(run, "FAILED")
    open_run(page, site, run)
    see(page, "Failed", re.compile(r"20 of 876 assets could not be had"))
    shot(page, "failed-run")
    open_artifact(page, site, run, "table")
    see(page, "file", "cause", "link", "HTTP 404 Not Found", "HTTP 403 Forbidden")
    (table,) = [entry for entry in site.artifacts(run) if entry["type"] == "table"]
    assert str(table["data"]).count("B04.tif") >= 20, "where each file should have come from"
    see(page, re.compile(re.escape(str(tmp_path / "demo_crops" / "err_report.csv"))))
    shot(page, "failures")
    kept = sum(path.is_file() for path in (tmp_path / "demo_crops").rglob("*.tif"))
    assert kept > 500


def test_the_retry_button_fetches_what_failed_and_nothing_else(
    site: Site, mirror: Mirror, tmp_path: Path, page: Page
) -> None:
    gone = sorted(path for path in mirror.files if path.endswith("B04.tif"))[:5]
    for path in gone:
        mirror.server.always(path, status(404))
    fields = {"output_dir": str(tmp_path), "mirrors": mirror.mirrors}
    run = site.start_run("on-demand", dataset="demo_crops", **fields)
    site.wait_for(run, "FAILED")
    mirror.heal()

    open_run(page, site, run)
    page.get_by_role("button", name="Retry").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    while site.flow_run(run)["state_type"] == "FAILED":  # until what the button asks for arrives
        time.sleep(0.2)
    done = site.wait_for(run, "COMPLETED")
    assert done["run_count"] == 2
    assert "871 were here already" in done["state"]["message"]
    assert sorted(mirror.server.paths()) == gone


def test_a_scheduled_run_that_finds_everything_there(site: Site, page: Page) -> None:
    found = site.ask("deployments/name/sync-dataset/nightly")
    every = {"active": True, "schedule": {"interval": 20, "timezone": "UTC"}}
    schedules = f"deployments/{found['id']}/schedules"
    (made,) = site.send("POST", schedules, [every]).json()
    wanted = {"deployments": {"name": {"any_": ["nightly"]}}}
    done: list[dict[str, object]] = []
    while len(done) < 2:
        runs = site.ask("flow_runs/filter", **wanted)
        done = [entry for entry in runs if entry["state_type"] == "COMPLETED"]
        time.sleep(0.5)
    site.send("DELETE", f"{schedules}/{made['id']}")
    assert all(entry["auto_scheduled"] for entry in done)
    last = max(done, key=lambda entry: str(entry["start_time"]))
    open_run(page, site, str(last["id"]))
    see(
        page,
        "Completed",
        "nightly",
        re.compile("Everything was there already|The catalog has not changed"),
    )
    page.goto(f"{site.url}/runs")
    see(page, re.compile("^sync demo_crops 20"), "Completed")
    shot(page, "runs")
