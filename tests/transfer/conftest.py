from __future__ import annotations

from pathlib import Path

import pytest

from tests.faultserver import FaultServer
from tests.transfer.kit import Kit


@pytest.fixture
def kit(tmp_path: Path, server: FaultServer) -> Kit:
    """A dataset on the server."""
    return Kit(tmp_path, server)
