"""Prefect's own home for these tests, too."""

from __future__ import annotations

from tests import prefect_home

assert prefect_home.HOME.is_dir()  # imported for what it does to the environment
