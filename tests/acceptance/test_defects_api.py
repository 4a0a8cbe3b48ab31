"""What the reference client gets wrong about its own interface."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlhub_core import Dataset
from mlhub_core.exceptions import AuthenticationError
from mlhub_core.hub.server import DemoHub
from tests.acceptance.kit import KEY

DATASET = "demo_crops"


@pytest.fixture(autouse=True)
def at_hub(keyed_hub: DemoHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", keyed_hub.url)
    monkeypatch.setenv("MLHUB_API_KEY", "")  # as good as none


def test_a_key_holds_for_all_that_a_dataset_does_later(tmp_path: Path) -> None:
    """However the dataset was had; the environment has no key that could help."""
    with pytest.raises(AuthenticationError):
        Dataset.fetch(DATASET, api_key="another")
    for dataset in (
        Dataset.fetch(DATASET, api_key=KEY),
        Dataset.fetch_by_id(DATASET, api_key=KEY),
        Dataset.fetch_by_doi("10.12345/demo.crops", api_key=KEY),
        Dataset.list(api_key=KEY)[0],
    ):
        assert dataset.stac_catalog_size
        assert len(dataset.collections) == 3
        assert dataset.collections[0].fetch_item is not None
        assert dataset.download(tmp_path, catalog_only=True, progress=False).catalog_only


def test_the_default_directory_is_the_current_one_at_the_time_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.fetch(DATASET, api_key=KEY)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        dataset.download(catalog_only=True, progress=False)
        assert (tmp_path / name / DATASET / "catalog.json").is_file()


def _python(code: str, where: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "MLHUB_API_KEY": KEY},
        cwd=where,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_logging_stays_in_the_hands_of_the_application(tmp_path: Path) -> None:
    done = _python(
        f"""
import logging
from mlhub_core import Dataset
dataset = Dataset.fetch("{DATASET}")
dataset.download("a", catalog_only=True, progress=False)
assert logging.getLogger().handlers == []
assert logging.getLogger().level == logging.WARNING
logging.basicConfig(format="mine: %(message)s")
dataset.download("b", catalog_only=True, progress=False)
""",
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if "catalog saved to" in line]
    assert len(lines) == 2  # each once: by our handler, then by the application's
    assert not lines[0].startswith("mine: ")
    assert lines[1].startswith("mine: ")


def test_no_check_is_an_assert(tmp_path: Path) -> None:
    """Python leaves asserts out under -O; what they check would then go unchecked."""
    (tmp_path / "file").write_text("x")
    done = _python(
        f"""
from mlhub_core import Dataset
from mlhub_core.exceptions import InvalidArgument, StorageError
dataset = Dataset("{DATASET}")
for expected, arguments in (
    (StorageError, dict(output_dir="file")),
    (StorageError, dict(output_dir=".", asset_output_dir="file")),
    (InvalidArgument, dict(output_dir="")),
    (InvalidArgument, dict(output_dir="new", if_exists="maybe")),
    (InvalidArgument, dict(output_dir="new", bbox=[1, 2, 3])),
    (InvalidArgument, dict(output_dir="new", bbox=[1, 2, 3, 4], intersects={{"type": "Point"}})),
):
    try:
        dataset.download(**arguments)
    except expected:
        continue
    raise SystemExit(f"{{arguments}} went through")
""",
        tmp_path,
        "-O",
    )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
