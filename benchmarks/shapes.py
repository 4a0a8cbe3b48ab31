"""What is downloaded: how many files of which size, over what."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Shape:
    """A generated dataset.

    Attributes:
        name: On the command line.
        files: Asset files in all.
        smallest: Bytes of the smallest file.
        largest: Bytes of the largest file.
        per_item: Assets of one item.
        tls: Served over HTTPS.
        again: Whether a complete re-run and one with 1 % of the files missing follow.
        delay: Seconds of a round trip.
        connections: Connections at a time.
        rivals: Who takes part.
    """

    name: str
    files: int
    smallest: int
    largest: int
    per_item: int = 4
    tls: bool = False
    again: bool = False
    delay: float = 0.0
    connections: int = 32
    rivals: tuple[str, ...] = ("ours", "transfer", "reference", "curl", "cp")

    @property
    def title(self) -> str:
        """For people."""
        sizes = size_text(self.smallest)
        if self.largest != self.smallest:
            sizes += f" to {size_text(self.largest)}"
        text = f"{self.files:,} files of {sizes}"
        if self.tls:
            text += " over HTTPS"
        if self.delay:
            text += f", {self.delay * 1000:.0f} ms away"
        if self.connections != 32 or self.delay:
            text += f", {self.connections} connections"
        return text

    def shrunk(self, divisor: int) -> Shape:
        """The same with fewer files."""
        files = max(self.per_item, self.files // divisor // self.per_item * self.per_item)
        return replace(self, files=files)


def size_text(count: int) -> str:
    """Bytes in the unit that leaves few digits."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count} B"


_WIRE = ("ours", "transfer", "transfer-2", "curl", "curl-2")
"""Over HTTPS; `curl` by HTTP/1.1 and by HTTP/2."""


def _far(milliseconds: int, connections: int, files: int) -> Shape:
    """Small files over HTTPS."""
    return Shape(
        f"https-{milliseconds}-{connections}",
        files,
        4_000,
        60_000,
        tls=True,
        delay=milliseconds / 1000,
        connections=connections,
        rivals=_WIRE,
    )


def _far_large(milliseconds: int) -> Shape:
    """Large files over HTTPS."""
    return Shape(
        f"https-{milliseconds}-large",
        60,
        16_000_000,
        16_000_000,
        per_item=2,
        tls=True,
        delay=milliseconds / 1000,
        rivals=("reference", *_WIRE) if not milliseconds else _WIRE,
    )


SHAPES = {
    shape.name: shape
    for shape in (
        *(_far(late, count, 6_000) for late in (0, 20, 50) for count in (32, 128)),
        *(_far_large(late) for late in (0, 20, 50)),
        Shape(
            "https-50-60k",
            60_000,
            4_000,
            60_000,
            tls=True,
            delay=0.05,
            connections=128,
            rivals=("ours", "curl"),
        ),
        Shape("small", 6_000, 4_000, 60_000, again=True),
        Shape("medium", 2_000, 400_000, 400_000),
        Shape("large", 60, 16_000_000, 16_000_000, per_item=2),
        Shape("memory-20k", 20_000, 500, 2_000, rivals=("transfer",)),
        Shape("memory-200k", 200_000, 500, 2_000, rivals=("transfer",)),
    )
}
"""All shapes, by name, in the order in which they run."""
