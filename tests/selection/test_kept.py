"""Plans of dry runs: how many are kept, and for how long."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mlhub_core.exceptions import StorageError
from mlhub_core.selection.plan import KEPT_PLANS, PLAN_NAME, Plan, save_plan


def plan_in(directory: Path, archive: str = "now") -> Plan:
    directory.mkdir(parents=True)
    return Plan("tiny", directory, (), 0, 0, 0, 0, (), made_from={"archive": archive})


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT_PLANS + 3):
        plan = plan_in(tmp_path / f"p{number:02d}")
        save_plan(plan)
        os.utime(plan.path, ns=(number, number))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"p{number:02d}" for number in range(3, KEPT_PLANS + 3)]

    # One that is made again is new again, whatever its name.
    again = Plan.load(tmp_path / "p03" / PLAN_NAME)
    save_plan(again)
    save_plan(plan_in(tmp_path / "p99"))
    assert again.path.exists()
    assert not (tmp_path / "p04").exists()


def test_what_cannot_be_run_any_more_goes(tmp_path: Path) -> None:
    save_plan(plan_in(tmp_path / "old", "before"))
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "partition-001.parquet").write_bytes(b"half")
    save_plan(plan_in(tmp_path / "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    plan = plan_in(tmp_path / "plan")
    with pytest.raises(StorageError, match="cannot be written"):
        save_plan(replace(plan, directory=tmp_path / "nowhere"))
