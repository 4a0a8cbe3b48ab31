"""What a run came to, as Markdown and as a table, for a dashboard or a file.

Titles, citations and hosts come from catalogs that anybody may have written: nothing of them is
taken for markup, and whatever looks like a key or a signature is taken out.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from mlhub_core.paths import DownloadPaths
from mlhub_core.redact import redact, redact_url
from mlhub_core.selection.filters import AssetFilter
from mlhub_core.selection.plan import Plan, counted, format_bytes
from mlhub_core.sources.base import DatasetInfo
from mlhub_core.transfer.failures import read_failures
from mlhub_core.transfer.report import DownloadReport

_MARKUP = re.compile(r"([\\`*_\[\]#|~$^])")
_LONGEST = 2_000
"""Characters of one text out of a catalog; some have their whole documentation in a citation."""
_PHRASES = 20
_ROWS = 200
"""Causes in the table; the rest is in ``err_report.csv``."""


def outcome(report: DownloadReport) -> str:
    """What a run came to that failed in nothing, in one sentence."""
    if report.catalog_only:
        return "The catalog is here; no assets were asked for."
    if not report.files:
        return "The filters leave nothing, and that was allowed: nothing was fetched."
    here = report.kept + report.adopted
    if not report.fetched and not here:
        return f"The plan has {counted(report.files, 'file')}; a dry run fetches nothing."
    if not report.fetched:
        return f"Everything was there already ({counted(here, 'file')}): nothing was fetched."
    text = (
        f"All {counted(report.files, 'file')} are here: {report.fetched:,} fetched "
        f"({format_bytes(report.fetched_bytes)}) in {_clock(report.seconds)}"
    )
    return f"{text}, {here:,} were here already." if here else f"{text}."


def summary_markdown(
    info: DatasetInfo,
    report: DownloadReport,
    paths: DownloadPaths,
    wanted: AssetFilter,
    plan: Plan | None = None,
    picture: str | None = None,
) -> str:
    """A page about a run: the dataset, what was asked for, what came, and where it lies.

    Args:
        info: The dataset.
        report: What the run did.
        paths: Where everything lies.
        wanted: The filter.
        plan: What was planned, None for a catalog alone.
        picture: URL of a picture of the selection, None where there is none.
    """
    parts = [f"# {plain(info.title or info.id)}", _verdict(report)]
    if report.failed:
        parts += ["## Failures", _failures(report)]
    parts += ["## Dataset", _pairs(_dataset(info))]
    if plan is not None:
        parts += ["## Selection", _selection(wanted, plan)]
        if picture is not None:
            parts.append(f"![Footprints of the selection over those of all items]({picture})")
        parts += ["## Transfer", _pairs(_transfer(report))]
    if report.remark_count:
        parts += ["## Remarks on the catalog", _remarks(report)]
    parts += ["## Where it lies", _pairs(_places(report, paths))]
    return "\n\n".join(parts) + "\n"


def plan_markdown(plan: Plan, verdict: str) -> str:
    """A page about what a run is going to fetch, for somebody to decide on.

    Args:
        plan: The plan.
        verdict: What is to be decided, as Markdown.
    """
    size = plan.expected_bytes
    times = [
        f"{_clock(size * 8 / rate)} at {name}"
        for rate, name in ((1e8, "100 Mbit/s"), (1e9, "1 Gbit/s"))
        if size is not None
    ]
    requests = f"at least {plan.files:,}, one a file; what a host charges for them is not known"
    licences = sorted({text for _, texts in plan.licenses for text in texts})
    facts = [
        ("Files", f"{plan.files:,} of {counted(plan.items, 'item')}"),
        ("Bytes", "unknown" if size is None else format_bytes(size)),
        ("Files of unknown size, of which the bytes are an estimate", f"{plan.unknown_sizes:,}"),
        ("Time", ", ".join(times) or "unknown"),
        ("Licence", "; ".join(map(plain, licences)) or "none given"),
        ("Requests", requests),
        ("Plan", _code(str(plan.path))),
    ]
    table = ["| files | what is left |", "|--:|---|"]
    table += [f"| {left:,} | {plain(name)} |" for name, left in plan.funnel]
    extent = "\n".join(f"- {plain(line)}" for line in plan.extent())
    title = f"# The plan for {plain(plan.dataset_id)}"
    note = "What of it is here already is not fetched again, and not taken off these numbers."
    return "\n\n".join([title, verdict, _pairs(facts), note, "\n".join(table), extent]) + "\n"


def failure_rows(report: DownloadReport) -> list[dict[str, str | int]]:
    """A row for each cause and host, the most frequent first."""
    rows: list[dict[str, str | int]] = [
        {"assets": count, "cause": redact(cause), "host": redact(host) or "none"}
        for cause, host, count in report.causes[:_ROWS]
    ]
    if hidden := report.causes[_ROWS:]:
        assets = sum(count for _, _, count in hidden)
        rows.append({"assets": assets, "cause": f"{len(hidden):,} other causes", "host": "several"})
    return rows


def failed_files(err_report: Path, count: int) -> list[dict[str, str]]:
    """The first files that could not be had: which, why, and where they should have come from.

    Args:
        err_report: The report of failures.
        count: How many at most.
    """
    rows = islice(read_failures(err_report), count)
    return [
        {
            "cause": redact(cause),
            "file": "/".join(part for part in (collection, item, key) if part),
            "link": redact_url(url),
        }
        for cause, _, collection, item, key, url in rows
    ]


def plain(text: str) -> str:
    """A text that Markdown shows as it stands, on one line, without secrets."""
    line = " ".join(redact(text).split())
    if len(line) > _LONGEST:
        line = line[:_LONGEST] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", line)


def _verdict(report: DownloadReport) -> str:
    if not report.failed:
        return f"**{outcome(report)}**"
    return (
        f"**{report.failed:,} of {counted(report.files, 'asset')} could not be had.** All others "
        "are here. Press Retry, or run it again: only those that are missing are asked for."
    )


def _dataset(info: DatasetInfo) -> list[tuple[str, str]]:
    licences = {entry.license for entry in info.collections if entry.license}
    doi = info.doi and f"[{plain(info.doi)}](https://doi.org/{quote(info.doi, safe='/')})"
    return [
        ("Id", _code(info.id)),
        ("DOI", doi or "none given"),
        ("Licence", "; ".join(plain(text) for text in sorted(licences)) or "none given"),
        ("Citation", plain(info.citation) if info.citation else "none given"),
    ]


def _selection(wanted: AssetFilter, plan: Plan) -> str:
    phrases = wanted.describe()
    lines = [f"- {plain(phrase)}" for phrase in phrases[:_PHRASES]] or ["- no filter: everything"]
    if len(phrases) > _PHRASES:
        lines.append(f"- and {len(phrases) - _PHRASES:,} more")
    table = ["| files | what is left |", "|--:|---|"]
    table += [f"| {left:,} | {plain(name)} |" for name, left in plan.funnel]
    left_out = [
        f"{counted(count, 'item')} without a {what} left out."
        for count, what in ((plan.without_place, "place"), (plan.without_time, "time"))
        if count
    ]
    return "\n\n".join(["\n".join(lines), "\n".join(table), *left_out])


def _transfer(report: DownloadReport) -> list[tuple[str, str]]:
    rate = report.fetched_bytes / report.seconds if report.seconds > 0 else 0.0
    files = report.fetched / report.seconds if report.seconds > 0 else 0.0
    return [
        ("Files asked for", f"{report.files:,}"),
        ("Fetched now", f"{report.fetched:,} ({format_bytes(report.fetched_bytes)})"),
        ("Skipped, because here already", f"{report.kept + report.adopted:,}"),
        ("Continued from a partial file", f"{report.resumed:,}"),
        *([("Fetched, and unchecked", f"{report.unchecked:,}")] if report.unchecked else []),
        ("Failed", f"{report.failed:,}"),
        ("Requests, and of them retries", f"{report.requests:,}, {report.retries:,}"),
        ("Time", _clock(report.seconds)),
        ("Rate over the whole run", f"{files:,.0f} files/s, {format_bytes(int(rate))}/s"),
    ]


def _failures(report: DownloadReport) -> str:
    lines = ["| assets | cause | host |", "|--:|---|---|"]
    shown = failure_rows(report)[:10]
    lines += [
        f"| {row['assets']:,} | {plain(str(row['cause']))} | {plain(str(row['host']))} |"
        for row in shown
    ]
    if len(report.causes) > len(shown):
        lines.append(f"| | and {len(report.causes) - len(shown):,} other causes | |")
    return "\n".join(lines)


def _remarks(report: DownloadReport) -> str:
    lines = [f"- {plain(text)}" for text in report.remarks[:_PHRASES]]
    if report.remark_count > len(lines):
        lines.append(f"- and {report.remark_count - len(lines):,} more")
    return "\n".join(lines)


def _places(report: DownloadReport, paths: DownloadPaths) -> list[tuple[str, str]]:
    places = [("Catalog", str(paths.catalog_dir)), ("Catalog archive", str(paths.archive))]
    if paths.origin is not None:
        places = [("Catalog", str(paths.origin))]
    if not report.catalog_only:
        places.insert(0, ("Files", str(report.directory)))
        if report.index_path is not None:
            places.append(("Asset index (GeoParquet)", str(report.index_path)))
    if report.err_report is not None:
        places.append(("Report of failures", str(report.err_report)))
    return [(name, _code(place)) for name, place in places]


def _pairs(pairs: list[tuple[str, str]]) -> str:
    # A list, because the UI does not break the lines of a table: a citation would be cut off.
    return "\n".join(f"- {name}: {value}" for name, value in pairs)


def _code(text: str) -> str:
    """Text as code; a backtick or a bar in it would end the code or the cell."""
    line = " ".join(redact(text).split())
    return plain(line) if re.search(r"[`|\\]", line) else f"`{line}`"


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
