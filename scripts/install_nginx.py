"""Installs what the benchmarks need from Debian: nginx with the module that waits, curl, openssl.

Where there is no apt, or no right to use it, this says what is missing and changes nothing; the
benchmarks then leave out what cannot be measured. Run again, it has nothing to do.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from debian_packages import install

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
    problem = install("nginx", *PACKAGES)
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


if __name__ == "__main__":
    sys.exit(main())
