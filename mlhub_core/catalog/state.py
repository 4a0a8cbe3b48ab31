"""Small JSON files of our own, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import StorageError


def read_state(path: Path) -> dict[str, Any] | None:
    """Read one; None where there is none, or nothing of use.

    Raises:
        StorageError: if it is there and cannot be read.
    """
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return None  # written by somebody else, or before a power failure: as good as none
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    return state if isinstance(state, dict) else None


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write one: under another name first, then renamed.

    Raises:
        StorageError: if the disk refuses.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            json.dump(state, file, indent=1, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


def remove_state(path: Path) -> None:
    """Remove one; none there is fine.

    Raises:
        StorageError: if the disk refuses.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot remove {path}: {error.strerror or error}.") from error
