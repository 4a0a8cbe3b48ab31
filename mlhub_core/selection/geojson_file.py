"""GeoJSON as a parameter: itself, or the path of a file that holds it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.layout import user_path


def read_geojson(value: dict[str, Any] | str | None, sha256: str | None = None) -> Any:
    """GeoJSON as given, or out of the file that a path names.

    Args:
        value: Parsed GeoJSON, its text, or a path.
        sha256: What the file's digest must be, None for any.

    Raises:
        InvalidArgument: if there is no such file, no JSON in it, or it is another one by now.
    """
    if not isinstance(value, str) or value.lstrip().startswith("{"):
        return value
    how = "name a file that holds a GeoJSON geometry, Feature or FeatureCollection"
    try:
        content = user_path(value).read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise InvalidArgument(
                f"intersects: {value} has changed since the run was set up: put the old file back, "
                "or give intersects_sha256 anew."
            )
        return json.loads(content)
    except OSError as error:
        raise InvalidArgument(
            f"intersects: {value} cannot be read ({error.strerror}): {how}."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InvalidArgument(f"intersects: {value} is not JSON ({error}): {how}.") from error
