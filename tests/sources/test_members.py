from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.sources.members import Placement, relative_name

hostile = st.text(st.sampled_from("./\\:aC\0é\ud800-") | st.characters(), max_size=30)


@given(hostile)
def test_no_name_leaves_the_directory(raw: str) -> None:
    name, why = relative_name(raw)
    assert bool(name) != bool(why)
    if name:
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert "\\" not in name
        assert "\0" not in name
        assert all(len(part.encode()) <= 255 for part in parts)
        assert relative_name(name) == (name, "")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("../x", "leaves"),
        ("a/../../x", "leaves"),
        ("a/../x", "leaves"),
        ("C:/x", "drive"),
        ("c:x", "drive"),
        ("a\\..\\x", "backslash"),
        ("a\0b", "NUL"),
        ("", "no name"),
        ("./.", "no file"),
        ("a/\udcff", "UTF-8"),
        ("a/" + "é" * 128, "longer"),
        ("a/" * 2500 + "b", "longer"),
    ],
)
def test_refused(raw: str, why: str) -> None:
    assert why in relative_name(raw)[1]


def test_plain() -> None:
    assert relative_name("./demo//a/./b.json") == ("demo/a/b.json", "")
    assert relative_name("a..b/..c") == ("a..b/..c", "")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("demo/coll/x.json", "coll/x.json"),
        ("./demo/catalog.json", "catalog.json"),
        ("other/catalog.json", "other/catalog.json"),
        ("catalog.json", "catalog.json"),
        ("demolition/x", "demolition/x"),
        ("demo/coll/.mlhub/x", "coll/.mlhub/x"),
        ("demo/_common/x.pdf", "_common/x.pdf"),
    ],
)
def test_place(raw: str, path: str) -> None:
    assert Placement("demo").place(raw) == (path, "")


@pytest.mark.parametrize(
    ("raw", "path", "beyond"),
    [
        ("a/b/c/x.json", "x.json", ""),
        ("a/b/x.json", "a/b/x.json", "%2E%2E/x.json"),
        ("a/b/cc/x.json", "a/b/cc/x.json", "%2E%2E/cc/x.json"),
        ("README", "README", "%2E%2E/%2E%2E/%2E%2E/README"),
    ],
)
def test_beside_a_root_several_folders_deep(raw: str, path: str, beyond: str) -> None:
    placement = Placement("a/b/c")
    assert placement.place(raw) == (path, "")
    assert placement.beyond == beyond


@pytest.mark.parametrize(
    "raw",
    [
        "demo/.mlhub/ledger/1",
        "demo/.MLHUB/lock",
        "demo/.mlhub",
        ".mlhub/index.json",
        "demo/mlhub_stac_assets.parquet",
        "demo/MLHUB_stac_assets.db-journal",
        "demo/err_report.csv",
        "Err_Report.CSV",
        "demo/_common",
        "demo",
    ],
)
def test_our_own_state_is_out_of_reach(raw: str) -> None:
    path, why = Placement("demo").place(raw)
    assert not path
    assert why


def test_nothing_folds_to_the_first_letters_of_our_names_but_they() -> None:
    odd = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).casefold()[:1] in "._me"]
    assert set(odd) == set("._mMeE")
