"""Bodies: what is written and digested is what came, however it comes."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.net.body import Body


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400_000), max_size=12), st.sets(st.sampled_from(["md5", "sha1"])))
def test_all_of_it_is_written_and_digested(sizes: list[int], others: set[str]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    whole = b"".join(pieces)
    with tempfile.TemporaryDirectory() as folder:
        body = Body(f"{folder}/a.part", others)
        for piece in pieces:
            body.write((piece,))
        for name in ("sha256", *others):
            assert body.digest(name) == hashlib.new(name, whole).hexdigest()
        body.close()
        assert body.size == len(whole)
        assert Path(body.path).read_bytes() == whole


@pytest.mark.parametrize("first", [10, 200_000, 3_000_000])
def test_a_body_goes_on_after_it_was_closed(tmp_path: Path, first: int) -> None:
    begin, rest = b"a" * first, b"b" * 1_500_000
    body = Body(str(tmp_path / "a.part"))
    body.write((begin,))
    body.close()
    assert Path(body.path).read_bytes() == begin
    again = Body(body.path)
    again.load(lambda: None)
    for one in (body, again):
        Path(body.path).write_bytes(begin)
        one.write((rest,))
        one.close()
        assert Path(body.path).read_bytes() == begin + rest
        assert one.digest("sha256") == hashlib.sha256(begin + rest).hexdigest()


def test_a_small_body_touches_the_disk_only_at_its_end(tmp_path: Path) -> None:
    body = Body(str(tmp_path / "a.part"))
    body.write((b"few",))
    assert body.digest("sha256") == hashlib.sha256(b"few").hexdigest()
    assert list(tmp_path.iterdir()) == []
    body.discard()
    assert list(tmp_path.iterdir()) == []
    body = Body(str(tmp_path / "b.part"))
    body.write((b"x" * 200_000,))
    assert [path.name for path in tmp_path.iterdir()] == ["b.part"]
    body.discard()
    assert list(tmp_path.iterdir()) == []
