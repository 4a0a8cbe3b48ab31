"""A client of another scheme: signs late, for each request, and once more when that has expired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlhub_core.net.clients import CLIENTS
from tests.faultserver import FaultServer, status
from tests.transfer.kit import Kit


class Signing:
    """What it signs expires at once as long as ``expired`` is not used up."""

    signs = True

    def __init__(self, expired: int) -> None:
        self._expired = expired

    def request(self, url: str, host: str) -> tuple[str, list[str]]:
        self._expired -= 1
        signature = "old" if self._expired >= 0 else "new"
        return f"{url.replace('vault:', 'http:')}?sig={signature}", []


@pytest.fixture(params=[0, 1, 2])
def expired(request: pytest.FixtureRequest) -> Iterator[int]:
    CLIENTS["vault"] = Signing(request.param)
    yield request.param
    del CLIENTS["vault"]


def test_a_signature_that_has_expired_is_renewed_once(
    kit: Kit, server: FaultServer, expired: int
) -> None:
    server.put("/a.tif?sig=new", b"data")
    server.put("/a.tif?sig=old", b"")
    server.always("/a.tif?sig=old", status(403))
    kit.want("/a.tif", href=server.url("/a.tif").replace("http:", "vault:"))

    result = kit.run()

    asked = ["/a.tif?sig=old"] * expired + ["/a.tif?sig=new"] * (expired < 2)
    assert server.paths() == asked
    assert (result.fetched, result.failed) == ((1, 0) if expired < 2 else (0, 1))
