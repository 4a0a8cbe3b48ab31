"""Files in a dataset's directory that the ledger does not know: the catalog's, our own, or others.

An asset's that was never recorded, another tool's that describes data beside it, or foreign.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice

from mlhub_core.paths import PRODUCT_FILES_NAME, DownloadPaths
from mlhub_core.state import open_state, product_names
from mlhub_core.stores import store_of
from mlhub_core.threads import StopFlag
from mlhub_core.transfer.findings import Finding, Findings, Kind
from mlhub_core.transfer.ledger import LedgerReader
from mlhub_core.transfer.names import NameSet, save_paths

_BATCH = 2_000

_NAMES = re.compile(
    r"(?i)\.ds_store|thumbs\.db|ehthumbs\.db|desktop\.ini|\.directory|\.localized|icon\r"
    r"|\._.*|\.~lock\..*#|\.nfs[0-9a-f]+|\.fuse_hidden.*|\..*\.sw[op]|.*~"
)
"""What desktops, network file systems and editors leave."""
_DIRECTORIES = re.compile(
    r"(?i)\.ipynb_checkpoints|__macosx|@eadir|\.appledouble|\.spotlight-v100|\.fseventsd"
    r"|\.trashes|\.trash-\d+|__pycache__|\.idea|\.vscode|lost\+found"
)
"""What lies in these is theirs as well."""
_ADDED = re.compile(
    r"(?i)(.+)(?:\.aux\.xml|\.aux|\.ovr|\.msk|\.rrd|\.enp|\.xml|\.vat\.dbf|\.vat\.cpg|\.qix|\.idx"
    r"|\.lock|\.tmp|-wal|-shm|-journal)"
)
"""Endings behind the whole name of the file that they are about."""
_INSTEAD = re.compile(r"(?i)(.+)\.(?:aux|rrd|ovr|[a-z0-9]{1,3}w|wld|prj|qml|qmd|qix|cpg|sbn|sbx)")
"""Endings in place of that file's own."""
_DATA = ("tif", "tiff", "jpg", "jpeg", "png", "jp2", "img", "shp", "gpkg", "vrt", "geojson", "csv")


def check_unrecorded(
    paths: DownloadPaths,
    catalog: NameSet | None,
    findings: Findings,
    stop: StopFlag,
) -> None:
    """Find the files that the ledger does not know, and say what they are.

    Directories without files, and links to directories, say nothing and are passed over.

    Args:
        paths: The download, its journals merged.
        catalog: The names of the catalog's files; None where ``.json`` has to do.
        findings: Gets them, as unrecorded, foreign, or left by other tools.
        stop: Looked at now and then.

    Raises:
        Interrupted: if ``stop`` is set.
        StorageError: if the disk refuses.
    """
    root = str(paths.asset_dir)
    same_place = paths.catalog_dir == paths.asset_dir
    assets: NameSet | None = None
    made = _made_by_us(paths)
    files = store_of(paths).list()
    with closing(LedgerReader(paths.ledger_dir)) as ledger:
        while batch := list(islice(files, _BATCH)):
            stop.check()
            known = ledger.find([path for path in batch if _is_text(path)])
            unknown = [path for path in batch if path not in known and not made(path)]
            if same_place:
                unknown = _without_catalog(unknown, catalog)
            if not unknown:
                continue
            if assets is None:
                assets = save_paths(paths.index, stop) if paths.index.is_file() else NameSet()
            for path, is_asset in zip(unknown, assets.holds(unknown), strict=True):
                findings.add(Finding(_kind_of(root, path, is_asset), path))


def _made_by_us(paths: DownloadPaths) -> Callable[[str], bool]:
    """Which files are products of the download, such as its local STAC."""
    made = product_names(paths.state_dir)
    beside: set[str] = set()
    with suppress(FileNotFoundError), open_state(paths.state_dir / PRODUCT_FILES_NAME) as lines:
        beside.update(line.rstrip("\n") for line in lines)

    def is_product(path: str) -> bool:
        return path.partition("/")[0] in made or path in beside

    return is_product


def _kind_of(root: str, path: str, is_asset: bool) -> Kind:
    if is_asset:
        return Kind.UNRECORDED
    return Kind.SIDECAR if is_sidecar(root, path) else Kind.FOREIGN


def _is_text(path: str) -> bool:
    """Whether a name is UTF-8, as all of the ledger's are."""
    return path.isascii() or not any("\ud800" <= char <= "\udfff" for char in path)


def _without_catalog(files: list[str], catalog: NameSet | None) -> list[str]:
    if catalog is None:
        return [path for path in files if not path.lower().endswith(".json")]
    return [path for path, own in zip(files, catalog.holds(files), strict=True) if not own]


def is_sidecar(root: str, path: str) -> bool:
    """Whether another tool left a file: GDAL its statistics and overviews, a desktop its notes.

    They are told from other foreign files by their names; what describes another file counts only
    where that file is.

    Args:
        root: The dataset's asset directory.
        path: The file, relative to it.
    """
    *above, name = path.split("/")
    if _NAMES.fullmatch(name) or any(map(_DIRECTORIES.fullmatch, above)):
        return True
    base = name
    while added := _ADDED.fullmatch(base):
        base = added[1]
        if _is_there(root, above, base):
            return True
    instead = _INSTEAD.fullmatch(name)
    return instead is not None and any(
        _is_there(root, above, f"{instead[1]}.{ending}") for ending in _DATA
    )


def _is_there(root: str, above: list[str], name: str) -> bool:
    return os.path.isfile("/".join((root, *above, name)))
