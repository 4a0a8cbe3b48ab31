"""Lets runs take turns at a host, where somebody has set a limit for it in Prefect.

A limit is a global concurrency limit of Prefect's that is named after the host, such as
``mlhub:tiles.example.org``; its number is how many runs may fetch from there at a time. Without one
nothing waits: within one process the limit of connections does what is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from prefect import get_run_logger
from prefect.concurrency.sync import concurrency

from flows.api_client import API_ERRORS, brief_client, warn
from mlhub_core.selection.partition import Partition
from mlhub_core.settings import TransferSettings
from mlhub_core.transfer.sources import asset_hosts

LIMIT_PREFIX = "mlhub:"

_PAGE = 200
_LEASE_SECONDS = 60.0
"""How long the slots of a run that was killed stay taken; a run that lives renews them."""


@contextmanager
def taking_turns(partitions: Sequence[Partition], settings: TransferSettings) -> Iterator[None]:
    """Hold a slot of every limit that is set for a host of these partitions.

    Args:
        partitions: What is going to be fetched.
        settings: Mirrors, which have other hosts.
    """
    limits: list[str] = []
    if there := _limits():
        names = {LIMIT_PREFIX + host for host in asset_hosts(partitions, settings)}
        limits = sorted(there & names)
    if not limits:
        yield
        return
    get_run_logger().info("taking turns at %s", ", ".join(limits))
    # All of them at once or none, which is why two runs cannot wait for each other.
    with concurrency(
        limits, lease_duration=_LEASE_SECONDS, strict=False, raise_on_lease_renewal_failure=False
    ):
        yield


def _limits() -> set[str]:
    """Names of the limits that are meant for hosts and are on."""
    names: set[str] = set()
    try:
        with brief_client() as client:
            for offset in count(0, _PAGE):
                page = client.read_global_concurrency_limits(limit=_PAGE, offset=offset)
                names |= {limit.name for limit in page if limit.active}
                if len(page) < _PAGE:
                    break
    except API_ERRORS as error:
        warn("Nobody knows whether hosts have limits, so nothing waits", error)
    return {name for name in names if name.startswith(LIMIT_PREFIX)}
