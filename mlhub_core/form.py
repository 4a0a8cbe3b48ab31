"""The form of a download: its options as people fill them in, a few first and the rest in groups.

From this comes the JSON schema that the Prefect UI makes a form of, and that its server checks
parameters by before it writes them down. The options themselves are flat
(:mod:`mlhub_core.options`), as keyword arguments and command lines are, and as parameters were that
somebody has saved: those are taken as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlhub_core.exceptions import InvalidArgument


@dataclass(frozen=True, slots=True)
class Group:
    """Options that stand together in the form.

    Attributes:
        title: Its heading.
        text: What it is for.
        options: Their names, in order.
    """

    title: str
    text: str
    options: tuple[str, ...]


FIRST = ("dataset", "output_dir", "collection_filter", "band", "datetime", "bbox", "dry_run")
"""What a person fills in most often, in order."""

GROUPS = {
    "more_filters": Group(
        "More filters",
        "Which items and files, beyond collections, bands, time and place. Filters combine.",
        (
            *("intersects", "intersects_with", "where", "media_type", "role", "sample", "seed"),
            *("limit", "with_sources", "allow_empty", "plan"),
        ),
    ),
    "limits": Group(
        "Limits",
        "How much at most: what needs somebody's approval, connections, processes, caps.",
        (
            *("approve_above", "concurrency", "workers", "ignore_space", "max_members"),
            *("max_bytes", "max_json_bytes", "max_depth"),
        ),
    ),
    "files": Group(
        "Files on disk",
        "What happens to files that are here, what is written beside the data, and which checks "
        "are left out.",
        (
            *("if_exists", "asset_output_dir", "catalog_only", "unarchive", "stac", "asset_db"),
            *("ignore_file_size", "ignore_checksum"),
        ),
    ),
    "origin": Group(
        "The source, more closely",
        "Where the source does not show what it is, where files come from instead, and what it may "
        "lead to.",
        (
            *("source_type", "dataset_id", "strict", "mirrors", "alternate"),
            *("allow_local_files", "allow_private_hosts"),
        ),
    ),
    "hub": Group(
        "Hub",
        "Only for datasets of a hub: where its API key is. The key itself is never a parameter.",
        ("api_key_block", "profile", "demo"),
    ),
    "cluster": Group(
        "Cluster",
        "To fetch on the workers of a Dask cluster instead of in the process of the run.",
        ("runner", "dask_address"),
    ),
}
"""By the name of the parameter that holds them."""

BY_PROGRAM = ("intersects_sha256",)
"""What a program fills in; saved parameters have it, the form has not."""

_KINDS = {
    "output_dir": ("path", "default"),
    "collection_filter": ("list", "JSON", "all"),
    "band": ("list", "all"),
    "datetime": ("text", "any time"),
    "bbox": ("text", "numbers", "anywhere"),
}
"""What comes first and may be null in saved parameters: what each way to give it is called."""

_NUMBER = " *-?[0-9]+([.][0-9]+)? *"
_SIMPLER = {
    "collection_filter": {
        "type": "array",
        "items": {"type": "string", "pattern": "^[^= ][^=]*(=[^=]*[^=, ][^=]*)?$"},
    },
    "bbox": {"type": "string", "pattern": f"^{','.join([_NUMBER] * 4)}(,{_NUMBER},{_NUMBER})?$"},
}
"""Ways to give an option that are easier to type than its own."""


# Parameters in, options out


def ungrouped(given: Any, defaults: Mapping[str, Any]) -> Any:
    """Parameters as flat options, whichever way they were written.

    Saved parameters may have an option by itself, and the form the same one in its group, where it
    shows the default: what is not the default counts.

    Args:
        given: What somebody has sent; all but a mapping is left alone.
        defaults: Of all options.

    Raises:
        InvalidArgument: if a group is no mapping.
    """
    if not isinstance(given, Mapping):
        return given
    flat = {name: value for name, value in given.items() if name not in GROUPS}
    for group, described in GROUPS.items():
        inside = given.get(group)
        if inside is None:
            continue
        if not isinstance(inside, Mapping):
            listed = ", ".join(described.options)
            raise InvalidArgument(f"{group} is a {type(inside).__name__}: give any of {listed}.")
        for name, value in inside.items():
            if name not in described.options:
                flat[f"{group}.{name}"] = value  # which no option is called, as the error says
            elif value is not None and not (name in flat and value == defaults[name]):
                flat[name] = value
    return _as_typed(flat)


def _as_typed(flat: dict[str, Any]) -> dict[str, Any]:
    """Options, with those in their usual shape that people write in a simpler one."""
    if isinstance(flat.get("bbox"), str):
        from mlhub_core.selection.geometry import parse_bbox

        flat["bbox"] = list(parse_bbox(flat["bbox"]) or ())
    if isinstance(flat.get("collection_filter"), list):
        flat["collection_filter"] = collections(flat["collection_filter"])
    return flat


def collections(texts: Iterable[Any], label: str = "collection_filter") -> dict[str, list[str]]:
    """The keys of each collection, out of texts such as ``labels`` or ``labels=mask,labels``.

    Args:
        texts: One for each collection.
        label: What the error calls them.

    Raises:
        InvalidArgument: if one is neither.
    """
    wanted: dict[str, list[str]] = {}
    for text in texts:
        name, separator, keys = str(text).partition("=")
        listed = [key.strip() for key in keys.split(",") if key.strip()]
        if not name or (separator and not listed):
            raise InvalidArgument(f"{label} {text!r}: write COLLECTION, or COLLECTION=KEY,KEY.")
        if name in wanted and not (wanted[name] and listed):
            wanted[name] = []  # every key of it, by one of the two
        else:
            wanted.setdefault(name, []).extend(listed)
    return wanted


# Options in, parameters out


def grouped(flat: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the form has them; those that are as ever are left out, so that the rest shows."""
    given = {name: value for name, value in flat.items() if value != defaults.get(name)}
    made = {name: given[name] for name in (*FIRST, *BY_PROGRAM) if name in given}
    for group, described in GROUPS.items():
        inside = {name: given[name] for name in described.options if name in given}
        if inside:
            made[group] = inside
    return made


# The schema


def form_schema(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the form.

    Nothing in it may be null but what comes first: a field of the form that may be null shows that
    it is, and saved parameters have nulls by the names of options, at the top.

    Args:
        flat: The schema of the flat options.
    """
    options: Mapping[str, Any] = flat["properties"]
    fields = {name: _first(name, options[name]) for name in FIRST}
    for group, described in GROUPS.items():
        fields[group] = {
            "type": "object",
            "title": described.title,
            "description": described.text,
            "additionalProperties": False,
            "properties": {name: _described(_filled(options[name])) for name in described.options},
        }
    return {
        **{name: value for name, value in flat.items() if name != "properties"},
        "properties": fields,
        "patternProperties": _saved({name: options[name] for name in options if name not in FIRST}),
    }


def _first(name: str, option: Mapping[str, Any]) -> dict[str, Any]:
    """A field at the top of the form."""
    if name not in _KINDS:
        return _described(_filled(option))
    kinds = [_SIMPLER[name]] if name in _SIMPLER else []
    titled = zip([*kinds, *option["anyOf"]], _KINDS[name], strict=True)
    field = {**option, "anyOf": [{**kind, "title": title} for kind, title in titled]}
    del field["default"]
    return _described(field)


def _filled(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option without null: where there is none of it, it is left out."""
    field = {key: value for key, value in option.items() if key != "anyOf"}
    kinds = [kind for kind in option.get("anyOf", ()) if kind != {"type": "null"}]
    if field.get("default", True) is None:
        del field["default"]
    if len(kinds) == 1:
        return {**kinds[0], **field}
    return {**field, "anyOf": kinds} if kinds else field


def _described(field: dict[str, Any]) -> dict[str, Any]:
    """A field whose description ends with an example; the form shows no other."""
    text = " ".join(str(field.get("description", "")).split())
    if examples := field.get("examples"):
        shown = [text if isinstance(text, str) else json.dumps(text) for text in examples]
        text += " Example: " + " or ".join(f"`{example}`" for example in shown)
    return {**field, "description": text}


def _saved(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is taken of parameters that were saved when the options had no groups: no form shows it.

    Those that are checked alike stand together.
    """
    checks: dict[str, list[str]] = {}
    for name, option in options.items():
        shown = ["title", "description", "examples", "default"]
        if {"type": "null"} in option.get("anyOf", ()):
            shown.append("enum")  # a choice in the form, where there is no null
        check = {key: value for key, value in option.items() if key not in shown}
        checks.setdefault(json.dumps(check, sort_keys=True), []).append(name)
    return {f"^({'|'.join(names)})$": json.loads(check) for check, names in checks.items()}
