"""Files of our own state: where they may lie, how they are opened, small JSON files whole or not.

The output directory, the one for assets and the dataset's directory are the user's: they may be
symbolic links to anywhere. What lies below the dataset's directory and is ours may not: whoever can
write there could have us empty any file of the user's by a link in its place. So a run looks at all
of it before it begins, which holds for what libraries open too (SQLite, Arrow); and what we open
ourselves is never opened through a link, should one appear later.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import StorageError
from mlhub_core.paths import ASSET_DB_NAME, ERR_REPORT_NAME, INDEX_NAME, STATE_DIRECTORY

TRASH_NAME = "trash"
"""Below it lies what was the user's: links among it are moved there, and never opened."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def open_state(path: Path | str, mode: str = "r", **options: Any) -> Any:
    """Open a file of our state as :func:`open` does, but not through a symbolic link.

    Raises:
        OSError: as :func:`open`; ``ELOOP`` where a link lies there.
    """
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    return open(path, mode, opener=open_descriptor, **options)


def open_descriptor(path: Path | str, flags: int) -> int:
    """Open a file of our state as :func:`os.open` does, but not through a symbolic link.

    Raises:
        OSError: as :func:`os.open`; ``ELOOP`` where a link lies there.
    """
    return os.open(path, flags | _NO_FOLLOW, 0o666)


def check_state_files(asset_dir: Path) -> None:
    """Check that all that is ours in a dataset's directory is plain files and directories.

    Args:
        asset_dir: The dataset's directory, which may itself be a link, or not be there yet.

    Raises:
        StorageError: naming the first that is a symbolic link or something else; or if the disk
            refuses.
    """
    for name in (INDEX_NAME, ASSET_DB_NAME, ERR_REPORT_NAME, STATE_DIRECTORY):
        path = asset_dir / name
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _refused("look at", path, error) from error
        wanted = stat.S_ISDIR if name == STATE_DIRECTORY else stat.S_ISREG
        if not wanted(mode):
            raise _not_ours(path, "directory" if name == STATE_DIRECTORY else "file")
    for entry in _entries(asset_dir / STATE_DIRECTORY):
        if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
            raise _not_ours(Path(entry.path), "file")


def _entries(directory: Path | str) -> Iterator[os.DirEntry[str]]:
    """All that is below a directory of ours, apart from what was pruned."""
    try:
        with os.scandir(directory) as found:
            for entry in found:
                yield entry
                if entry.is_dir(follow_symlinks=False) and entry.name != TRASH_NAME:
                    yield from _entries(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return  # not there yet, or removed meanwhile by the run that holds the lock
    except StorageError:
        raise
    except OSError as error:
        raise _refused("read", directory, error) from error


def _not_ours(path: Path, kind: str) -> StorageError:
    what = f"a symbolic link to {os.readlink(path)}" if path.is_symlink() else f"no {kind}"
    return StorageError(
        f"{path} is {what}: our own state is never read or written through one. Put a plain {kind} "
        "there, or name another output directory; the directory of the dataset itself may be a "
        "link."
    )


def _refused(what: str, path: Path | str, error: OSError) -> StorageError:
    told = StorageError(
        f"Cannot {what} {path}: {error.strerror or error}. Make room, or give yourself the "
        "permission, and run the same command again; or name another output directory."
    )
    told.errno = error.errno
    return told


def read_state(path: Path) -> dict[str, Any] | None:
    """Read a small JSON file; None where there is none, or nothing of use.

    Raises:
        StorageError: if it is there and cannot be read.
    """
    try:
        with open_state(path, "rb") as file:
            state = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        return None  # written by somebody else, or before a power failure: as good as none
    except OSError as error:
        raise _refused("read", path, error) from error
    return state if isinstance(state, dict) else None


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a small JSON file: under another name first, then renamed.

    Raises:
        StorageError: if the disk refuses.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_state(part, "w") as file:
            json.dump(state, file, indent=1, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise _refused("write", path, error) from error


def remove_state(path: Path) -> None:
    """Remove a small JSON file; none there is fine.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused("remove", path, error) from error
