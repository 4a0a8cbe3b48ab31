"""How a command line writes the options of :mod:`mlhub_core.options`, and reads them.

Nothing heavy is imported here: a command must answer ``--help`` and a typing error at once.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args, get_origin

from mlhub_core.cli.help import epilog
from mlhub_core.console import show
from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import user_path
from mlhub_core.redact import redact_url

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from mlhub_core.options import Options

_VALUES_WITH_MINUS = ("--bbox", "--datetime", "--where", "--seed")
"""Options whose value may begin with a minus sign, which argparse takes for another option."""

_SECRET = re.compile(r"(?i)--?[a-z_-]*(key|token|secret|password)")
_NO_SECRETS = (
    "a key is never an argument, which the list of processes and the shell's history show: it is "
    "asked for, or read from standard input, where it is stored"
)

_VALUES = {
    "dataset": "ID_OR_DOI",
    "source_type": "KIND",
    "dataset_id": "NAME",
    "plan": "FILE",
    "collection_filter": "FILE.json",
    "datetime": "T|T1/T2",
    "bbox": "W,S,E,N",
    "intersects": "FILE.geojson|-",
    "media_type": "TYPE",
    "alternate": "NAME",
    "where": "CONDITION",
    "output_dir": "DIR",
    "asset_output_dir": "DIR",
    "profile": "NAME",
    "dask_address": "URL",
    "mirrors": "PREFIX=URL",
}
"""What the value of an option is called, where not by the option's name; of numbers it is N."""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and raised, and hold no keys.

    Args:
        fill: Adds the arguments when they are first needed, which may import much.
        **settings: Those of argparse.
    """

    def __init__(
        self, *, fill: Callable[[OneLineParser], None] | None = None, **settings: Any
    ) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**settings)
        if self.description:
            self.description = textwrap.fill(self.description, 79)
        # % stands for something in the texts of argparse.
        self.epilog = (epilog(self.prog) or "").replace("%", "%%") or None
        self._fill = fill

    def take_no_secret(self) -> None:
        """Refuse further words without repeating them: one may be the key, given by mistake."""
        self.add_argument("secret", nargs="*", action=_RefuseSecret, help=argparse.SUPPRESS)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments; of those that are unknown, none that may be a key is repeated."""
        words = _join_values(sys.argv[1:] if args is None else args)
        found, unknown = self.parse_known_args(words, namespace)
        if any(_SECRET.match(word) for word in unknown):
            self.error(_NO_SECRETS)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments, once they are there to be read."""
        self.complete()
        return super().parse_known_args(args, namespace)

    def complete(self) -> None:
        """Add the arguments that are only added when they are needed."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InvalidArgument: always.
        """
        raise InvalidArgument(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


class _RefuseSecret(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: Any, values: Any, *__: Any) -> None:
        if values:
            parser.error(_NO_SECRETS)


def _join_values(arguments: Sequence[str]) -> list[str]:
    """Write ``--bbox -9,36,31,68`` as ``--bbox=-9,36,31,68``, which argparse understands."""
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*joined, argument, *rest]
        if argument in _VALUES_WITH_MINUS:
            value = next(rest, None)
            joined.append(argument if value is None else f"{argument}={value}")
        else:
            joined.append(argument)
    return joined


def show_help(parser: argparse.ArgumentParser) -> None:
    """Write the help of a command that was given nothing to do."""
    show(*parser.format_help().rstrip().split("\n"))


def add_options(
    parser: argparse.ArgumentParser,
    group: type[Options],
    names: Iterable[str] = (),
    *,
    without: Iterable[str] = (),
) -> None:
    """Add a group of options to a parser; those that are not given stay out of what it reads.

    Args:
        parser: The parser.
        group: The group.
        names: Which of it; all unless given.
        without: Which of it not.
    """
    heading = (group.__doc__ or "").partition(".")[0]
    container = parser.add_argument_group(f"{heading[:1].lower()}{heading[1:]}")
    for name in names or group.model_fields:
        if name not in without:
            _add(container, name, group.model_fields[name])


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how much is told."""
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="neither progress nor summary, only errors and what is less than was asked for",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="every request and file")


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--json``.

    Args:
        parser: The parser.
        what: What is written as JSON.
    """
    parser.add_argument(
        "--json", action="store_true", help=f"{what} as JSON, on standard output and nothing else"
    )


def _add(container: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    option = "--" + name.replace("_", "-")
    text = _help(field)
    more: dict[str, Any] = {"dest": name, "help": text, "default": argparse.SUPPRESS}
    if name == "dataset":
        text += "; with --demo, and with --plan, it may be left out"
        container.add_argument(
            name, nargs="?", metavar=_VALUES[name], help=text, default=argparse.SUPPRESS
        )
    elif field.annotation is bool and field.default:
        more["help"] = f"do not {text}"
        container.add_argument(f"--no-{option[2:]}", action="store_false", **more)
    elif field.annotation is bool:
        container.add_argument(option, action="store_true", **more)
    elif name == "mirrors":
        more["help"] += "; may be repeated"
        container.add_argument("--mirror", action="append", metavar=_VALUES[name], **more)
    else:
        if name == "collection_filter":
            container.add_argument(
                "--collection",
                action="append",
                default=argparse.SUPPRESS,
                metavar="COLL[=KEY,KEY…]",
                help="only this collection, and only these assets of it; may be repeated",
            )
        container.add_argument(option, **more, **_kind(name, field))


def _kind(name: str, field: FieldInfo) -> dict[str, Any]:
    """What argparse has to know of an option that takes a value."""
    if choices := _choices(field.annotation):
        return {"choices": choices}
    kinds = {field.annotation, *get_args(field.annotation)}
    if int in kinds:
        return {"type": int, "metavar": "N"}
    metavar = _VALUES.get(name, name.upper())
    return {"action": "append", "metavar": metavar} if list[str] in kinds else {"metavar": metavar}


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice.value for choice in getattr(annotation, "__members__", {}).values()]


def _help(field: FieldInfo) -> str:
    """The first sentence of an option's description, and its default."""
    text = (field.description or "").partition(". ")[0].replace("\n", " ").rstrip(".")
    if not text[1:2].isupper():
        text = text[:1].lower() + text[1:]
    if list[str] in get_args(field.annotation):
        text += "; may be repeated"
    default = field.default
    if default and isinstance(default, int | str) and default is not True:
        text += f" (default: {default:,})" if isinstance(default, int) else f" (default: {default})"
    return text.replace("%", "%%")


def option_fields(given: argparse.Namespace, model: type[Options]) -> dict[str, Any]:
    """What a command line gives, as fields of a model; the files that it names are read.

    Args:
        given: What the parser has read.
        model: Which options to take of it.

    Raises:
        InvalidArgument: if options contradict each other, or a file cannot be read.
    """
    words = dict(vars(given))
    if not words.get("collection_filter"):
        words.pop("collection_filter", None)
    for pair in (("bbox", "intersects"), ("collection", "collection_filter")):
        if all(name in words for name in pair):
            one, other = ("--" + name.replace("_", "-") for name in pair)
            raise InvalidArgument(f"{one} and {other} exclude each other: give one of them.")
    fields = {name: words[name] for name in model.model_fields if name in words}
    if "collection" in words and "collection_filter" in model.model_fields:
        from mlhub_core.form import collections

        fields["collection_filter"] = collections(words["collection"], "--collection")
    elif "collection_filter" in fields:
        fields["collection_filter"] = _json_file(fields["collection_filter"])
    if "bbox" in fields:
        from mlhub_core.selection.geometry import parse_bbox

        fields["bbox"] = list(parse_bbox(fields["bbox"]) or ())
    if "intersects" in fields:
        fields["intersects"] = _shape(fields["intersects"])
    if "mirrors" in fields:
        fields["mirrors"] = dict(_mirror(text) for text in fields["mirrors"])
    return fields


def _json_file(name: str) -> Any:
    option = f"--collection-filter {name}"
    how = 'write an object such as {"my_labels": ["labels"]} into it'
    try:
        content: Any = json.loads(user_path(name).read_text("utf-8-sig"))
    except OSError as error:
        raise InvalidArgument(
            f"{option} cannot be read ({error.strerror}): name a JSON file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{option} is not JSON ({error}): {how}.") from error
    if not isinstance(content, dict):
        raise InvalidArgument(f"{option} holds a {type(content).__name__}: {how}.")
    from mlhub_core.selection.filters import AssetFilter

    AssetFilter.create(collection_filter=content)  # it says best what is wrong with it
    return content


def _shape(name: str) -> str:
    """GeoJSON from standard input as text; a file, which may be large, as its whole path."""
    if name != "-":
        return str(user_path(name))
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"--intersects - : standard input is not UTF-8 ({error.reason}): pipe GeoJSON into it."
        ) from error
    if not text.strip():
        raise InvalidArgument("--intersects - : standard input is empty; pipe GeoJSON into it.")
    return text.strip()


def _mirror(text: str) -> tuple[str, str]:
    for start in ("=https://", "=http://"):
        prefix, found, rest = text.partition(start)
        if found and prefix:
            return prefix, start[1:] + rest
    raise InvalidArgument(
        f"--mirror {redact_url(text)!r}: write PREFIX=URL, such as "
        "https://old.example/data/=https://new.example/copy/."
    )
