"""Checksums: read in whatever spelling, compared in whatever algorithm, and told of if neither."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlhub_core.net.checksums import new_hash, parse_checksum

GOOD, BAD = b"good " * 1000, b"bad!! " * 1000
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def multihash(code: int, digest: bytes) -> bytes:
    return varint(code) + varint(len(digest)) + digest


def in_base(data: bytes, digits: str) -> str:
    number, out = int.from_bytes(data, "big"), ""
    while number:
        number, at = divmod(number, len(digits))
        out = digits[at] + out
    return digits[0] * (len(data) - len(data.lstrip(b"\0"))) + out


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


SHA256 = multihash(0x12, hashlib.sha256(GOOD).digest())
SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "hexadecimal": bytes.hex,
    "upper case": lambda data: data.hex().upper(),
    "0x": lambda data: f"0x{data.hex()}",
    "in blanks": lambda data: f" {data.hex()}\n",
    "base64": b64,
    "base64 for URLs": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "multibase f": lambda data: f"f{data.hex()}",
    "multibase F": lambda data: f"F{data.hex().upper()}",
    "multibase m": lambda data: f"m{b64(data).rstrip('=')}",
    "multibase U": lambda data: f"U{base64.urlsafe_b64encode(data).decode()}",
    "multibase b": lambda data: f"b{base64.b32encode(data).decode().lower().rstrip('=')}",
    "multibase v": lambda data: f"v{base64.b32hexencode(data).decode().lower().rstrip('=')}",
    "multibase z": lambda data: f"z{in_base(data, BASE58)}",
    "multibase k": lambda data: f"k{in_base(data, BASE36)}",
}
CODES = {
    "md5": 0xD5,
    "sha1": 0x11,
    "sha224": 0x1013,
    "sha256": 0x12,
    "sha384": 0x20,
    "sha512": 0x13,
    "sha512_256": 0x1015,
    "sha3_224": 0x17,
    "sha3_512": 0x14,
    "ripemd160": 0x1053,
    "sm3": 0x534D,
}


def agrees(written: str, content: bytes) -> bool:
    checksum = parse_checksum(written)
    assert checksum is not None, written
    made = new_hash(checksum[0])
    made.update(content)
    return bool(made.hexdigest() == checksum[1])


@pytest.mark.parametrize("name", [name for name in CODES if name in hashlib.algorithms_available])
def test_multihashes_in_every_spelling(name: str) -> None:
    data = multihash(CODES[name], hashlib.new(name, GOOD).digest())
    for spelling, spell in SPELLINGS.items():
        assert agrees(spell(data), GOOD), spelling
        assert not agrees(spell(data), BAD), spelling


SHA, MD5 = hashlib.sha256(GOOD).digest(), hashlib.md5(GOOD).digest()


@pytest.mark.parametrize(
    "written",
    [
        *[hashlib.new(name, GOOD).hexdigest() for name in ("md5", "sha1", "sha224", "sha256")],
        *[hashlib.new(name, GOOD).hexdigest() for name in ("sha384", "sha512")],
        f"sha256:{SHA.hex()}",
        f"SHA256:{SHA.hex().upper()}",
        f"sha2-256:{SHA.hex()}",
        f"sha-256 {SHA.hex()}",
        f"sha256:{SHA256.hex()}",
        f"SHA-256={b64(SHA)}",
        f"sha256-{b64(SHA)}",
        f"sha-256=:{b64(SHA)}:",
        f"{{SHA256}}{b64(SHA)}",
        f"sha384-{b64(hashlib.sha384(GOOD).digest())}",
        f"sha3-256:{hashlib.sha3_256(GOOD).hexdigest()}",
        f"sha-512/256:{hashlib.new('sha512_256', GOOD).hexdigest()}",
        f"blake2b:{hashlib.blake2b(GOOD).hexdigest()}",
        f"blake2b-256:{hashlib.blake2b(GOOD, digest_size=32).hexdigest()}",
        f"urn:sha1:{base64.b32encode(hashlib.sha1(GOOD).digest()).decode()}",
        f"md5:{MD5.hex()}",
        f"md5={MD5.hex()}",
        b64(MD5),
        f"d510{MD5.hex()}",
        multihash(0xB220, hashlib.blake2b(GOOD, digest_size=32).digest()).hex(),
        multihash(0xB260, hashlib.blake2s(GOOD).digest()).hex(),
        multihash(0x18, hashlib.shake_128(GOOD).digest(32)).hex(),
        multihash(0x12, SHA[:20]).hex(),
    ],
)
def test_what_else_catalogs_write(written: str) -> None:
    assert agrees(written, GOOD)
    assert not agrees(written, BAD)


UNKNOWN = [
    multihash(0x1E, SHA).hex(),  # BLAKE3
    f"blake3:{SHA.hex()}",
    "crc32:00c0ffee",
    in_base(SHA256, BASE58),  # a CID is the digest of a tree, not of a file
    "sha256:" + SHA.hex()[:-2],
    SHA256.hex()[:-2],
    SHA256.hex() + "00",
    multihash(0x12, SHA[:4]).hex(),
    "W/etag",
]


@pytest.mark.parametrize("value", [None, 7, "", "zz", "1220", "sha256:", *UNKNOWN])
def test_what_is_no_checksum(value: object) -> None:
    assert parse_checksum(value) is None


@given(st.text(max_size=200) | st.from_regex(r"(sha256|md5|f|z|m|b|1220)[:=-]?[0-9a-zA-Z+/=]*"))
def test_whatever_is_read_can_be_compared(written: str) -> None:
    checksum = parse_checksum(written)
    if checksum is not None:
        assert len(new_hash(checksum[0]).hexdigest()) == len(checksum[1])
