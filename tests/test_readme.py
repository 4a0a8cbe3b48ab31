"""What the README says of commands and options is true of the parsers."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from flows.command import build_parser as flow_parser
from mlhub_core.cli import build_parser
from mlhub_core.cli.process import ExitStatus

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def commands(start: str) -> list[list[str]]:
    """Commands in back-ticks or in console blocks that begin in some way."""
    import shlex

    found = re.findall(rf"(?:`|\$ )(?:\.venv/bin/)?{re.escape(start)}([^`\n#]*)", README)
    return [shlex.split(text) for text in found]


def test_every_mlhub_command_parses() -> None:
    lines = commands("mlhub ")
    assert len(lines) >= 5
    for words in lines:
        if words[0] not in (
            "serve",
            "datasets",
            "download",
            "sync",
            "configure",
            "verify",
            "retry",
        ):
            continue
        build_parser().parse_args(words)


def test_every_flow_command_parses() -> None:
    lines = commands("python -m flows.download_dataset ")
    assert lines
    for words in lines:
        flow_parser().parse_args(words)


def test_every_option_that_is_named_exists() -> None:
    known = flow_parser().format_help() + build_parser().format_help()
    known += "--tag --text --host --demo --write --port --repair --prune"
    for option in set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", README)):
        assert option in known, option


@pytest.mark.usefixtures("at_demo_hub")
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert "123 of 123 files are here" in capsys.readouterr().out
    source = tmp_path / "data" / "demo_crops" / "demo_crops_source_sentinel_2"
    assert {path.name for path in source.rglob("*.tif")} == {"B04.tif", "B08.tif"}


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_targets_exist(target: str) -> None:
    assert f"$ make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_exit_statuses_are_those_of_the_code() -> None:
    line = next(line for line in README.splitlines() if line.startswith("0 all there"))
    following = README[README.index(line) :].split("\n\n")[0]
    numbers = {
        int(number) for number in re.findall(r"(?:^|· )(\d+) ", following.replace("\n", " "))
    }
    assert numbers == {int(status) for status in ExitStatus}


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in link:
            assert (ROOT / link).exists(), link


@pytest.mark.parametrize(
    "page", ["README.md", "docs/sources.md", "docs/local-stac.md", "docs/export.md"]
)
def test_names_in_the_code_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for name in set(re.findall(r"`(mlhub_core(?:\.\w+)+)`", text)):
        assert pkgutil.resolve_name(name) is not None, name
