from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.index.save_paths import Claim, settle, settle_directories, suffix_of
from mlhub_core.paths import case_key, extension

stems = st.text(st.sampled_from("aAbB~.éÉßK\u212a"), min_size=1, max_size=4) | st.just("a~1")
claims = st.builds(
    Claim,
    stem=stems,
    suffix=st.sampled_from(["", ".tif", ".TIF", ".json"]),
    key=st.sampled_from(["a", "A", "b", "a.tif"]),
    identity=st.sampled_from(["u1", "u2", "u3"]),
)
claim_lists = st.lists(claims, max_size=10)


@given(st.text())
def test_the_quick_way_of_case_key_is_the_exact_one(text: str) -> None:
    nfc = unicodedata.normalize("NFC", text).casefold()
    assert case_key(text) == unicodedata.normalize("NFC", nfc)


endings = st.sampled_from(["tif", "tar.gz", "TAR.GZ", "aux.xml", "gz", "xml", ".", "x" * 17, "_ü"])
urls = st.builds(
    lambda host, path, ending: f"https://{host}/{path}.{ending}",
    st.sampled_from(["a.test", "a.test:80", "u@a", "[::1]"]),
    st.text(st.sampled_from("abc./~%2?#;=é "), max_size=12),
    endings,
) | st.text(max_size=20)


@given(urls, st.sampled_from([None, "image/png", "text/csv; x=1"]))
def test_suffix_of_is_extension(href: str, media_type: str | None) -> None:
    assert suffix_of(href, media_type) == extension(href, media_type)


@given(claim_lists, st.sets(st.sampled_from(["a", "a.json", "b.tif", "%61", "%61.json"])))
def test_every_file_gets_a_name_of_its_own(found: list[Claim], held: set[str]) -> None:
    names = settle(found, lambda name: case_key(name) in held)
    assert set(names) == set(found)
    by_name: dict[str, set[tuple[str, str]]] = {}
    for claim, name in names.items():
        assert case_key(name) not in held
        by_name.setdefault(case_key(name), set()).add((name, claim.identity))
    assert all(len(files) == 1 for files in by_name.values())


@given(claim_lists, st.randoms())
def test_the_order_does_not_matter(found: list[Claim], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert settle(shuffled) == settle(found)


@given(claim_lists)
def test_names_that_nobody_else_wants_stay(found: list[Claim]) -> None:
    folded = [case_key(claim.name) for claim in set(found)]
    for claim, name in settle(found).items():
        if folded.count(case_key(claim.name)) == 1:
            assert name == claim.name


def test_case() -> None:
    upper, lower = Claim("B8A", ".tif", "B8A", "u1"), Claim("B8a", ".tif", "B8a", "u2")
    assert settle([upper, lower]) == {upper: "%428%41.tif", lower: "%428a.tif"}
    assert settle([upper]) == {upper: "B8A.tif"}


def test_the_same_name_twice() -> None:
    one, two = Claim("a", ".tif", "a", "u1"), Claim("a.tif", "", "a.tif", "u2")
    names = settle([one, two])
    assert names[one] != names[two]
    assert names[one].startswith("a~")
    assert names[one].endswith(".tif")
    same = two._replace(identity="u1")
    assert set(settle([one, same]).values()) == {"a.tif"}


def test_the_same_name_twice_in_two_spellings() -> None:
    found = [Claim("a", end, "a", url) for end in (".tif", ".TIF") for url in ("u1", "u2")]
    assert len({case_key(name) for name in settle(found).values()}) == 4


def test_a_name_that_is_held() -> None:
    claim = Claim("a", ".json", "a", "u1")
    assert settle([claim], lambda name: name == "a.json") == {claim: "%61.json"}


def test_directories() -> None:
    assert settle_directories(["A", "a", "b"]) == {"A": "%41", "a": "a"}
