"""What people install: a wheel, in an environment with nothing else, beside a folder ``flows``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PARTS = ("mlhub_core", "tasks", "flows", "deployments")
FILES = ("pyproject.toml", "README.md", "LICENSE")


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_does_the_main_job_in_a_clean_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a copy: setuptools leaves its files in the tree that it builds
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    quiet = ("--quiet", "--disable-pip-version-check")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *quiet,
        "--no-deps",
        "-w",
        tmp_path,
        source,
        cwd=source,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert "License-Expression: Apache-2.0\n" in text
    # An index has nothing that a relative link could lead to: no picture is broken there.
    assert "![" not in text

    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    bin_ = tmp_path / "env" / "bin"
    run(
        bin_ / "python",
        "-m",
        "pip",
        "install",
        *quiet,
        "-c",
        ROOT / "constraints.txt",
        wheel,
        cwd=tmp_path,
    )
    project = tmp_path / "project"
    for name in ("flows", "tasks", "deployments"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("raise SystemExit('theirs')\n")
    run(bin_ / "mlhub", "download", "--demo", "--limit", "2", "--quiet", cwd=project)
    run(bin_ / "mlhub", "verify", "demo_crops", "--quiet", cwd=project)
    assert "download_dataset" not in run(bin_ / "mlhub-flows", "--help", cwd=project)
    plan = run(
        bin_ / "mlhub-flows", "download", "--demo", "--limit", "2", "--dry-run", "-q", cwd=project
    )
    assert Path(plan.strip()).is_file()
