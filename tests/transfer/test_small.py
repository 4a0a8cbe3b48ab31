"""Small answers taken in one go come to what they come to by the long way."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.net.response import ResponseHead
from mlhub_core.net.resume import Kind
from mlhub_core.selection.partition import Asset
from mlhub_core.settings import TransferSettings
from mlhub_core.stop import StopFlag
from mlhub_core.transfer.desk import How, Taken
from mlhub_core.transfer.failures import Failure
from mlhub_core.transfer.fetch import Fetch
from mlhub_core.transfer.ledger import Entry
from mlhub_core.transfer.partials import Partials
from mlhub_core.transfer.small import take_small
from mlhub_core.transfer.sources import Remote
from mlhub_core.transfer.storage import Places


class Desk:
    """A desk over a directory that remembers what was reported."""

    def __init__(self, root: Path) -> None:
        self.settings = TransferSettings()
        self.places = Places(root / "files")
        self.partials = Partials(root / "partial")
        self.check = StopFlag().check
        self.root = root
        self.bytes = 0
        self.taken: list[Taken] = []
        self.reports: list[tuple[Entry, How]] = []
        self.failures: list[Failure] = []

    def moved(self, count: int) -> None:
        self.bytes += count

    def finished(self, asset: Asset, entry: Entry, how: How) -> None:
        self.reports.append((entry._replace(time=0.0), how))

    def record_taken(self) -> None:
        """Report what was taken, as a run does at the end of a turn of the loop."""
        for taken in self.taken:
            self.moved(taken.size)
            self.finished(taken.asset, taken.entry(), How.FETCHED)

    def failed(self, asset: Asset, failure: Failure) -> None:
        self.failures.append(failure)

    def files(self) -> dict[str, bytes]:
        """What lies below the directory."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}


BODIES = st.lists(st.binary(max_size=40), min_size=1, max_size=4)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(["image/tiff", "text/html", "Text/HTML; charset=x", ""]),
        "connection": st.sampled_from(["keep-alive", "close"]),
        "content-encoding": st.sampled_from(["gzip", "identity", "br"]),
        "transfer-encoding": st.just("chunked"),
        "content-md5": st.just("1B2M2Y8AsgTpgAmY7PhCfg=="),
        "content-range": st.just("bytes 0-3/4"),
        "etag": st.sampled_from(['"a"', 'W/"a"']),
        "last-modified": st.just("Mon, 01 Jan 2024 00:00:00 GMT"),
        "retry-after": st.just("1"),
    },
)


@settings(deadline=None)
@given(
    pieces=BODIES,
    fields=FIELDS,
    status=st.sampled_from([200, 200, 200, 203, 206, 404, 416, 503]),
    length=st.sampled_from([0, 0, 0, 1, -1, None]),
    known=st.sampled_from([None, None, 0, 1]),
    checksum=st.sampled_from([None, None, None, "md5:d41d8cd98f00b204e9800998ecf8427e"]),
    suffix=st.sampled_from([".tif", ".json", ""]),
)
def test_what_is_taken_at_once_is_what_the_long_way_comes_to(
    pieces: list[bytes],
    fields: dict[str, str],
    status: int,
    length: int | None,
    known: int | None,
    checksum: str | None,
    suffix: str,
) -> None:
    size = sum(map(len, pieces))
    if length is not None:
        fields = {**fields, "content-length": str(size + length)}
    asset = Asset(
        save_path=f"chips/chip_1/image{suffix}",
        href=f"https://example.org/chips/1{suffix}",
        collection_id="chips",
        item_id="chip_1",
        asset_key="image",
        file_size=None if known is None else size + known,
        checksum=checksum,
    )
    head = ResponseHead(status, fields)
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        quick, slow = Desk(Path(one)), Desk(Path(other))
        taken = take_small(asset, head, list(pieces), quick)
        if not taken:
            assert (quick.taken, quick.reports, quick.failures, quick.bytes) == ([], [], [], 0)
            assert quick.files() == {}
            return
        quick.record_taken()
        fetch = Fetch(asset, Remote(asset.href, "example.org"), Kind.WHOLE, slow)
        fetch.fields()
        assert fetch.begin(head)
        assert fetch.write(pieces)
        assert fetch.settle(None) is None
        assert quick.reports == slow.reports
        assert quick.reports[0][1] is How.FETCHED
        assert quick.files() == slow.files() == {f"files/{asset.save_path}": b"".join(pieces)}
        assert quick.bytes == slow.bytes
        assert not slow.failures


def test_an_ordinary_answer_is_taken(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    asset = Asset("a/b.tif", "https://example.org/b.tif", "a", "b", "k", None, None)
    head = ResponseHead(200, {"content-length": "4", "content-type": "image/tiff"})
    assert take_small(asset, head, [b"ab", b"cd"], desk)
    assert desk.files() == {"files/a/b.tif": b"abcd"}


def test_what_an_earlier_run_left_of_anything_makes_it_the_long_way(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "x.json").write_bytes(b"{}")
    desk = Desk(tmp_path)
    asset = Asset("a/b.tif", "https://example.org/b.tif", "a", "b", "k", None, None)
    assert not take_small(asset, ResponseHead(200, {"content-length": "1"}), [b"x"], desk)
