"""What all work of a run is subject to, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlhub_core.progress import ProgressSink, ignore
from mlhub_core.settings import ArchiveLimits
from mlhub_core.threads import StopFlag


@dataclass(frozen=True, slots=True)
class Work:
    """How far work may go, what ends it early, and who is told how far it is.

    Attributes:
        limits: Caps on what is read of a catalog.
        stop: Ends the work early when set.
        on_progress: Gets the progress.
    """

    limits: ArchiveLimits = field(default_factory=ArchiveLimits)
    stop: StopFlag = field(default_factory=StopFlag)
    on_progress: ProgressSink = ignore


UNWATCHED = Work()
"""Work within the default caps that ends by itself, told to no one."""
