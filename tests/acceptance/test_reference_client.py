"""The reference client at our hub, and our client in the directories that it leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from mlhub_core import Collection, Dataset
from mlhub_core.hub.server import DemoHub
from mlhub_core.settings import RunSettings, TransferSettings
from mlhub_core.transfer.report import DownloadReport
from tests.acceptance.reference import Reference, find_reference
from tests.acceptance.tap import Exchange, Tap
from tests.hub.test_server import serving

DATASET = "demo_crops"
DOI = "10.12345/demo.crops"
LABELS = "demo_crops_labels"
SOURCE = "demo_crops_source_sentinel_2"
PLOTS = "demo_crops_plots"
OWN_FILES = {
    *("mlhub_stac_assets.db", "mlhub_stac_assets.parquet", "err_report.csv"),
    *("items.parquet", "croissant.json"),
}
OWN_DIRECTORIES = {".mlhub", "stac"}


@pytest.fixture(scope="module")
def python() -> Path:
    return find_reference()


@pytest.fixture(scope="module")
def tap(demo_hub: DemoHub) -> Iterator[Tap]:
    with Tap(demo_hub.address) as running:
        yield running


@pytest.fixture(scope="module")
def reference(
    python: Path, demo_hub: DemoHub, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    return Reference(python, tmp_path_factory.mktemp("home"), demo_hub.url)


@pytest.fixture(scope="module")
def theirs(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete download by the reference client; tests only read from it."""
    where = tmp_path_factory.mktemp("theirs")
    reference.run(f'Dataset.fetch("{DATASET}").download(sys.argv[1])', str(where), cwd=where)
    return where


@pytest.fixture(autouse=True)
def at_tap(tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", f"{tap.address}/mlhub/v1/")
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    tap.forget()


@pytest.fixture
def settings(demo_hub: DemoHub, tap: Tap) -> RunSettings:
    """Fetch assets through the tap, and in pieces that are worth resuming."""
    mirrors = ((f"{demo_hub.address}/", f"{tap.address}/"),)
    return RunSettings(transfer=TransferSettings(mirrors=mirrors))


def _files(root: Path) -> dict[str, bytes]:
    """Files of a download by path, without what each client keeps for itself."""
    return {
        place.as_posix(): (root / place).read_bytes()
        for path in root.rglob("*")
        if path.is_file()
        and OWN_DIRECTORIES.isdisjoint((place := path.relative_to(root)).parts)
        and place.name not in OWN_FILES
    }


def _where_ours_is(place: str) -> str:
    """The reference client has a ``_common`` in every collection, we have one for the dataset."""
    parts = PurePosixPath(place).parts
    if "_common" in parts:
        return "/".join((parts[0], *parts[2:]))
    return place


def test_it_lists_what_we_list(reference: Reference, tmp_path: Path) -> None:
    found = reference.run(
        """
def names(**query):
    return [dataset.id for dataset in Dataset.list(**query)]
answer = {
    "all": [str(dataset) for dataset in Dataset.list()],
    "tag": names(tags="crop type"), "tags": names(tags=["demo", "no such tag"]),
    "text": names(text="maize"), "texts": names(text=["maize", "no such phrase"]),
    "collections": sorted(str(collection) for collection in Collection.list()),
    "models": [model.id for model in MLModel.list()],
}""",
        cwd=tmp_path,
    )
    assert found["all"] == [str(dataset) for dataset in Dataset.list()]
    assert found["all"] == [f"{DATASET}: {Dataset.fetch(DATASET).title}"]
    for name, query in {
        "tag": {"tags": "crop type"},
        "tags": {"tags": ["demo", "no such tag"]},
        "text": {"text": "maize"},
        "texts": {"text": ["maize", "no such phrase"]},
    }.items():
        assert found[name] == [dataset.id for dataset in Dataset.list(**query)], name
    assert (found["tag"], found["tags"]) == ([DATASET], [])
    assert (found["text"], found["texts"]) == ([DATASET], [])
    assert found["collections"] == sorted(str(collection) for collection in Collection.list())
    assert found["models"] == ["demo_crops_model"]


def test_it_fetches_what_we_fetch(reference: Reference, tmp_path: Path) -> None:
    theirs = reference.run(
        f"""
answer = []
for dataset in (Dataset.fetch("{DATASET}"), Dataset.fetch("{DOI}"),
                Dataset.fetch_by_id("{DATASET}"), Dataset.fetch_by_doi("{DOI}")):
    answer.append([dataset.id, str(dataset), dataset.doi, dataset.citation, dataset.registry_url])
collections = dataset.collections
answer.append([sorted(c.id for c in group)
               for group in (collections, collections.source_imagery, collections.labels)])
answer.append([dataset.stac_catalog_size, dataset.estimated_dataset_size])
# Of a collection without an archive it would ask for three minutes: it tries a 404 again.
answer.append([c.archive_size for c in collections if c.id == "{PLOTS}"])
item = Collection.fetch("{PLOTS}").fetch_item("{PLOTS}_kenya_02_1")
answer.append([item.id, sorted(item.assets)])
""",
        cwd=tmp_path,
    )
    ours: list[Any] = []
    for dataset in (
        Dataset.fetch(DATASET),
        Dataset.fetch(DOI),
        Dataset.fetch_by_id(DATASET),
        Dataset.fetch_by_doi(DOI),
    ):
        ours.append([dataset.id, str(dataset), dataset.doi, dataset.citation, dataset.registry_url])
    groups = (
        dataset.collections,
        dataset.collections.source_imagery,
        dataset.collections.labels,
    )
    ours.append([sorted(collection.id for collection in group) for group in groups])
    ours.append([dataset.stac_catalog_size, dataset.estimated_dataset_size])
    ours.append([c.archive_size for c in dataset.collections if c.id == PLOTS])
    item = Collection.fetch(PLOTS).fetch_item(f"{PLOTS}_kenya_02_1")
    ours.append([item.id, sorted(item.assets)])
    assert theirs == ours
    # A collection of both types is in both lists.
    assert ours[4] == [[LABELS, PLOTS, SOURCE], [PLOTS, SOURCE], [LABELS, PLOTS]]
    assert all(size > 0 for size in ours[5] + ours[6])
    assert [c.archive_size for c in dataset.collections if c.id != PLOTS] == [None, None]


def test_it_downloads_what_we_download(theirs: Path, settings: RunSettings, tmp_path: Path) -> None:
    report = Dataset.fetch(DATASET).download(tmp_path, settings=settings, progress=False)
    ours = _files(tmp_path)
    expected = {_where_ours_is(place): content for place, content in _files(theirs).items()}
    assert ours == expected
    assert report.files == report.fetched == 876
    assert (theirs / DATASET / "err_report.csv").read_text() == ""


def test_a_collection_archive_is_the_same(reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    code = f'answer = str(Collection.fetch("{PLOTS}").download(sys.argv[1]))'
    place = reference.run(code, str(tmp_path / "theirs"), cwd=tmp_path)
    mine = Collection.fetch(PLOTS).download(tmp_path / "ours")
    assert Path(place).name == Path(mine).name == f"{PLOTS}.tar.gz"
    assert Path(place).read_bytes() == Path(mine).read_bytes()


@dataclass
class HalfDone:
    """A directory that the reference client left, by what is wrong with its files."""

    root: Path
    missing: set[str]
    truncated: dict[str, int]  # bytes that are there
    whole: set[str]
    archive_bytes: int


def _is_asset(root: Path, members: set[str], place: str) -> bool:
    return place not in members and place != f"{DATASET}.tar.gz" and "_common" not in place


@pytest.fixture
def half_done(theirs: Path, tmp_path: Path) -> HalfDone:
    """As after Ctrl-C or a full disk: files missing, files cut off, a document cut off."""
    root = tmp_path / "half"
    shutil.copytree(theirs, root)  # with the times of the files, which resuming looks at
    with tarfile.open(theirs / f"{DATASET}.tar.gz") as tar:
        members = {member.name for member in tar}
    assets = sorted(p for p in _files(theirs) if _is_asset(root, members, p))
    state = HalfDone(root, set(), {}, set(), 0)
    for number, place in enumerate(assets):
        path = root / place
        size = path.stat().st_size
        if number % 3 == 0:
            path.unlink()
            state.missing.add(place)
        elif number % 7 == 1:
            state.truncated[place] = _cut(path, size * (1 + number % 4) // 5)
        else:
            state.whole.add(place)
    documents = sorted(m for m in members if m.endswith(".json") and m.count("/") == 3)
    _cut(root / documents[0], 100)
    (root / documents[1]).unlink()
    archive = root / f"{DATASET}.tar.gz"
    state.archive_bytes = _cut(archive, archive.stat().st_size // 2)
    _cut(root / DATASET / "mlhub_stac_assets.db", 5000)
    assert min(map(len, (state.missing, state.truncated, state.whole))) > 50
    return state


def _cut(path: Path, size: int) -> int:
    with path.open("r+b") as file:
        file.truncate(size)
    return size


def _by_file(exchanges: list[Exchange]) -> dict[str, list[Exchange]]:
    """Exchanges about assets, by the path of the file in a download."""
    found = defaultdict(list)
    for exchange in exchanges:
        if exchange.path.startswith("/files/assets/"):
            found[exchange.path.removeprefix("/files/assets/")].append(exchange)
    return dict(found)


def test_what_it_left_half_done_is_completed_without_fetching_whole_files_again(
    theirs: Path, half_done: HalfDone, tap: Tap, settings: RunSettings
) -> None:
    whole = _files(theirs)
    report = Dataset.fetch(DATASET).download(half_done.root, settings=settings, progress=False)
    expected = {_where_ours_is(place): content for place, content in whole.items()}
    left = {place: content for place, content in whole.items() if "_common" in place}
    assert _files(half_done.root) == {**expected, **left}

    asked = _by_file(tap.exchanges())
    for place in half_done.missing:
        assert [(e.status, e.body) for e in asked.pop(place)] == [(200, len(whole[place]))]
    for place, here in half_done.truncated.items():
        rest = len(whole[place]) - here
        assert [(e.status, e.body) for e in asked.pop(place)] == [(206, rest)], place
    for place in half_done.whole:
        questions = asked.pop(place, [])
        assert [e.body for e in questions] in ([], [0]), place
    assert {PurePosixPath(place).parent.name for place in asked} <= {"_common"}

    archive = [e for e in tap.exchanges() if e.path.startswith("/files/catalogs/")]
    rest = len(whole[f"{DATASET}.tar.gz"]) - half_done.archive_bytes
    assert [(e.status, e.body) for e in archive if e.method == "GET"] == [(206, rest)]
    assert report.resumed == len(half_done.truncated)
    _check_next_run(half_done.root, tap, settings, report)


def _check_next_run(root: Path, tap: Tap, settings: RunSettings, before: DownloadReport) -> None:
    """What was put together is asked about once more; from then on nobody is asked."""
    tap.forget()
    Dataset.fetch(DATASET).download(root, settings=settings, progress=False)
    questions = [e for asked in _by_file(tap.exchanges()).values() for e in asked]
    assert {e.body for e in questions} == {0}
    assert len(questions) <= before.resumed
    tap.forget()
    again = Dataset.fetch(DATASET).download(root, settings=settings, progress=False)
    assert _by_file(tap.exchanges()) == {}
    assert (again.kept, again.requests) == (before.files, 0)


def test_a_complete_download_of_its_is_taken_over_for_a_question_a_file(
    theirs: Path, tap: Tap, settings: RunSettings, tmp_path: Path
) -> None:
    root = tmp_path / "complete"
    shutil.copytree(theirs, root)
    report = Dataset.fetch(DATASET).download(root, settings=settings, progress=False)
    common = 3  # documentation and two splits, which have another place with us
    assert (report.fetched, report.adopted) == (common, 876 - common)
    moved = {place: e for place, list_ in _by_file(tap.exchanges()).items() for e in list_}
    assert sum(e.body for e in moved.values()) == report.fetched_bytes
    assert {PurePosixPath(p).parent.name for p, e in moved.items() if e.body} == {"_common"}
    assert max(len(list_) for list_ in _by_file(tap.exchanges()).values()) == 1
    documents = [e for e in tap.exchanges() if e.path.startswith("/files/catalogs/")]
    assert sum(e.body for e in documents) == 0


_SCRIPT = f"""
from radiant_mlhub import Dataset, MLModel
MLModel.list()
dataset = Dataset.fetch("{DATASET}")
print(len(dataset.collections))
dataset.download(".", collection_filter={{"{PLOTS}": ["labels"]}})
"""


@pytest.mark.parametrize("key", [pytest.param("", marks=pytest.mark.slow), "a key+/='é"])
def test_it_works_with_the_two_lines_that_a_hub_prints(
    key: str, python: Path, tmp_path: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLHUB_SERVE_API_KEY": key}
    with serving("demo=True", "port=0", f"api_key={key!r}") as (_, lines):
        exports = [line for line in lines if line.startswith("export ")]
        script = "\n".join([*exports, 'exec "$0" -c "$1"'])
        done = subprocess.run(
            ["sh", "-c", script, python, _SCRIPT],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert len(list((tmp_path / DATASET / PLOTS).rglob("labels.geojson"))) > 10
    assert len(exports) == 2
    assert key == "" or key not in "".join(lines)


def test_a_script_of_its_that_fails_is_noticed(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        reference.run("1 / 0", cwd=tmp_path)
