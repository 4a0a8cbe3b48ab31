"""Properties of ``mlhub_core.paths``: names that every file system takes, and no two alike."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlhub_core.exceptions import InvalidArgument
from mlhub_core.paths import (
    DownloadPaths,
    case_key,
    collection_name,
    encode_case,
    encode_first,
    extension,
    https_url,
    item_name,
    safe_name,
)

hostile = (
    st.text(max_size=40)
    | st.text(st.sampled_from('./\\:*?"<>|% ~aA\0\n\x7fé\ud800'), max_size=12)
    | st.sampled_from(["", ".", "..", "con", "NUL.txt", "lpt1", "COM¹", "aux.", "%", "a" * 300])
    | st.text(st.sampled_from("aé\U0001d54f"), min_size=60, max_size=400)
)
namers = st.sampled_from([safe_name, collection_name, item_name])


@given(namers, hostile)
def test_a_name_is_one_component_on_every_system(namer: object, text: str) -> None:
    name = namer(text)  # type: ignore[operator]
    assert name not in ("", ".", "..")
    assert len(name.encode()) <= 200
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert not set('\\/:*?"<>|') & set(name)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in name if char < "\x80")
    assert name[-1] not in ". "
    stem = name.split(".")[0].lower()
    assert stem not in ("con", "prn", "aux", "nul", "com1", "lpt1", "com¹")


@given(namers, hostile, hostile)
def test_different_texts_have_different_names(namer: object, one: str, two: str) -> None:
    assume(one != two)
    assert namer(one) != namer(two)  # type: ignore[operator]


@given(st.text(st.sampled_from("abcXYZ019-_~é+=,;@()[]"), min_size=1, max_size=60))
def test_plain_ids_stay(text: str) -> None:
    assert safe_name(text) == text


@pytest.mark.parametrize(
    "text", ["_common", "_COMMON", ".mlhub", "catalog.json", "err_report.csv", ".MLHUB"]
)
def test_collections_stay_off_our_own_names(text: str) -> None:
    assert case_key(collection_name(text)) != case_key(text)
    assert collection_name(text) == encode_first(text)


def test_items_stay_off_common_and_the_collections_json() -> None:
    assert item_name("_common") == "%5Fcommon"
    assert item_name("Collection.JSON") == "%43ollection.JSON"
    assert item_name("catalog.json") == "catalog.json"


@given(hostile, hostile)
def test_encode_case_tells_apart_what_folds_together(one: str, two: str) -> None:
    one, two = safe_name(one), safe_name(two)
    assume(one != two)
    assert case_key(encode_case(one)) != case_key(encode_case(two))


@given(hostile)
def test_case_key_is_stable(text: str) -> None:
    assert case_key(case_key(text)) == case_key(text)
    assert case_key(unicodedata.normalize("NFD", text)) == case_key(text)


@pytest.mark.parametrize(
    ("href", "media_type", "wanted"),
    [
        ("https://x/a.tif", None, ".tif"),
        ("https://x/a.tiff", None, ".tiff"),
        ("https://x/a.jpg/b.png", None, ".png"),
        ("https://x/a.tif/b", "image/png", ".png"),
        ("https://x/a.tar.gz?sig=.zip#f.x", None, ".tar.gz"),
        ("https://x/a.tif.aux.xml", "application/xml", ".aux.xml"),
        ("https://x/a.TAR.GZ", None, ".TAR.GZ"),
        ("https://x/a.geojson", "application/json", ".geojson"),
        ("https://x/a", "image/tiff; application=geotiff", ".tif"),
        ("https://x/a", "IMAGE/JPEG", ".jpg"),
        ("https://x/a", "application/octet-stream", ""),
        ("https://x/a", None, ""),
        ("https://x/.hidden", None, ""),
        ("https://x/..x", None, ""),
        ("https://x/a.", "image/png", ".png"),
        ("https://x/v1.0 of the long documentation", None, ""),
        ("https://x/a%2Etif", None, ".tif"),
        ("https://x/a.t%2Ff", None, ".t%2Ff"),
        ("http://[bad/a.tif", None, ".tif"),
        ("s3://bucket/a b.npy", None, ".npy"),
        ("../x/a.csv", None, ".csv"),
        ("", None, ""),
    ],
)
def test_extension(href: str, media_type: str | None, wanted: str) -> None:
    assert extension(href, media_type) == wanted


@given(st.text(max_size=60), st.none() | st.text(max_size=20), hostile)
def test_an_asset_name_is_one_component(href: str, media_type: str | None, key: str) -> None:
    suffix = extension(href, media_type)
    name = safe_name(key) + suffix
    assert not suffix or suffix[0] == "."
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("https://x/a b", "https://x/a b"),
        ("s3://b/k.tif", "https://b.s3.amazonaws.com/k.tif"),
        ("S3://b/k é#?%.tif", "https://b.s3.amazonaws.com/k%20%C3%A9%23%3F%25.tif"),
        ("s3://b.dots/a/b+c", "https://s3.amazonaws.com/b.dots/a/b+c"),
    ],
)
def test_https_url(href: str, wanted: str) -> None:
    assert https_url(href) == wanted


def test_another_s3_server() -> None:
    assert https_url("s3://b/k", "http://127.0.0.1:9000/") == "http://127.0.0.1:9000/b/k"


@given(hostile)
def test_all_paths_stay_below_the_output_directory(dataset_id: str) -> None:
    paths = DownloadPaths.of(dataset_id, "/out", "/assets")
    for path in (paths.archive, paths.catalog_dir):
        assert path.parent == Path("/out")
    assert paths.asset_dir.parent == Path("/assets")
    for path in (paths.index, paths.asset_db, paths.err_report, paths.state_dir):
        assert path.parent == paths.asset_dir
    for path in (paths.ledger_dir, paths.partial_dir, paths.plan_dir, paths.lock):
        assert path.parent == paths.state_dir


def test_directories_default_to_here_and_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = DownloadPaths.of("d")
    assert (paths.output_dir, paths.asset_output_dir) == (tmp_path, tmp_path)
    assert DownloadPaths.of("d", "sub").asset_output_dir == tmp_path / "sub"
    assert DownloadPaths.of("d", None, "sub").output_dir == tmp_path


@pytest.mark.parametrize("given_as", [("", None), (None, "")])
def test_an_empty_directory_is_refused(given_as: tuple[str | None, str | None]) -> None:
    with pytest.raises(InvalidArgument, match="output_dir"):
        DownloadPaths.of("d", *given_as)
