"""Installs what the benchmarks need from Debian: nginx with the module that waits, curl, openssl.

Where there is no apt, or no right to use it, this says what is missing and changes nothing; the
benchmarks then leave out what cannot be measured. Run again, it has nothing to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("nginx-light", "libnginx-mod-http-echo", "curl", "openssl")
_ECHO = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
_SBIN = "/usr/sbin:/usr/local/sbin"


def main() -> int:
    """Install what is missing.

    Returns:
        0, also where it cannot be had: nothing but the benchmarks needs it.
    """
    if not (lacking := missing()):
        return 0
    problem = install()
    if problem is None and not missing():
        print("nginx is there.")
    else:
        what = ", ".join(lacking)
        print(f"Missing for the benchmarks: {what} ({problem}). Install it by hand.")
    return 0


def missing() -> list[str]:
    """What is not there."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), _SBIN))
    lacking = [name for name in ("nginx", "curl", "openssl") if not shutil.which(name, path=path)]
    return lacking if _ECHO.exists() else [*lacking, "nginx's echo module"]


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
    installing = [*rights, "apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    print("Installing nginx ...", flush=True)
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
