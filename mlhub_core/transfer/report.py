"""What a partition, and a whole run, came to: in numbers and in words."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mlhub_core.exceptions import DownloadIncomplete
from mlhub_core.selection.plan import format_bytes
from mlhub_core.sources.members import lacking

log = logging.getLogger(__name__)

_CAUSES_SHOWN = 10
_REMARKS_SHOWN = 5
_LICENSES_SHOWN = 5
_WAYS_ROUND = {
    "another size than in the catalog": "if the catalog is wrong, --ignore-file-size takes them",
    "another checksum than expected": "if the catalog is wrong, --ignore-checksum takes them",
}


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """What was done about one partition's assets.

    ``files == fetched + kept + adopted + failed``; ``resumed`` is a part of ``fetched``.

    Attributes:
        number: The partition's number.
        files: Assets in it.
        fetched: Files that came now, over the network or out of the catalog archive.
        fetched_bytes: Bytes of bodies moved over the network, those thrown away included.
        kept: Files that the ledger knew: nobody was asked.
        adopted: Files that lay there and were found complete, or taken unchecked with ``skip``.
        resumed: Files of which only the rest was fetched.
        unchecked: Files that were fetched, and that nothing vouches for: no checksum, and either
            no length or two parts put together; a part of ``fetched``.
        failed: Assets that cannot be had.
        uncompared: Files whose checksum in the catalog cannot be read, a part of the others.
        uncompared_example: The first of them, with its checksum.
        failures_path: Their segment, None when none failed.
        requests: Requests sent, not counting redirects followed.
        retries: Requests that were not the first of their file.
        seconds: From start to end.
    """

    number: int
    files: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    kept: int = 0
    adopted: int = 0
    resumed: int = 0
    unchecked: int = 0
    failed: int = 0
    uncompared: int = 0
    uncompared_example: str = ""
    failures_path: Path | None = None
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class DownloadReport:
    """What a run did.

    Attributes:
        dataset_id: The dataset.
        directory: Where its assets lie.
        title: The dataset's title, None where unknown.
        index_path: The asset index, None where there is none.
        err_report: ``err_report.csv``, None when nothing failed.
        files: Assets that were asked for.
        fetched: Files that came now.
        fetched_bytes: Bytes of bodies moved over the network.
        kept: Files that were known to be here.
        adopted: Files that lay there and were found complete, or taken unchecked.
        resumed: Files of which only the rest was fetched, a part of ``fetched``.
        unchecked: Files that were fetched and that nothing vouches for, a part of ``fetched``.
        failed: Assets that could not be had.
        uncompared: Files whose checksum in the catalog could not be read, a part of the others.
        uncompared_example: The first of them, with its checksum.
        retries: Requests that were not the first of their file.
        requests: Requests to asset hosts.
        seconds: From start to end.
        causes: ``(cause, host, assets)`` of the failed, the most frequent first.
        funnel: ``(filter, assets left)``, in order.
        licenses: ``(collection, licenses)`` of what was asked for, as far as they are given.
        without_place: Items that a spatial filter left out for want of a place.
        without_time: Items that a temporal filter left out for want of a time.
        remark_count: What is unusual about the catalog, in number.
        remarks: The first of it in words, each naming the member.
        missing: What the catalog names and does not hold, or holds and cannot be read: items,
            collections and assets, in number.
        catalog_only: Whether no assets were asked for.
        products: Where each product is, by name.
    """

    dataset_id: str
    directory: Path
    title: str | None = None
    index_path: Path | None = None
    err_report: Path | None = None
    files: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    kept: int = 0
    adopted: int = 0
    resumed: int = 0
    unchecked: int = 0
    failed: int = 0
    uncompared: int = 0
    uncompared_example: str = ""
    retries: int = 0
    requests: int = 0
    seconds: float = 0.0
    causes: tuple[tuple[str, str, int], ...] = ()
    funnel: tuple[tuple[str, int], ...] = ()
    licenses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    without_place: int = 0
    without_time: int = 0
    remark_count: int = 0
    remarks: tuple[str, ...] = ()
    missing: int = 0
    catalog_only: bool = False
    products: Mapping[str, Path] = field(default_factory=dict)

    @property
    def stac(self) -> Path | None:
        """The local STAC, if one was written or is there."""
        return self.products.get("stac")

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.title or self.dataset_id}: {self._headline()}", f"In {self.directory}"]
        if self.stac is not None:
            lines.append(f"To open it: {self.stac}")
        if self.licenses:
            lines.append(f"License: {self._licenses()}")
        if self.resumed:
            lines.append(f"{self.resumed:,} of the fetched were continued.")
        lines += self.shortcomings()
        lines += self._remarks()
        if self.failed:
            lines += self._failures()
        return "\n".join(lines)

    def shortcomings(self) -> list[str]:
        """What was asked for and is not here, or could not be checked, without what failed."""
        lines = []
        if self.unchecked:
            lines.append(
                f"{self.unchecked:,} of the fetched are unchecked: there is no checksum, and they "
                "came in two parts or without a length. The next run asks about them."
            )
        if self.without_place:
            lines.append(f"{self.without_place:,} items have no place and were left out.")
        if self.without_time:
            lines.append(f"{self.without_time:,} items have no time and were left out.")
        if self.missing:
            lines.append(f"{lacking(self.missing)}.")
        if self.uncompared:
            lines.append(uncompared_text(self.uncompared, self.uncompared_example))
        return lines

    def _repr_html_(self) -> str:
        """What a notebook shows; the map is read from index and ledger, if they are here."""
        from mlhub_core.transfer.footprints import map_of_files
        from mlhub_core.views.html import card, note, pairs, table

        failed = [(cause, host, count) for cause, host, count in self.causes]
        return card(
            self.title or self.dataset_id,
            note(self._headline()),
            pairs(
                [
                    ("Id", self.dataset_id),
                    ("Licence", self._licenses() if self.licenses else None),
                    ("Files", str(self.directory)),
                    ("To open it", None if self.stac is None else str(self.stac)),
                    ("Failed", f"{self.failed:,}" if self.failed else None),
                    ("Listed in", None if self.err_report is None else str(self.err_report)),
                    ("Lacking", lacking(self.missing) if self.missing else None),
                ]
            ),
            table(("what could not be had", "host", "assets"), failed) if failed else "",
            *map(note, self.remarks[:_REMARKS_SHOWN]),
            map_of_files(self.index_path, self.directory, "") if self.index_path else "",
        )

    def _remarks(self) -> list[str]:
        lines = []
        if self.remark_count:
            lines.append(f"{self.remark_count:,} remarks on the catalog:")
            lines += [f"  {text}" for text in self.remarks[:_REMARKS_SHOWN]]
        if self.remark_count > _REMARKS_SHOWN:
            lines.append(f"  and {self.remark_count - _REMARKS_SHOWN:,} more")
        return lines

    def _licenses(self) -> str:
        """The licenses; by collection where they differ."""
        if len({names for _, names in self.licenses}) == 1:
            return " or ".join(self.licenses[0][1])
        shown = self.licenses[:_LICENSES_SHOWN]
        parts = [f"{' or '.join(names)} ({collection})" for collection, names in shown]
        more = len(self.licenses) - len(shown)
        return "; ".join([*parts, *([f"and {more} more collections"] if more else [])])

    def _failures(self) -> list[str]:
        lines = [f"{self.failed:,} of {self.files:,} assets could not be had:"]
        for cause, host, count in self.causes[:_CAUSES_SHOWN]:
            lines.append(f"  {count:,} x {cause}" + (f" ({host})" if host else ""))
        told = {cause for cause, _, _ in self.causes}
        lines += [f"  {hint}" for cause, hint in _WAYS_ROUND.items() if cause in told]
        hidden = len(self.causes) - _CAUSES_SHOWN
        if hidden > 0:
            lines.append(f"  and {hidden} other causes")
        return [*lines, f"They are listed in {self.err_report}"]

    def _headline(self) -> str:
        if self.catalog_only:
            return "the catalog is here; no assets were asked for."
        here = self.files - self.failed
        parts = [f"{self.fetched:,} fetched ({format_bytes(self.fetched_bytes)})"]
        if self.kept:
            parts.append(f"{self.kept:,} were here already")
        if self.adopted:
            parts.append(f"{self.adopted:,} of another download were taken over")
        return (
            f"{here:,} of {self.files:,} files are here: {', '.join(parts)} "
            f"in {self.seconds:.1f} s."
        )

    def raise_for_failures(self, *, strict: bool = False) -> None:
        """Raise if any asset could not be had.

        Args:
            strict: Raise also if the catalog itself lacks something that it names.

        Raises:
            DownloadIncomplete: with this report as its ``report``.
        """
        if not self.failed:
            if strict and self.missing:
                raise DownloadIncomplete(
                    f"{self.dataset_id}: {lacking(self.missing)} (strict).", report=self
                )
            return
        cause = ""
        if self.causes:
            name, host, count = self.causes[0]
            cause = f", most often ({count:,}): {name}" + (f" ({host})" if host else "")
        raise DownloadIncomplete(
            f"{self.failed:,} of {self.files:,} assets of {self.dataset_id} could not be had"
            f"{cause}. They are listed in {self.err_report}; run the same command again to try "
            "only those.",
            report=self,
        )


def uncompared_text(count: int, example: str) -> str:
    """Say of how many files the checksum was not compared, and name one of them.

    Args:
        count: The files.
        example: The first of them, with its checksum.
    """
    files = "1 file was" if count == 1 else f"{count:,} files were"
    return (
        f"{files} not compared with the checksum of the catalog, which is in no spelling or "
        f"algorithm that is known: {example}"
    )


def add_up(results: Iterable[PartitionResult]) -> dict[str, Any]:
    """Sums over partitions, under the names that :class:`DownloadReport` has for them.

    Checksums that could not be read are logged: nobody should believe that they were compared.
    """
    apart = ("number", "failures_path", "seconds", "uncompared_example")
    names = [field.name for field in fields(PartitionResult) if field.name not in apart]
    totals: dict[str, Any] = {**dict.fromkeys(names, 0), "uncompared_example": ""}
    for result in results:
        totals["uncompared_example"] = totals["uncompared_example"] or result.uncompared_example
        for name in names:
            totals[name] += getattr(result, name)
    if totals["uncompared"]:
        log.warning("%s", uncompared_text(totals["uncompared"], totals["uncompared_example"]))
    return totals
