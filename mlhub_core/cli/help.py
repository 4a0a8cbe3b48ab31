"""What ``--help`` says below the options: examples, exit statuses, the environment's variables."""

from __future__ import annotations

from collections.abc import Iterable

EXAMPLES: dict[str, tuple[str, ...]] = {
    "mlhub": (
        "mlhub download --demo",
        "mlhub download https://data.example/catalog.json --output-dir data",
        "mlhub download --help",
    ),
    "mlhub datasets": ("mlhub datasets list", "mlhub datasets show nasa_marine_debris"),
    "mlhub datasets list": (
        "mlhub datasets list --tag segmentation --text debris",
        "mlhub datasets list --json",
    ),
    "mlhub datasets show": (
        "mlhub datasets show nasa_marine_debris",
        "mlhub datasets show 10.34911/rdnt.9r6ekg --json",
    ),
    "mlhub download": (
        "mlhub download nasa_marine_debris --output-dir data",
        "mlhub download https://stac.example/collections/scenes --bbox 9,50,10,51 --dry-run",
        "mlhub download catalog.tar.gz --collection scenes=B04,B08 --datetime 2016",
        "mlhub download --plan data/scenes/.mlhub/plans/45a931319887/plan.json",
    ),
    "mlhub sync": (
        "mlhub sync nasa_marine_debris --output-dir data",
        "mlhub sync https://data.example/catalog.json --output-dir data --prune",
    ),
    "mlhub index": (
        "mlhub index catalog.tar.gz --output index.parquet",
        "mlhub index https://stac.example/ --collection scenes --output scenes.parquet",
    ),
    "mlhub query": (
        "mlhub query index.parquet --datetime 2016 --output rows.csv",
        "mlhub query catalog.tar.gz --where 'eo:cloud_cover < 10' --json",
    ),
    "mlhub verify": (
        "mlhub verify data/nasa_marine_debris",
        "mlhub verify --repair data/nasa_marine_debris",
    ),
    "mlhub retry": ("mlhub retry data/nasa_marine_debris",),
    "mlhub stac": ("mlhub stac data/nasa_marine_debris", "mlhub stac data/crops --stac inplace"),
    "mlhub export": (
        "mlhub export data/demo_crops --output shards",
        "mlhub export data/demo_crops --label labels --split train --output shards",
    ),
    "mlhub configure": ("mlhub configure", "mlhub configure --profile work < key.txt"),
    "mlhub serve": (
        "mlhub serve --demo",
        "mlhub serve my-hub --demo --write",
        "MLHUB_SERVE_API_KEY=… mlhub serve my-hub --port 8765",
    ),
    "mlhub completion": (
        "mlhub completion bash > ~/.local/share/bash-completion/completions/mlhub",
    ),
    "mlhub debug-bundle": ("mlhub debug-bundle data/nasa_marine_debris",),
    "mlhub-flows": (
        "mlhub-flows download --demo",
        "mlhub-flows sync nasa_marine_debris --output-dir data",
    ),
}
"""By the name of the program; each of them is read by the parsers in the tests."""

_STATUSES = """exit status:
  0    all there
  1    some files failed (err_report.csv names them), or verify found some wrong, or
       --strict and the catalog lacks something that it names
  2    bad arguments, an unknown dataset, or nothing matches
  3    the source refuses, cannot be reached, or hands out what cannot be used
  4    the disk refuses, or has not the room
  130  interrupted"""

_VARIABLES = {
    "MLHUB_ROOT_URL": "the hub; by default the public one, which has been switched off",
    "MLHUB_API_KEY": "its API key; stands above profiles",
    "MLHUB_PROFILE": "the profile with the key, if not `default`; __anonymous__ has none",
    "MLHUB_HOME": "where profiles lie, if not ~/.mlhub",
    "MLHUB_SERVE_API_KEY": "the key that a served hub asks for",
    "https_proxy, http_proxy, all_proxy, no_proxy": "proxies",
    "REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR": "certificates of your own",
    "PREFECT_API_URL": "the Prefect server of flows; by default one for the length of the run",
}
_OF_SERVE = ("MLHUB_SERVE_API_KEY",)
_OF_FLOWS = ("PREFECT_API_URL",)


def epilog(program: str) -> str | None:
    """What stands below the options of a command.

    Args:
        program: The command, such as ``mlhub sync``.
    """
    flow = program.startswith(("mlhub-flows", "python"))
    examples = EXAMPLES.get(program) or _of_flows(program)
    if not examples:
        return None
    serves = program == "mlhub serve"
    names = [
        name
        for name in _VARIABLES
        if (serves or name not in _OF_SERVE) and (flow or name not in _OF_FLOWS)
    ]
    return "\n\n".join([_listed("examples:", examples), _STATUSES, _variables(names)])


def _of_flows(program: str) -> tuple[str, ...]:
    """The examples of a flow: those of the command that does the same."""
    verb = "sync" if "sync" in program else "download"
    start = f"mlhub {verb} "
    if not program.startswith(("mlhub-flows ", "python ")):
        return ()
    return tuple(
        f"{program} {text.removeprefix(start)}"
        for text in EXAMPLES[start.strip()]
        if "--plan" not in text
    )


def _listed(heading: str, texts: Iterable[str]) -> str:
    return "\n  ".join([heading, *texts])


def _variables(names: Iterable[str]) -> str:
    lines = []
    for name in names:
        if len(name) > 20:
            lines += [name, f"{'':20} {_VARIABLES[name]}"]
        else:
            lines.append(f"{name:20} {_VARIABLES[name]}")
    return _listed("environment:", lines)


COMMON = f"{_STATUSES}\n\n{_variables(_VARIABLES)}"
"""What all commands have in common."""


def without_common(text: str) -> str:
    """The help of a command without what all have in common."""
    return text.partition(f"\n\n{_STATUSES}")[0].rstrip()
