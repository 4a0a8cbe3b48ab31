"""What is made of a download: a local STAC, one table of its items, pairs to train with."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mlhub_core.exceptions import InvalidArgument

if TYPE_CHECKING:
    from mlhub_core.products.base import Product

NONE = "none"
"""The mode in which nothing is written."""


class Kind(NamedTuple):
    """A kind of product that runs write.

    Attributes:
        place: Module and class.
        modes: How it may be written, the default first; ``none`` among them if it may be left out.
    """

    place: str
    modes: tuple[str, ...]


PRODUCTS = {
    "stac": Kind("mlhub_core.products.stac:StacProduct", ("copy", "inplace", NONE)),
}
"""Products by name, in the order in which they are written; an option of that name has the mode."""


@cache
def product(name: str) -> Product:
    """The product of a name; its module is imported now."""
    module, _, class_name = PRODUCTS[name].place.partition(":")
    found: Product = getattr(importlib.import_module(module), class_name)()
    return found


def default_modes() -> dict[str, str]:
    """How each product is written if nothing else is said."""
    return {name: kind.modes[0] for name, kind in PRODUCTS.items()}


def check_mode(name: str, mode: str) -> None:
    """Check that a product can be written in a mode.

    Raises:
        InvalidArgument: naming those that there are.
    """
    modes = PRODUCTS[name].modes
    if mode not in modes:
        raise InvalidArgument(f"{name} is {mode!r}: use one of {', '.join(modes)}.")
