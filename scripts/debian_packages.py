"""Installs packages from Debian, as far as this machine and its user may."""

from __future__ import annotations

import os
import shutil
import subprocess


def install(name: str, *packages: str) -> str | None:
    """Install packages; the lists of what there is are only fetched where it takes that.

    Args:
        name: What people call it.
        packages: What Debian calls it.

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
    installing = [*rights, "apt-get", "install", "-y", "--no-install-recommends", *packages]
    print(f"Installing {name} ...", flush=True)
    for command in (installing, [*rights, "apt-get", "update"], installing):
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
        except OSError as error:
            return str(error)
        if command is installing and done.returncode == 0:
            return None
    return (done.stderr.strip().splitlines() or ["apt-get failed"])[-1]
