from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlhub_core.exceptions import CatalogError, InvalidArgument
from mlhub_core.hub.files import OncePerState
from mlhub_core.hub.store import ItemIndex, read_page

ids = st.text(max_size=12)


def write_items(path: Path, items: list[Any], blank: str, *, ascii_only: bool) -> None:
    lines = [json.dumps(item, ensure_ascii=ascii_only) + "\n" + blank for item in items]
    path.write_bytes((blank + "".join(lines)).encode("utf-8", "surrogatepass"))


@settings(max_examples=20, deadline=None)
@given(st.lists(ids, max_size=12), st.integers(1, 5), st.sampled_from(["", "\n", " \n\n"]))
def test_pages_together_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], limit: int, blank: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "pages.jsonl"
    items = [{"id": name, "n": number} for number, name in enumerate(names)]
    write_items(path, items, blank, ascii_only=True)
    found: list[Any] = []
    sizes = []
    start: int | None = 0
    while start is not None:
        page, start = read_page(path, start, limit)
        found += page
        sizes.append(len(page))
    assert found == items
    assert all(size == limit for size in sizes[:-1])
    assert len(sizes) == max(1, -(-len(items) // limit))  # no empty page at the end


@settings(max_examples=20, deadline=None)
@given(st.lists(ids, max_size=8), ids, st.booleans())
def test_find_item_is_the_first_with_the_id(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], wanted: str, ascii_only: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "find.jsonl"
    items = [{"id": name, "n": number} for number, name in enumerate(names)]
    write_items(path, items, "", ascii_only=ascii_only)
    index = ItemIndex(path)
    for name in [*names, wanted]:
        assert index.find(name) == next((i for i in items if i["id"] == name), None)


def test_an_id_in_another_place_is_not_the_item(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_items(path, [{"id": "b", "source": "a"}, {"id": "a"}], "", ascii_only=True)
    assert ItemIndex(path).find("a") == {"id": "a"}


@pytest.mark.parametrize("start", [-1, 1, 5, 10_000])
def test_a_page_begins_at_a_line(tmp_path: Path, start: int) -> None:
    path = tmp_path / "x.jsonl"
    write_items(path, [{"id": "a"}, {"id": "b"}], "", ascii_only=True)
    with pytest.raises(InvalidArgument, match=f"token {start} "):
        read_page(path, start, 5)


@pytest.mark.parametrize("line", ["{broken", "[1]", "nothing"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(CatalogError, match=r"items/x\.jsonl: the line at byte 12"):
        read_page(path, 0, 5)


@pytest.mark.parametrize("line", ["{broken", "[1]"])
def test_a_broken_line_hides_no_other_item(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a"}\n' + line + '\n{"id": "b"}\n{"id": ["b"]}\n', encoding="utf-8")
    index = ItemIndex(path)
    assert (index.find("a"), index.find("b")) == ({"id": "a"}, {"id": "b"})
    with pytest.raises(CatalogError, match="at byte 12"):
        index.find("c")


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    indexes = OncePerState(ItemIndex)

    async def look_up() -> list[Any]:
        return [(await indexes.get(path)).find(name) for name in ("a", "b")]

    for names in (["a"], ["b", "a"], []):
        write_items(path, [{"id": name} for name in names], "", ascii_only=True)
        found = [{"id": name} if name in names else None for name in ("a", "b")]
        assert asyncio.run(look_up()) == found
