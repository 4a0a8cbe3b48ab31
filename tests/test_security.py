"""docs/security.md says which test shows what: it is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize(
    ("path", "name"), sorted(set(NAMED.findall((ROOT / "docs/security.md").read_text())))
)
def test_what_shows_a_promise_is_there(path: str, name: str) -> None:
    assert f"def {name or 'test_'}" in (ROOT / path).read_text()
