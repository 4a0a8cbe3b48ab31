"""Where the run of a deployment writes to: never into the directory that its worker removes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.variables import Variable

from flows.directories import OUTPUT_DIR_VARIABLE, lasting
from flows.download_dataset import download_dataset
from flows.sync_dataset import sync_dataset
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.hub.server import DemoHub
from mlhub_core.options import DownloadOptions

pytestmark = pytest.mark.usefixtures("prefect_server")

LABELS = {"collection_filter": {"demo_crops_plots": ["labels"]}, "limit": 1}


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that a worker of the type process starts a run in, with the run's id."""
    directory = tmp_path / "tmp1x2y3zprefect"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0190a8e4-0000-7000-8000-000000000001")
    return directory


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    """The directory that the variable names."""
    Variable.set(OUTPUT_DIR_VARIABLE, str(tmp_path / "data"))
    yield tmp_path / "data"
    Variable.unset(OUTPUT_DIR_VARIABLE)


def parameters(output_dir: str | None, assets: str | None = None) -> DownloadOptions:
    places = {"output_dir": output_dir, "asset_output_dir": assets}
    return DownloadOptions(dataset="demo_crops", **places, **LABELS)


RELATIVE = [None, "", "data", "./data", ".", "../data"]
NEVER = [
    " ",
    " /data",
    "/data\n",
    "file:///data",
    "file:data",
    "s3://bucket/data",
    "~nobody-here/x",
]


@pytest.mark.parametrize("given", RELATIVE + NEVER)
def test_what_leads_to_no_directory_that_stays_is_refused(worker: Path, given: str | None) -> None:
    with pytest.raises(InvalidArgument, match=r"output_dir|home") as caught:
        lasting(parameters(given))
    assert "\n" not in str(caught.value)
    if given:
        with pytest.raises(InvalidArgument):
            lasting(parameters("/data", given))


@pytest.mark.parametrize("given", RELATIVE)
def test_the_variable_says_where_to(worker: Path, base: Path, given: str | None) -> None:
    download = parameters(str(worker.parent / "absolute"), given)
    assert lasting(download).output_dir == str(worker.parent / "absolute")
    assert lasting(download).asset_output_dir == (given and str(base / given))


@pytest.mark.parametrize("given", NEVER)
def test_the_variable_changes_nothing_about_what_is_no_path(
    worker: Path, base: Path, given: str
) -> None:
    with pytest.raises(InvalidArgument):
        lasting(parameters(given))


@pytest.mark.parametrize("value", ["data", "", 7, ["/data"]])
def test_a_variable_that_is_no_directory(worker: Path, base: Path, value: object) -> None:
    Variable.set(OUTPUT_DIR_VARIABLE, value, overwrite=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="no absolute path"):
        lasting(parameters(None))


def test_the_directory_of_the_run_by_its_whole_path(worker: Path) -> None:
    with pytest.raises(InvalidArgument, match="removed with it"):
        lasting(parameters(str(worker / "data")))
    assert lasting(parameters("~/data")).output_dir == str(Path.home() / "data")


@pytest.mark.parametrize("flow", [download_dataset, sync_dataset])
def test_a_run_is_refused_before_any_work(worker: Path, at_demo_hub: DemoHub, flow: object) -> None:
    state = flow(parameters("data"), return_state=True)  # type: ignore[operator]
    assert state.is_failed()
    with pytest.raises(InvalidArgument, match="prefect variable set mlhub_output_dir"):
        state.result()
    assert list(worker.iterdir()) == []


def test_a_run_writes_where_the_variable_says(
    worker: Path, base: Path, at_demo_hub: DemoHub
) -> None:
    state = download_dataset(parameters("mine"), return_state=True)
    assert state.is_completed(), state
    assert state.result().directory == base / "mine" / "demo_crops"
    assert list(worker.iterdir()) == []


def test_a_run_by_hand_is_where_its_user_is(
    at_demo_hub: DemoHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = download_dataset(parameters("mine"))
    assert report.directory == tmp_path / "mine" / "demo_crops"
