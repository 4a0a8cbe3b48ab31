"""Plans that are there already: used again where nothing changed, run as they were saved."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlhub_core.cli import main
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.server import DemoHub
from mlhub_core.pipeline import download
from mlhub_core.request import DownloadRequest
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan
from mlhub_core.selection.query import plan_assets
from mlhub_core.settings import RunSettings

FIELDS = "demo_crops_labels"


def _files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".mlhub" not in path.parts and path.suffix not in (".db", ".parquet")
    }


def _saved(folder: Path) -> Path:
    (found,) = folder.glob("demo_crops/.mlhub/plans/*/plan.json")
    return found


def _request(folder: Path, **more: Any) -> DownloadRequest:
    return DownloadRequest("demo_crops", folder, settings=RunSettings(asset_db=False), **more)


def test_a_dry_run_then_the_saved_plan_give_the_same_files(
    at_demo_hub: DemoHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    words = ["--collection", FIELDS, "--limit", "7", "--no-asset-db"]
    assert main(["download", "demo_crops", "--output-dir", str(one), *words]) == 0
    dry = ["download", "demo_crops", "--output-dir", str(other), *words, "--dry-run"]
    assert main(dry) == 0
    told = capsys.readouterr().out
    saved = _saved(other)
    for part in ("files of 7 items", "after the limit", "from 2", "within ", "free in", str(saved)):
        assert part in told
    before = saved.read_bytes()
    assert main(["download", "--plan", str(saved), "--no-asset-db"]) == 0
    assert _files(other) == _files(one)
    assert saved.read_bytes() == before


def test_a_plan_that_does_not_fit_any_more_is_refused(
    at_demo_hub: DemoHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = AssetFilter.create(collection_filter={FIELDS: []}, limit=2)
    with caplog.at_level("INFO", "mlhub_core"):
        download(_request(tmp_path, wanted=wanted, dry_run=True))
    assert "in the dataset" in caplog.text
    assert "assets saved" not in caplog.text
    path = _saved(tmp_path)
    with pytest.raises(InvalidArgument, match="leave the filters out"):
        download(_request(tmp_path, wanted=wanted, plan=path))
    with pytest.raises(InvalidArgument, match="not a saved plan"):
        download(_request(tmp_path, plan=tmp_path / "no.json"))
    text = path.read_text()
    fields = json.loads(text)
    fields["made_from"]["archive"]["sha256"] = "0" * 64
    path.write_text(json.dumps(fields))
    with pytest.raises(InvalidArgument, match="another state of the catalog"):
        download(_request(tmp_path, plan=path))
    path.write_text(text)
    part = Plan.load(path).partitions[0].path
    content = part.read_bytes()
    part.write_bytes(content[:-1] + b"?")
    with pytest.raises(InvalidArgument, match="is not what"):
        download(_request(tmp_path, plan=path))
    part.unlink()
    with pytest.raises(InvalidArgument, match="cannot be read"):
        download(_request(tmp_path, plan=path))


@pytest.fixture(scope="module")
def index(demo_hub: DemoHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("index")
    patch = pytest.MonkeyPatch()
    with patch.context() as environment:
        environment.setenv("MLHUB_ROOT_URL", demo_hub.url)
        environment.setenv("MLHUB_PROFILE", "__anonymous__")
        report = download(_request(where, dry_run=True))
    assert report.index_path is not None
    return report.index_path


def test_a_plan_is_used_again_only_where_the_same_would_come_out(
    index: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "index.parquet"
    copy.write_bytes(index.read_bytes())
    table = tmp_path / "assets.db"

    def written(workers: int = 2, **wanted: Any) -> list[tuple[int, int]]:
        chosen = AssetFilter.create(**wanted)
        plan_assets("demo", copy, chosen, tmp_path / "plan", workers=workers, asset_db=table)
        found = [(tmp_path / "plan" / "plan.json").stat(), table.stat()]
        # By its number alone a new file may pass for the one before, which had the same.
        return [(stat.st_ino, stat.st_mtime_ns) for stat in found]

    first = written(limit=3)
    assert written(limit=3) == first
    other = written(limit=4)
    assert other[0] != first[0]
    assert other[1] != first[1]
    assert written(limit=4) == other
    assert written(workers=3, limit=4)[0] != other[0]
    third = written(limit=4)
    os.utime(copy, ns=(1, 1))
    assert written(limit=4)[0] != third[0]
    table.write_bytes(b"")
    written(limit=4)
    with sqlite3.connect(table) as rows:
        (left,) = rows.execute("SELECT COUNT(DISTINCT item_id) FROM assets WHERE filtered = 0")
    rows.close()
    assert left == (4,)


def test_an_index_is_asked_without_a_hub(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["query", str(index), "--collection", f"{FIELDS}", "--limit", "5"]
    assert main([*ask, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["items"], counts["collections"]) == (5, {FIELDS: 5})
    assert main([*ask, "--output", "-"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == counts["rows"]
    assert {row["collection_id"] for row in rows} == {FIELDS}
    out = tmp_path / "out.parquet"
    assert main([*ask, "--output", str(out)]) == 0
    assert counts["first"][0] in capsys.readouterr().out
    assert pq.read_metadata(out).num_rows == counts["rows"]
    assert main(["query", str(out)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "x.txt"], "name a file that ends in .parquet or .csv"),
        (["--json", "--output", "-"], "both want standard output"),
        (["--where", "no_such < 3"], "No item has a property 'no_such'"),
        (["--datetime", "1999"], "Nothing to download"),
        (["--limit", "0"], "limit is 0"),
    ],
)
def test_questions_that_end_in_one_line(
    index: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", str(index), "-q", *words]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_index_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"no parquet at all")
    for name in (str(bad), str(tmp_path / "none.parquet")):
        assert main(["query", name, "-q"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
