"""Installs Chromium from Debian, for the tests that look at the dashboard.

Where there is no apt, or no right to use it, this says what is missing and changes nothing; those
tests then skip and say why. Run again, it has nothing to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
_PACKAGES = ("chromium", "fonts-dejavu-core")


def main() -> int:
    """Install it if it is missing.

    Returns:
        0, also where it cannot be had: nothing but these tests needs it.
    """
    if is_there():
        return 0
    problem = install()
    if problem is None and is_there():
        print("Chromium is there.")
    else:
        print(f"No Chromium for the tests of the dashboard ({problem}). Install it by hand.")
    return 0


def is_there() -> bool:
    """Whether there is one."""
    return any(map(shutil.which, NAMES))


def install() -> str | None:
    """Install the packages.

    Returns:
        What stands in the way, None where nothing did.
    """
    if not shutil.which("apt-get"):
        return "no apt-get on this system"
    rights = []
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            return "neither root nor sudo"
        rights = ["sudo", "--non-interactive"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    installing = [*rights, "apt-get", "install", "-y", "--no-install-recommends", *_PACKAGES]
    print("Installing Chromium ...", flush=True)
    for command in (installing, [*rights, "apt-get", "update"], installing):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
        except OSError as error:
            return str(error)
        if command is installing and done.returncode == 0:
            return None
    return (done.stderr.strip().splitlines() or ["apt-get failed"])[-1]


if __name__ == "__main__":
    sys.exit(main())
