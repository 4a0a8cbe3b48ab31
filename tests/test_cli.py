"""What commands say of themselves, and what of a run goes to standard output."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.console import build_parser as flows_parser
from mlhub_core.cli import build_parser, main
from mlhub_core.cli.arguments import OneLineParser
from mlhub_core.cli.help import EXAMPLES
from mlhub_core.cli.process import ExitStatus
from mlhub_core.hub.server import DemoHub

PART = ["--collection", "demo_crops_labels=labels", "--limit", "3"]


def commands(parser: argparse.ArgumentParser) -> Iterator[OneLineParser]:
    """A parser and those below it, with all their arguments."""
    assert isinstance(parser, OneLineParser)
    parser.complete()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from commands(below)


ALL = [*commands(build_parser()), *commands(flows_parser())]


@pytest.mark.parametrize("parser", ALL, ids=lambda parser: parser.prog)
def test_help_has_examples_statuses_and_variables(parser: OneLineParser) -> None:
    text = parser.format_help()
    assert parser.description
    for heading in ("examples:", "exit status:", "environment:"):
        assert f"\n{heading}\n" in text
    statuses = text[text.index("exit status:") : text.index("environment:")]
    told = {int(line.split()[0]) for line in statuses.splitlines() if line[2:3].isdigit()}
    assert told == {int(status) for status in ExitStatus}


@pytest.mark.parametrize("text", [text for listed in EXAMPLES.values() for text in listed])
def test_examples_are_understood(text: str) -> None:
    words = shlex.split(text)
    for redirection in {"<", ">"} & set(words):
        del words[words.index(redirection) :]
    while "=" in words[0]:
        words.pop(0)  # a variable
    parser = {"mlhub": build_parser, "mlhub-flows": flows_parser}[words.pop(0)]()
    if words[-1] != "--help":
        assert callable(parser.parse_args(words).run)


@pytest.mark.parametrize("words", [[], ["datasets"]])
def test_alone_it_shows_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: {' '.join(['mlhub', *words])} ")
    assert shown.err == ""


def test_a_dry_run_ends_with_the_path_of_its_plan_and_that_runs(
    at_demo_hub: DemoHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["download", "demo_crops", "--output-dir", str(tmp_path), *PART]
    assert main([*words, "--dry-run"]) == 0
    out = capsys.readouterr().out
    plan = Path(out.splitlines()[-1])
    assert plan.is_file()
    assert "saved" not in out
    assert main([*words, "--dry-run", "--json", "-q"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["files"], shown["path"]) == (3, str(plan))
    assert main(["download", "--plan", str(plan), "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["verify", str(tmp_path / "demo_crops"), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 3
    assert main(["sync", *words[1:], "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["download"]["kept"] == 3
    index = str(tmp_path / "demo_crops" / "mlhub_stac_assets.parquet")
    rows = str(tmp_path / "rows.csv")
    assert main(["query", index, *PART, "--output", rows]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"3 rows written to {rows}"


def test_bash_completes_commands_options_and_nothing_that_is_hidden(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "mlhub.bash"
    script.write_text(capsys.readouterr().out)
    code = """
    source "$1"; shift
    COMP_WORDS=(mlhub "$@"); COMP_CWORD=$#; _shtab_mlhub; echo "${COMPREPLY[@]}"
    """
    for words, expected in [
        (["datas"], "datasets"),
        (["datasets", ""], "list show"),
        (["download", "--bb"], "--bbox"),
        (["sync", "--pr"], "--profile --prune"),
    ]:
        command = [bash, "-c", code, "bash", str(script), *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == expected
