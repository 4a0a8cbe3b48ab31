"""The way of deployments/README.md on PostgreSQL, and what a failed run sets off."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import asyncpg
import pytest

from tests.deployments.postgresql import postgresql
from tests.prefect_site import PATIENCE, ROOT, Site, prefect_site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    with prefect_site(home, PREFECT_API_DATABASE_CONNECTION_URL=database) as made:
        yield made


@pytest.fixture
def webhook() -> Iterator[tuple[str, Queue[Any]]]:
    """A URL, and what is posted to it."""
    posted: Queue[Any] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=s3cr3t", posted
        server.shutdown()


def rows(database: str, query: str) -> list[Any]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(database.replace("+asyncpg", ""))
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_a_run_on_demand_and_a_nightly_one(site: Site, database: str) -> None:
    site.prefect("prefect deployment run download-dataset/on-demand --watch")
    data = site.home / "mlhub-data" / "demo_crops"
    assert sum(path.suffix == ".tif" for path in data.rglob("*")) > 500
    site.prefect("prefect deployment run sync-dataset/nightly --start-in")
    found = rows(database, "SELECT state_type FROM flow_run WHERE state_type <> 'SCHEDULED'")
    assert [row["state_type"] for row in found] == ["COMPLETED", "COMPLETED"]
    assert not (site.home / "prefect" / "prefect.db").exists()


def test_a_failed_run_is_told_of(site: Site, webhook: tuple[str, Queue[Any]]) -> None:
    url, posted = webhook
    for _ in range(2):  # the second replaces the first
        done = subprocess.run(
            [sys.executable, "-m", "deployments.notify_on_failure"],
            cwd=ROOT,
            env=site.env,
            input=url + "\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        assert "s3cr3t" not in done.stdout + done.stderr
    (made,) = site.ask("automations/filter", automations={})
    assert "s3cr3t" not in json.dumps(made)
    run = site.start_run(
        "on-demand", dataset="no_such", demo=True, output_dir=str(site.home / "none")
    )
    site.wait_for(run, "FAILED")
    text = posted.get(timeout=60)["text"]
    assert "Failed" in text
    assert "no_such" in text
    assert f"{site.url}/runs/flow-run/{run}" in text
    assert "None" not in text
