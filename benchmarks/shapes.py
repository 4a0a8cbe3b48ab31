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
        delay: Seconds that the server waits before each answer.
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
            text += f", each answer {self.delay * 1000:.0f} ms late, {self.connections} connections"
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


_WIRE = ("transfer", "curl")

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("small", 20_000, 4_000, 60_000, again=True),
        Shape("medium", 2_000, 400_000, 400_000),
        Shape("large", 60, 16_000_000, 16_000_000, per_item=2),
        Shape("large-tls", 60, 16_000_000, 16_000_000, per_item=2, tls=True),
        Shape("late-8", 1_200, 4_000, 60_000, delay=0.05, connections=8, rivals=_WIRE),
        Shape("late-32", 4_000, 4_000, 60_000, delay=0.05, connections=32, rivals=_WIRE),
        Shape("late-128", 12_000, 4_000, 60_000, delay=0.05, connections=128, rivals=_WIRE),
        Shape("memory-20k", 20_000, 500, 2_000, rivals=("transfer",)),
        Shape("memory-200k", 200_000, 500, 2_000, rivals=("transfer",)),
    )
}
"""All shapes, by name, in the order in which they run."""
