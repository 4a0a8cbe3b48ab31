"""What the tasks of one process share: the stop flag and the progress of the current run.

Neither can travel as a task parameter: a flag must be seen by threads that are already running,
and a listener is a function.
"""

from __future__ import annotations

from mlhub_core.progress import Broadcast
from mlhub_core.stop import StopFlag

STOP = StopFlag()
"""Set by the flow when it is asked to stop; every task watches it."""

PROGRESS = Broadcast()
"""Tasks report to it; the command line and the flow listen."""
