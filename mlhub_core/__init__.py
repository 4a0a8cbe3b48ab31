"""Find, filter and download geospatial machine-learning datasets published as MLHub catalogs."""

from mlhub_core._version import __version__

__all__ = ["__version__"]
