from __future__ import annotations

from pathlib import Path

import pytest

from tests.faultserver import FaultServer
from tests.transfer.kit import Kit


@pytest.fixture
def kit(request: pytest.FixtureRequest, tmp_path: Path, server: FaultServer) -> Kit:
    """A dataset on the server; over plain connections where ``BOTH_WAYS`` asks for that."""
    return Kit(tmp_path, server, over_lines=getattr(request, "param", "") == "line")
