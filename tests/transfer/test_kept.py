"""What is as it was is taken out, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.if_exists import DownloadIfExistsOpts
from mlhub_core.net.checksums import parse_checksum
from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.decide import Action, Situation, decide
from mlhub_core.transfer.fingerprint import fingerprint_of
from mlhub_core.transfer.kept import sift
from mlhub_core.transfer.ledger import (
    Entry,
    LedgerReader,
    LedgerWriter,
    State,
    compact,
)

CASES = st.tuples(
    st.sampled_from([None, *State]),  # the ledger's state, None without an entry
    st.sampled_from([None, 3, 4]),  # bytes of the file that lies there
    st.sampled_from([None, 3, 4]),  # bytes by the catalog
    st.booleans(),  # whether the catalog says the same of it
    st.sampled_from([None, "1220" + "00" * 32]),  # the catalog's checksum
)


@given(st.lists(CASES, max_size=12), st.booleans())
def test_only_what_would_be_kept_is_taken_out(
    tmp_path_factory: pytest.TempPathFactory, cases: list[tuple[object, ...]], compacted: bool
) -> None:
    root = tmp_path_factory.mktemp("root")
    writer = LedgerWriter(root / "ledger", 1)
    batch, plain, known = [], [], []
    for number, (state, here, size, same, checksum) in enumerate(cases):
        path = f"{number}.tif"
        if here is not None:
            (root / path).write_bytes(b"x" * here)  # type: ignore[operator]
        href = f"http://h/{number}"
        asset = Asset(path, href, "c", None, "k", size, checksum)  # type: ignore[arg-type]
        batch.append(asset)
        if state is None:
            continue
        known.append(path)
        source = fingerprint_of(asset if same else asset._replace(updated="2021"))
        entry = Entry(path, 3, "0" * 64, None, None, source, State(str(state)), 0.0)
        writer.add(entry)
        if state in (State.VERIFIED, State.ADOPTED) and here == 3 and same:
            plain.append(path)
            situation = Situation(
                if_exists=DownloadIfExistsOpts.resume,
                local_size=3,
                entry=entry,
                unchanged=True,
                partial=False,
                size=asset.file_size,
                checksum=parse_checksum(asset.checksum),
            )
            assert decide(situation) is Action.KEEP
    writer.close()
    if compacted:
        compact(root / "ledger")
    ledger = LedgerReader(root / "ledger")
    sifted = sift(batch, str(root), ledger)
    ledger.close()
    assert sifted.left == [asset for asset in batch if asset.save_path not in plain]
    assert (sifted.kept, sifted.size) == (len(plain), 3 * len(plain))
    assert sifted.known == [path for path in known if path not in plain]


def test_without_a_ledger_everything_is_left(tmp_path: Path) -> None:
    assets = [Asset("a.tif", "http://h/a", "c", None, "k")]
    ledger = LedgerReader(tmp_path / "none")
    assert sift(assets, str(tmp_path), ledger) == (assets, [], 0, 0)
    ledger.close()
