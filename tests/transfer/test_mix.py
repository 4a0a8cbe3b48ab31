"""Random mixes of faults over many assets: the account always balances."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import faultserver as f
from tests.faultserver import Fault, FaultServer
from tests.transfer.kit import Kit, content, quick

PASSING = [
    f.truncate(0),
    f.truncate(700),
    f.truncate(5000),
    f.reset_before(),
    f.reset_within(3000),
    f.status(429, "0"),
    f.status(503, "1e9"),
    f.status(500),
    f.ignore_range(),
    f.wrong_content_range(),
    f.chunked(),
    Fault(chunked=True, cut=2500),
    f.gzipped(),
    f.wrong_md5(),
    f.empty(),
    f.html(),
    Fault(cut=4000, then_put=content("changed", 9000)),
]
LASTING = [
    f.status(404),
    f.status(403),
    f.status(500),
    f.truncate(300),
    f.reset_before(),
    f.redirect("file:///etc/passwd"),
    f.wrong_md5(),
    f.gzipped(),  # which is had all the same
    f.html(),
]


def account(kit: Kit, truths: dict[str, FaultServer]) -> None:
    """Run once, and check that every asset is either there and true, or in the report."""
    result = kit.run()
    errors = kit.errors(result)
    there = {path.relative_to(kit.paths.asset_dir).as_posix() for path in kit.files()}
    for asset in kit.assets:
        name = asset.item_id
        assert (asset.save_path in there) != (name in errors), (name, errors.get(str(name)))
        if asset.save_path in there:
            truth = truths[f"/{name}"].truths(f"/{name}")
            assert (kit.paths.asset_dir / asset.save_path).read_bytes() in truth
    assert len(there) == result.fetched == len(kit.entries())
    assert len(errors) == result.failed
    assert kit.partials() == []


def mixed(kit: Kit, server: FaultServer, seed: int, count: int) -> None:
    dice = random.Random(seed)
    truths = {}
    for number in range(count):
        path = f"/{number}.tif"
        server.put(path, content((seed, number), dice.choice([1, 900, 4000, 20_000, 90_000])))
        if dice.random() < 0.2:
            server.script(path, *dice.choices(PASSING, k=dice.randint(1, 3)))
        if dice.random() < 0.05:
            server.always(path, dice.choice(LASTING))
        truths[path] = server
        kit.want(path)
    account(kit, truths)


def test_a_mix_over_many_assets(kit: Kit, server: FaultServer) -> None:
    kit.settings = quick(concurrency=16)
    mixed(kit, server, seed=1, count=400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_mix_over_two_thousand_assets(kit: Kit, server: FaultServer, seed: int) -> None:
    kit.settings = quick(concurrency=16)
    mixed(kit, server, seed, count=2000)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12_000),
            st.lists(st.sampled_from(PASSING), max_size=4),
            st.none() | st.sampled_from(LASTING),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_any_mix(cases: list[tuple[int, list[Fault], Fault | None]]) -> None:
    with tempfile.TemporaryDirectory() as directory, FaultServer() as server:
        kit = Kit(Path(directory), server)
        for number, (size, script, lasting) in enumerate(cases):
            path = f"/{number}.tif"
            server.put(path, content(number, size))
            server.script(path, *script)
            if lasting is not None:
                server.always(path, lasting)
            kit.want(path, file_size=None if any(s.then_put for s in script) else size)
        account(kit, {f"/{number}.tif": server for number in range(len(cases))})
