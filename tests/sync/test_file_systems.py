"""Archive and catalog on one file system, assets and all of our state on another."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.pipeline import download, sync
from mlhub_core.repair import verify
from mlhub_core.request import DownloadRequest
from mlhub_core.settings import RunSettings
from tests.acceptance.kit import DATASET, ROOT, catalog_members, collection, item, publish
from tests.faultserver import FaultServer

_PLACES = [Path("/dev/shm"), Path("/tmp"), Path("/var/tmp"), Path.home()]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than ``tmp_path``."""
    here = tmp_path.stat().st_dev
    others = [place for place in _PLACES if place.is_dir() and place.stat().st_dev != here]
    if not others:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=others[0], prefix="mlhub-test-") as made:
        yield Path(made)


def put(server: FaultServer, *names: str) -> None:
    """Publish items with a file at a host each, and one that the archive carries."""
    documents = [collection()]
    carried = {}
    for number, name in enumerate(names, start=1):
        server.put(f"/{name}.tif", f"far {name}".encode())
        assets = {"image": "a.tif", "far": server.url(f"/{name}.tif")}
        documents.append(item(name, assets))
        carried[f"{DATASET}/pictures/n{number}/a.tif"] = f"carried {name}".encode()
    publish(server, members=catalog_members(*documents) | carried)


def assets_in(directory: Path) -> dict[str, bytes]:
    root = directory / DATASET / "pictures"
    return {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in root.glob("?/*.tif")}


def expected(*names: str) -> dict[str, bytes]:
    far = {f"{name}/far": f"far {name}".encode() for name in names}
    return far | {f"{name}/image": f"carried {name}".encode() for name in names}


@pytest.mark.parametrize(("unarchive", "turned"), [(True, True), (False, False)])
def test_everything_works(
    server: FaultServer,
    tmp_path: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    unarchive: bool,
    turned: bool,
) -> None:
    monkeypatch.setenv("MLHUB_ROOT_URL", server.url(ROOT))
    monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
    catalog, assets = (elsewhere, tmp_path) if turned else (tmp_path, elsewhere)
    request = DownloadRequest(DATASET, catalog, assets, settings=RunSettings(unarchive=unarchive))

    put(server, "a", "b")
    assert download(request).fetched == 4
    assert assets_in(assets) == expected("a", "b")
    assert (catalog / "tiny.tar.gz").exists()
    assert [path.name for path in assets.iterdir()] == [DATASET]
    assert download(request).fetched == 0
    overwrite = replace(request, if_exists=DownloadIfExistsOpts.overwrite)
    assert download(overwrite).fetched == 4

    # What the archive carries stands elsewhere in the next one: it is fetched again, as another.
    put(server, "a", "c")
    report = sync(request, prune=True)
    assert report.changes is not None
    assert (report.changes.added, report.changes.removed) == (2, 2)
    assert assets_in(assets) == expected("a", "c")
    assert sync(request, prune=True).current

    damaged = assets / DATASET / "pictures" / "c"
    (damaged / "image.tif").write_bytes(b"damaged c")
    (damaged / "far.tif").unlink()
    assert verify(assets / DATASET, repair=True).repairable == 2
    assert assets_in(assets) == expected("a", "c")
    left = {path.name for path in catalog.iterdir()}
    assert left <= {"tiny.tar.gz", DATASET}
