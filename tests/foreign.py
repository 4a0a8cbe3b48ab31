"""A directory of somebody's, full of files that are called like modules and must not run."""

from __future__ import annotations

from pathlib import Path

_NAMES = (
    "argparse asyncio certifi click distributed fastapi httpx isal json logging loky mlhub_core "
    "multiprocessing numpy orjson pickle prefect pyarrow pycurl pydantic requests rich shapely "
    "sitecustomize socket socks sqlite3 ssl subprocess tasks tempfile threading usercustomize "
    "uuid uvicorn websockets"
)
_RAN = "ran.txt"


def fill(directory: Path) -> Path:
    """Fill a directory, and give it back."""
    directory.mkdir(parents=True, exist_ok=True)
    ran = str(directory / _RAN)
    for name in _NAMES.split():
        code = f"open({ran!r}, 'a').write({name!r} + ' ')\nraise SystemExit(99)\n"
        (directory / f"{name}.py").write_text(code)
    return directory


def ran_in(directory: Path) -> str:
    """What of it ran."""
    path = directory / _RAN
    return path.read_text() if path.exists() else ""
