"""Hosts that are asked too often, and hosts whose answers have no end in sight."""

from __future__ import annotations

import pytest

from mlhub_core.net.response import parse_head
from mlhub_core.net.resume import Ask, Asked, verdict_on
from mlhub_core.net.retry import Again
from tests.faultserver import Fault, FaultServer, drip, status, truncate
from tests.transfer.kit import IMPATIENT, Kit, content, quick

SMALL = b"x" * 50
LIMITED = (
    status(429),
    status(429, "0"),
    status(503),
    Fault(status=429, headers=(("X-RateLimit-Reset", "1767323075"),)),
    Fault(status=403, headers=(("x-ratelimit-remaining", "0"),)),
    Fault(status=403, body=b"<Error><Code>SlowDown</Code></Error>"),
)


def want(kit: Kit, server: FaultServer, count: int, prefix: str = "") -> list[str]:
    paths = [f"/{prefix}{number}.tif" for number in range(count)]
    for path in paths:
        server.put(path, SMALL)
        kit.want(path, href=server.url(path))
    return paths


@pytest.mark.parametrize("where", ["body", "head"])
def test_a_file_that_drips_is_given_up_and_holds_up_nobody(
    kit: Kit, server: FaultServer, where: str
) -> None:
    kit.settings = quick(min_speed=100_000, stall_timeout=IMPATIENT)
    with FaultServer() as slow:
        slow.put("/slow.tif", SMALL)
        slow.always("/slow.tif", drip(where))
        kit.want("/slow.tif", href=slow.url("/slow.tif"))
        want(kit, server, 100)
        result = kit.run()
        assert len(slow.requests) <= kit.settings.max_attempts
    assert (result.fetched, result.failed) == (100, 1)
    cause = {"body": "too slow, with no end in sight", "head": "stalled"}[where]
    assert kit.errors(result)["slow.tif"].startswith(cause)


@pytest.mark.parametrize("fault", LIMITED, ids=repr)
def test_a_refusal_meant_for_all_costs_no_attempt(
    kit: Kit, server: FaultServer, fault: Fault
) -> None:
    kit.settings = quick(concurrency=1)
    want(kit, server, 4)
    refusals = kit.settings.max_attempts + 1
    server.script("/2.tif", *[fault] * refusals)
    result = kit.run()
    assert (result.fetched, result.failed, result.retries) == (4, 0, refusals)


def test_a_host_that_always_refuses_is_asked_a_few_times_for_all_files_together(
    kit: Kit, server: FaultServer
) -> None:
    # Refusals that come one after the other, on a busy machine, are told together all the same.
    kit.settings = quick(backoff_base=0.3, backoff_cap=0.5, retry_after_cap=0.5)
    for path in want(kit, server, 400):
        server.always(path, status(429))
    result = kit.run()
    assert (result.fetched, result.failed) == (0, 400)
    assert len(server.requests) < 100
    errors = kit.errors(result)
    assert len(errors) == 400
    assert all("HTTP 429 Too Many Requests" in error for error in errors.values())


def test_other_hosts_go_on_while_one_is_left_alone(kit: Kit, server: FaultServer) -> None:
    """As many files of it wait as are looked at ahead, and more."""
    kit.settings = quick(max_attempts=10_000)
    with FaultServer() as other:
        held = want(kit, server, 300, "held")
        for path in held:
            server.always(path, status(503))
        last = want(kit, other, 50)[-1]

        def relent() -> None:
            for path in held:
                server.always(path, Fault())

        other.when_asked(last, relent)
        result = kit.run()
    assert (result.fetched, result.failed) == (350, 0)


def test_one_file_that_is_always_refused_is_given_up(kit: Kit, server: FaultServer) -> None:
    want(kit, server, 50)
    server.always("/20.tif", status(503))
    result = kit.run()
    assert (result.fetched, result.failed) == (49, 1)
    assert server.count("/20.tif") <= 3 * kit.settings.max_attempts


def test_what_is_here_of_a_file_that_is_refused_is_there_for_the_next_run(
    kit: Kit, server: FaultServer
) -> None:
    big = content("big", 300_000)
    server.put("/big.tif", big)
    kit.want("/big.tif")
    kit.settings = quick(max_attempts=1)
    server.script("/big.tif", truncate(200_000))
    server.always("/big.tif", status(429))
    kit.settings = quick()
    assert kit.run().failed == 1
    assert kit.partials() != []
    server.always("/big.tif", Fault())
    assert kit.run().resumed == 1
    assert kit.final("/big.tif").read_bytes() == big


@pytest.mark.parametrize(
    ("lines", "wait"),
    [
        (["Retry-After: 7"], 7.0),
        (["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 30"], 30.0),
        (["RateLimit: limit=9, remaining=0, reset=12"], 12.0),
        (["x-ms-retry-after-ms: 1500"], 1.5),
        (["Date: Fri, 02 Jan 2026 03:04:05 GMT", "X-RateLimit-Reset: 1767323075"], 30.0),
        ([], None),
    ],
)
def test_how_long_a_host_is_left_alone(lines: list[str], wait: float | None) -> None:
    head = parse_head([b"HTTP/1.1 429 No\r\n", *(f"{x}\r\n".encode() for x in lines), b"\r\n"])
    assert head is not None
    verdict = verdict_on(head, Ask(Asked.WHOLE))
    assert (verdict.again, verdict.wait) == (Again.WHEN_LET, wait)
