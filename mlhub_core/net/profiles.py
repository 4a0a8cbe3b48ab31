"""The profiles file: INI sections with an ``api_key`` each, readable by its owner only."""

from __future__ import annotations

import configparser
import os
import tempfile
from pathlib import Path

from mlhub_core.exceptions import APIKeyNotFound, InvalidArgument, StorageError
from mlhub_core.paths import user_path

ANONYMOUS_PROFILE = "__anonymous__"
"""The profile that sends no key."""

DEFAULT_PROFILE = "default"


_NO_PROFILES = ("", ANONYMOUS_PROFILE, configparser.DEFAULTSECT)
"""INI files have the last one for what holds in all sections."""


def profiles_path() -> Path:
    """``$MLHUB_HOME/profiles``, with ``~/.mlhub`` as the default home.

    Raises:
        InvalidArgument: if nobody knows where that is, as for a user without a home.
    """
    home = os.environ.get("MLHUB_HOME", "").strip()
    return user_path(home or "~/.mlhub") / "profiles"


def _read(path: Path) -> configparser.ConfigParser:
    # A key may hold a per cent sign, which interpolation would take for its own.
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read(path, encoding="utf-8-sig")
    except (configparser.Error, UnicodeDecodeError) as error:
        # The parser's own message quotes the offending line, which may be the key: leave it out.
        cause = APIKeyNotFound(type(error).__name__)
        raise APIKeyNotFound(
            f"{path} is not a readable profiles file: it needs sections such as [default] with a "
            "line `api_key = …` each. Correct it, or move it away and run `mlhub configure`."
        ) from cause.with_traceback(None)
    except OSError as error:
        raise APIKeyNotFound(f"{path} cannot be read: {error.strerror}.") from error
    return config


def read_api_key(profile: str) -> str:
    """The API key of a profile.

    Raises:
        APIKeyNotFound: if the file, the section or the key is missing; the message says which.
    """
    try:
        path = profiles_path()
    except InvalidArgument as error:
        raise APIKeyNotFound(f"There is no place for a profiles file: {error}") from error
    if not path.exists():
        raise APIKeyNotFound(f"There is no profiles file at {path}.")
    config = _read(path)
    if not config.has_section(profile):
        known = ", ".join(config.sections()) or "none"
        raise APIKeyNotFound(f"{path} has no profile {profile!r} (it has: {known}).")
    api_key = config.get(profile, "api_key", fallback="").strip()
    if not api_key:
        raise APIKeyNotFound(f"The profile {profile!r} in {path} has no api_key.")
    return api_key


def has_api_key(profile: str) -> bool:
    """Whether a profile with a key exists, to ask before it is replaced.

    Raises:
        APIKeyNotFound: if there is a profiles file that cannot be read.
    """
    path = profiles_path()
    return path.exists() and bool(_read(path).get(profile, "api_key", fallback="").strip())


def write_api_key(profile: str, api_key: str) -> Path:
    """Store a key in a profile; other profiles stay as they are.

    The file is made with mode 0600 before the key is in it, and replaced in one step.

    Returns:
        The path of the profiles file.

    Raises:
        InvalidArgument: if the key or the profile's name cannot be stored in an INI file.
        StorageError: if the file cannot be written.
    """
    if not api_key.strip() or not api_key.strip().isprintable():
        raise InvalidArgument("The API key is empty or has control characters: paste it as it is.")
    if profile in _NO_PROFILES or not profile.isprintable() or set(profile) & set("[]"):
        raise InvalidArgument(f"{profile!r} cannot name a profile: use a plain word.")
    path = profiles_path().resolve()  # a link to a file that is kept elsewhere stays a link
    config = _read(path) if path.exists() else configparser.ConfigParser(interpolation=None)
    if not config.has_section(profile):
        config.add_section(profile)
    config.set(profile, "api_key", api_key.strip())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes the file with mode 0600, whatever the umask.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                config.write(stream)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    return path
