"""A headless Chromium of the system, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """The browser's path."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser_page(width: int = 1280, height: int = 800) -> Iterator[Page]:
    """A page; skips where there is no browser."""
    path = found()
    if path is None:
        pytest.skip("no Chromium: scripts/install_chromium.py installs it")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    # Chromium's sandbox refuses to run for root, which CI often is.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=options)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(60_000)
            yield page
        finally:
            browser.close()


def shot(page: Page, name: str) -> None:
    """Keep a picture of the page where ``MLHUB_SCREENSHOTS`` says, if it says so."""
    directory = os.environ.get("MLHUB_SCREENSHOTS")
    if directory:
        page.screenshot(path=Path(directory) / f"{name}.png")
