"""The tutorial, the documented training example, and the tests of PyTorch, where that can be had.

`scripts/notebook_venv.py` makes the environment that they run in.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlhub_core import Dataset
from mlhub_core.hub.server import DemoHub

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-notebook" / "bin" / "python"
TUTORIAL = ROOT / "docs" / "tutorials" / "train-on-the-demo.ipynb"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PYTHON.parents[1] / "installed.txt").exists(),
        reason="no PyTorch: python scripts/notebook_venv.py",
    ),
]

_EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def run(*words: str | Path, cwd: Path) -> str:
    """What a command of the environment prints."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("MLHUB_")}
    done = subprocess.run(
        [PYTHON, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def html_of(cell: dict[str, Any]) -> str:
    found = [output.get("data", {}).get("text/html", "") for output in cell["outputs"]]
    return "".join("".join(part) for part in found)


def printed(cell: dict[str, Any]) -> str:
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def test_the_tutorial_runs_from_nothing_to_a_prediction(tmp_path: Path) -> None:
    executed = tmp_path / "executed.ipynb"
    run("-c", _EXECUTE, TUTORIAL, executed, cwd=tmp_path)
    whole = json.loads(executed.read_text("utf-8"))["cells"]
    cells = [one for one in whole if one["cell_type"] == "code"]
    shown = "".join(map(html_of, cells))
    assert shown.count("data:image/svg+xml;base64,") >= 3, "the plan, the report, the download"
    assert "Demo Crops" in shown

    (download,) = (one for one in cells if "dataset.download(" in "".join(one["source"]))
    bars = [one for one in download["outputs"] if one["output_type"] == "display_data"]
    assert len(bars) == 1, "progress is one output"
    assert "width:100%" in "".join(bars[0]["data"]["text/html"])

    text = "".join(map(printed, cells))
    first, last = map(float, re.findall(r"loss: ([\d.]+) at first, ([\d.]+) after", text)[0])
    assert last < first
    assert any("image/png" in one.get("data", {}) for one in cells[-1]["outputs"])


def test_the_documented_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [(ROOT / name).read_text("utf-8") for name in ("README.md", "docs/local-stac.md")]
    blocks = [one for text in texts for one in re.findall(r"```python\n(.*?)```", text, re.S)]
    examples = [one for one in blocks if "to_torch(" in one and "backward()" in one]
    assert examples
    with DemoHub() as hub:
        monkeypatch.setenv("MLHUB_ROOT_URL", hub.url)
        monkeypatch.setenv("MLHUB_PROFILE", "__anonymous__")
        Dataset.fetch("demo_crops").download(tmp_path / "data", progress=False)
    for example in examples:
        run("-c", example, cwd=tmp_path)


def test_other_tools_open_a_download_there() -> None:
    tests = [ROOT / "tests" / "products" / name for name in ("test_openers.py", "test_export.py")]
    wanted = [
        "-k",
        "geopandas or odc or stackstac or rustac or stac_geoparquet or mlcroissant",
        "-m",
        "slow",
    ]
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *wanted, *tests, cwd=ROOT)
    assert re.search(r"[6-9] passed", told)
    assert "skipped" not in told


def test_the_tests_of_pytorch_pass_there() -> None:
    tests = ROOT / "tests" / "products" / "test_pairs.py"
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "pytorch", tests, cwd=ROOT)
    assert re.search(r"[1-9]\d* passed", told)
