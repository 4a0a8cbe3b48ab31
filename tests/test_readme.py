"""What the README says of commands and options is true of the parsers."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from flows.command import build_parser as flow_parser
from flows.console import build_parser as console_parser
from mlhub_core.cli import build_parser
from mlhub_core.cli.process import ExitStatus

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
OPTION = r"`[^`\n]*?(?<![\w-])(--[a-z][a-z-]+)"
OURS = ("reference", "how-to")
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]


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
    lines = commands("mlhub-flows ")
    assert lines
    for words in lines:
        console_parser().parse_args(words)


def test_every_option_that_is_named_exists() -> None:
    known = flow_parser().format_help() + build_parser().format_help()
    known += "--tag --text --host --demo --write --port --repair --prune"
    pages = (README, *(page.read_text("utf-8") for page in PAGES if page.parent.name in OURS))
    for option in {found for text in pages for found in re.findall(OPTION, text)}:
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


@pytest.mark.parametrize("target", ["demo", "test", "dashboard", "docs"])
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_it_is_short_enough_for_a_screen_or_two() -> None:
    assert len(README.splitlines()) < 90


@pytest.mark.parametrize(
    "page",
    [
        "docs/how-to/look-after-a-download.md",
        "docs/sources.md",
        "docs/local-stac.md",
        "docs/export.md",
    ],
)
def test_names_in_the_code_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for name in set(re.findall(r"`(mlhub_core(?:\.\w+)+)`", text)):
        assert pkgutil.resolve_name(name) is not None, name
