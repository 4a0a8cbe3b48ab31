"""The former name of :mod:`mlhub_core.paths`, for modules that are being rewritten."""

from mlhub_core.paths import *  # noqa: F403
