"""How long to wait before another try: pure but for the dice."""

from __future__ import annotations

import random

from mlhub_core.settings import TransferSettings


def delay_before(attempt: int, wait: float | None, settings: TransferSettings) -> float:
    """Seconds to wait before another try.

    Exponential with full-width jitter, so that a thousand refused clients do not come back in
    step. ``Retry-After`` is a lower bound, up to its cap.

    Args:
        attempt: Tries so far, from 1.
        wait: ``Retry-After``, None where not given.
        settings: Base and caps.
    """
    ceiling = min(settings.backoff_cap, settings.backoff_base * 2.0 ** min(attempt - 1, 60))
    delay = ceiling * random.uniform(0.5, 1.0)
    if wait is None:
        return delay
    return max(delay, min(wait, settings.retry_after_cap))
