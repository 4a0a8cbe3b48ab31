"""Waits for somebody's approval, where a run would fetch more than it may by itself.

The plan is shown as an artifact, and the run waits until somebody presses Resume. That of a
deployment is suspended: its process ends, and what it holds is free; resumed, it goes through its
first steps again, which have nothing left to do. Any other run waits in its process.
"""

from __future__ import annotations

from collections.abc import Callable

from prefect import get_run_logger, runtime
from prefect.flow_runs import pause_flow_run, suspend_flow_run

from flows.artifacts import show_plan
from mlhub_core.options import DownloadOptions
from mlhub_core.selection.plan import Plan, format_bytes

_LONGEST = 30 * 86_400
"""Seconds that a run waits in its process for somebody to press Resume."""
_EVERY_SECONDS = 5


def decided(download: DownloadOptions) -> Callable[[Plan], None]:
    """What is done about a plan before the first file is fetched: shown, and waited for.

    Args:
        download: What the run was asked for.
    """
    limit = download.approved_bytes

    def decide(plan: Plan) -> None:
        if download.dry_run:
            show_plan(plan, "Nothing of it was fetched: this was a dry run.")
        elif limit is not None and (plan.expected_bytes is None or plan.expected_bytes > limit):
            _wait(plan, limit)

    return decide


def _wait(plan: Plan, limit: int) -> None:
    if plan.expected_bytes is None:
        size = "The catalog gives no sizes, so this may be more"
    else:
        size = f"{format_bytes(plan.expected_bytes)} is more"
    why = f"{size} than the {format_bytes(limit)} that need no approval"
    show_plan(plan, f"**{why}.** Press Resume to fetch it, or Cancel.")
    get_run_logger().warning("%s: waiting until somebody presses Resume", why)
    # A plan of another size is another question; the same one is not asked again, as by a retry.
    key = f"mlhub-approval-{plan.files}-{plan.known_bytes}"
    if runtime.deployment.id:
        suspend_flow_run(key=key)
    else:
        pause_flow_run(timeout=_LONGEST, poll_interval=_EVERY_SECONDS, key=key)
