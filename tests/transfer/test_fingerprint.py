"""Fingerprints: signatures are renewed and the file stays, identifiers name another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.selection.partition import Asset
from mlhub_core.transfer.ledger import Entry, State
from mlhub_core.transfer.sources import (
    fingerprint_of,
    identity_of,
    is_made_by,
    is_unchanged,
    path_digest,
)

SHA = "ab" * 32
ASSET = Asset("c/a.tif", "https://h.test/p/a.tif", "c", None, "k", 3, f"1220{SHA}", None, "2021")

SIGNATURES = [
    "X-Amz-Signature=1&X-Amz-Date=2&X-Amz-Security-Token=3&X-Amz-Expires=4",
    "AWSAccessKeyId=1&Signature=2&Expires=3",
    "Policy=1&Signature=2&Key-Pair-Id=3",
    "X-Goog-Algorithm=1&X-Goog-Credential=2&X-Goog-Signature=3",
    "GoogleAccessId=1&Expires=2&Signature=3",
    "URLPrefix=1&Expires=2&KeyName=3&Signature=4",
    "sv=1&ss=b&srt=o&sp=r&st=2&se=3&spr=https&sig=4",
    "sv=1&sr=c&skoid=2&sktid=3&skt=4&ske=5&sks=b&skv=6&sig=7&sip=8&si=9",
    "OSSAccessKeyId=1&Expires=2&Signature=3&security-token=4",
    "x-oss-signature=1&x-oss-date=2",
    "q-sign-algorithm=1&q-ak=2&q-sign-time=3&q-key-time=4&q-header-list=&q-signature=5",
    "AccessKeyId=1&Expires=2&Signature=3&x-obs-security-token=4",
    "temp_url_sig=1&temp_url_expires=2",
    "hdnts=exp=1~acl=/*~hmac=2",
    "hdnea=1",
    "__token__=exp=1~hmac=2",
    "jwt=a.b.1",
    "token=1",
    "access_token=1",
    "private_token=1",
    "api_key=1",
    "access_key=1",
    "hmac=1",
    "code=" + "k" * 50 + "1==",
    "md5=0123456789abcdef0123456789abcde1&expires=1600000001",
    "e=1600000001&token=2",
    "tempauth=1",
    "sig=a%2Bb1",
    "response-content-disposition=attachment1&X-Amz-Signature=1",
]
IDENTIFIERS = [
    "id=1",
    "version=1",
    "versionId=1",
    "fileId=1",
    "file=1.tif",
    "key=path/1.tif",
    "path=/a/1.tif",
    "code=FR1",
    "t=2021",
    "s=1",
    "st=1",
    "sv=1",
    "md5=1",
    "hash=1",
    "generation=1",
    "TIME=2020-01-01T00:00:00Z1",
    "bbox=1,2,3,4",
    "1",
]


def renewed(query: str) -> str:
    return query.replace("1", "8").replace("2", "9")


@pytest.mark.parametrize("query", SIGNATURES)
def test_a_new_signature_makes_no_other_file(query: str) -> None:
    assert renewed(query) != query
    plain = "https://h.test/a.tif"
    assert identity_of(f"{plain}?{query}") == identity_of(f"{plain}?{renewed(query)}")
    assert identity_of(f"{plain}?{query}") == identity_of(plain)
    assert identity_of(f"{plain}?x=1&{query}") == identity_of(f"{plain}?{renewed(query)}&x=1#f")
    assert identity_of(f"{plain}?{query}&x=1") != identity_of(f"{plain}?{query}&x=2")


@pytest.mark.parametrize("query", IDENTIFIERS)
@pytest.mark.parametrize("signature", ["", "&X-Amz-Signature=5", "&token=5"])
def test_another_identifier_makes_another_file(query: str, signature: str) -> None:
    one, other = (identity_of(f"https://h.test/a?{q}{signature}") for q in (query, renewed(query)))
    assert one != other


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h.test/a", "https://mirror.test:8443/a", True),
        ("https://u:p@h.test/a", "https://h.test/a", True),
        ("https://b1.s3.amazonaws.com/a", "https://b2.s3.eu-west-1.amazonaws.com/a", False),
        ("https://b.s3.amazonaws.com/a", "https://b.s3.eu-west-1.amazonaws.com/a", True),
        ("s3://b/a", "https://b.s3.amazonaws.com/a", True),
        ("https://one.blob.core.windows.net/a", "https://two.blob.core.windows.net/a", False),
        ("d/c/a.tif", "d/c/b.tif", False),
        ("https://h.test/a?x=1&y=2", "https://h.test/a?y=2&x=1", True),
    ],
)
def test_hosts_are_mirrors_and_buckets_are_not(one: str, other: str, same: bool) -> None:
    assert (identity_of(one) == identity_of(other)) is same


@pytest.mark.parametrize(
    "change",
    [
        {"href": "https://h.test/p/b.tif"},
        {"href": "https://h.test/p/a.tif?id=2"},
        {"file_size": 4},
        {"file_size": None},
        {"checksum": "1220" + "cd" * 32},
        {"checksum": "d50110" + "ab" * 16},
        {"checksum": "of an unknown kind"},
        {"updated": "2022"},
        {"updated": None},
    ],
)
def test_whatever_the_catalog_changes_is_seen(change: dict[str, object]) -> None:
    assert fingerprint_of(ASSET._replace(**change)) != fingerprint_of(ASSET)  # type: ignore[arg-type]


def entry(source: str, sha256: str | None = SHA) -> Entry:
    return Entry("c/a.tif", 3, sha256, None, None, source, State.VERIFIED, 0.0)


OLD = path_digest(ASSET.href)


@pytest.mark.parametrize(
    ("source", "sha256", "change", "expected"),
    [
        (fingerprint_of(ASSET), "00", {}, True),
        (fingerprint_of(ASSET), "00", {"updated": "2022", "checksum": None}, False),
        (fingerprint_of(ASSET), SHA, {"updated": "2022"}, True),  # the checksum vouches for it
        (OLD, SHA, {}, True),
        (OLD, "00", {}, False),
        (OLD, None, {}, None),
        (OLD, SHA, {"checksum": "d50110" + "ab" * 16}, None),
        (OLD, SHA, {"checksum": None, "href": "https://mirror.test/p/a.tif?id=7"}, True),
        (OLD, SHA, {"checksum": None, "href": "https://h.test/b.tif"}, False),
        (OLD, SHA, {"checksum": None, "file_size": 4}, False),
        ("", None, {"checksum": None}, True),
    ],
)
def test_ledgers_of_the_first_edition_are_believed_as_far_as_they_go(
    source: str, sha256: str, change: dict[str, object], expected: bool | None
) -> None:
    asset = ASSET._replace(**change)  # type: ignore[arg-type]
    assert is_unchanged(entry(source, sha256), asset) is expected


@given(st.text(), st.none() | st.text())
def test_any_text_has_a_fingerprint(href: str, updated: str | None) -> None:
    asset = ASSET._replace(href=href, updated=updated)
    assert is_made_by(fingerprint_of(asset), asset)
    assert is_made_by(path_digest(href), asset)
