"""Progress that travels as events of a Dask cluster; the cluster itself is in the slow tests."""

from __future__ import annotations

import json
from typing import Any

from mlhub_core.progress import Broadcast, Progress, Stage
from tasks.remote import Teller, heard, telling, topic_of

DONE = Progress(Stage.DOWNLOAD, 7, 7, 70, None, failed=1, part=3, finished=True)


class Worker:
    """What is asked of Dask's, which sends messages as bytes."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def log_event(self, topic: str, message: dict[str, Any]) -> None:
        self.sent.append((topic, json.dumps(message)))


def test_what_is_told_is_heard() -> None:
    worker = Worker()
    tell = Teller(worker, topic_of("/data/tiny"))
    begun = Progress(Stage.DOWNLOAD, 1, 7, part=3)
    tell(begun)
    tell(Progress(Stage.DOWNLOAD, 2, 7, part=3))  # within a second: left out
    tell(DONE)
    assert {topic for topic, _ in worker.sent} == {"mlhub-progress:/data/tiny"}
    # Dask adds to an event who sent it.
    events = [(0.0, {**json.loads(text), "worker": "tcp://a"}) for _, text in worker.sent]
    assert [heard(event) for event in events] == [begun, DONE]


def test_without_a_cluster_nothing_is_told() -> None:
    progress = Broadcast()
    seen: list[Progress] = []
    with progress.listen(seen.append), telling("/data/tiny", progress):
        progress(DONE)
    assert seen == [DONE]
