"""Installs Chromium from Debian, for the tests that look at the dashboard.

Where there is no apt, or no right to use it, this says what is missing and changes nothing; those
tests then skip and say why. Run again, it has nothing to do.
"""

from __future__ import annotations

import shutil
import sys

from debian_packages import install

NAMES = ("chromium", "chromium-browser", "google-chrome")
_PACKAGES = ("chromium", "fonts-dejavu-core")


def main() -> int:
    """Install it if it is missing.

    Returns:
        0, also where it cannot be had: nothing but these tests needs it.
    """
    if is_there():
        return 0
    problem = install("Chromium", *_PACKAGES)
    if problem is None and is_there():
        print("Chromium is there.")
    else:
        print(f"No Chromium for the tests of the dashboard ({problem}). Install it by hand.")
    return 0


def is_there() -> bool:
    """Whether there is one."""
    return any(map(shutil.which, NAMES))


if __name__ == "__main__":
    sys.exit(main())
