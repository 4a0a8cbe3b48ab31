"""Files that other tools leave beside data: GDAL's statistics and overviews, desktops' notes.

Nobody fetched them and nothing is wrong with them. They are told from other foreign files by their
names; what describes another file counts only where that file is.
"""

from __future__ import annotations

import os
import re

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


def is_sidecar(root: str, path: str) -> bool:
    """Whether another tool left a file.

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
