"""On a platform that lacks what we need, one line says so: Windows has no fcntl and no resource."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("fcntl", "resource"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
"""


def without(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where these modules are absent."""
    command = [sys.executable, "-c", _WITHOUT + code]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["mlhub_core.__main__", "flows.__main__"])
def test_the_commands_refuse_in_one_line(module: str) -> None:
    done = without(f"from {module} import run; sys.exit(run())")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "runs on Linux and macOS" in done.stderr
    assert "WSL" in done.stderr


def test_the_library_says_so_where_it_is_first_used() -> None:
    done = without("import mlhub_core; mlhub_core.Dataset")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: mlhub-flows runs on Linux and macOS")
