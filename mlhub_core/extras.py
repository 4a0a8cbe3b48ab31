"""Packages that come with an extra, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from mlhub_core.exceptions import InvalidArgument


def needed(module: str, extra: str) -> Any:
    """Import a module of a package that not everybody has.

    Args:
        module: Its name.
        extra: The extra of this project that brings the package.

    Raises:
        InvalidArgument: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InvalidArgument(
            f"{package} is not installed: pip install 'mlhub-flows[{extra}]' brings it."
        ) from error
