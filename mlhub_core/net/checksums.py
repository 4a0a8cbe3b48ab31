"""Checksums as catalogs write them, and the digests that they are compared with.

The file extension wants a multihash in hexadecimal. What is met besides: multihash in base64 or as
multibase, digests without a prefix, and ``sha256:…`` and its like. An algorithm is named as
:mod:`hashlib` names it; with ``/N`` after it where N bytes are not its usual length.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any

Checksum = tuple[str, str]
"""Algorithm and digest, the digest in lower-case hexadecimal."""

_MULTIHASHES = {
    0x11: "sha1",
    0x12: "sha256",
    0x13: "sha512",
    0x14: "sha3_512",
    0x15: "sha3_384",
    0x16: "sha3_256",
    0x17: "sha3_224",
    0x18: "shake_128",
    0x19: "shake_256",
    0x20: "sha384",
    0xD4: "md4",
    0xD5: "md5",
    0x1013: "sha224",
    0x1014: "sha512_224",
    0x1015: "sha512_256",
    0x1053: "ripemd160",
    0x534D: "sm3",
}
_BLAKE2B, _BLAKE2S = range(0xB201, 0xB241), range(0xB241, 0xB261)
"""Codes of BLAKE2 with digests of 1, 2, 3… bytes."""
_PLAIN = {16: "md5", 20: "sha1", 28: "sha224", 32: "sha256", 48: "sha384", 64: "sha512"}
"""What a digest without a name is taken for, by its bytes."""
_OTHER_NAMES = {"sha": "sha1", "rmd160": "ripemd160"}
"""Names without their signs, and what hashlib calls them where that differs by more than signs."""
_SHA2 = re.compile(r"sha2(?=(?:224|256|384|512))")
_SIZED = re.compile(r"(blake2[bs])(\d+)")
_NAMED = re.compile(
    r"(?i)\{?(?:urn:)?((?:md|sha|blake|shake|ripemd|rmd|sm|keccak|crc)[a-z0-9]*"
    r"(?:[-_/](?:1|128|160|224|256|384|512)(?![a-z0-9]))*)\}?"
    r"\s*(?:[:= -]|//|(?<=\}))[:= /]*(.+)"
)
"""``sha256:…``, ``SHA-256=…``, ``sha256-…``, ``{SHA256}…``, ``sha-256=:…:``, ``urn:sha1:…``."""
_USUAL = {("1220", 68): "sha256", ("1114", 44): "sha1", ("1340", 132): "sha512"}
"""Multihashes that nearly all catalogs have, by how they begin and their length."""
_LEAST = 16
"""Bytes of a digest that proves anything."""
_MAX_TEXT = 1024
_SHAKES = {"shake_128": 32, "shake_256": 64}
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def parse_checksum(value: object) -> Checksum | None:
    """Read a checksum of a catalog.

    Args:
        value: ``file:checksum``, or what stands in its place.

    Returns:
        None for what is in no spelling or algorithm that is known.
    """
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        return None
    return _parse(value.strip().strip("\"'"))


@cache
def _sizes() -> dict[str, int]:
    """Bytes of the digests of all algorithms that hashlib has here."""
    found = {}
    for name in sorted(hashlib.algorithms_available):
        if name not in _SHAKES:
            try:
                found[name] = hashlib.new(name, usedforsecurity=False).digest_size
            except ValueError:  # OpenSSL lists what its configuration forbids
                continue
    return {**found, **_SHAKES}


@cache
def _names() -> dict[str, str]:
    """What hashlib calls algorithms, by their names without signs."""
    return {_bare(name): name for name in _sizes()} | _OTHER_NAMES


def _bare(name: str) -> str:
    return _SHA2.sub("sha", re.sub(r"[-_/ ]", "", name.lower()))


def _parse(text: str) -> Checksum | None:
    data = _hexadecimal(text)
    if data is not None:
        usual = _USUAL.get((text[:4], len(text)))
        return (usual, text[4:].lower()) if usual else _of_bytes(data)
    named = _NAMED.fullmatch(text)
    if named is not None:
        return _of_name(named[1], named[2].strip().strip(":\"'"))
    decode = _MULTIBASES.get(text[:1])
    found = None if decode is None else _decoded(decode, text[1:])
    multihash = None if found is None else _of_multihash(found)
    if multihash is not None:
        return multihash
    found = _decoded(_base64, text)
    return None if found is None else _of_bytes(found)


def _of_bytes(data: bytes) -> Checksum | None:
    """A digest by its length, else a multihash: by its length one cannot pass for the other."""
    name = _PLAIN.get(len(data))
    return (name, data.hex()) if name else _of_multihash(data)


def _of_name(name: str, text: str) -> Checksum | None:
    """The digest of an algorithm that is named."""
    bare = _bare(name)
    sized = _SIZED.fullmatch(bare)
    known, size = (sized[1], int(sized[2]) // 8) if sized else (_names().get(bare, bare), None)
    usual = _sizes().get(known)
    if usual is None:
        return None
    for data in (_hexadecimal(text), _decoded(_base64, text), _decoded(_base32, text)):
        if data is None:
            continue
        if len(data) == (size or usual):
            return _checksum(known, data)
        multihash = _of_multihash(data)
        if multihash is not None and multihash[0].partition("/")[0] == known:
            return multihash
    return None


def _of_multihash(data: bytes) -> Checksum | None:
    """Code, length and digest; the code also as one byte where it should be two (``d510…``)."""
    for code, rest in _codes(data):
        length, digest = _varint(rest)
        if length is None or length != len(digest):
            continue
        if code in _BLAKE2B or code in _BLAKE2S:
            first = _BLAKE2B if code in _BLAKE2B else _BLAKE2S
            if length == code - first.start + 1:
                return _checksum("blake2b" if first is _BLAKE2B else "blake2s", digest)
        elif code in _MULTIHASHES:
            return _checksum(_MULTIHASHES[code], digest)
    return None


def _codes(data: bytes) -> list[tuple[int, bytes]]:
    code, rest = _varint(data)
    found = [] if code is None else [(code, rest)]
    return [*found, (data[0], data[1:])] if data[:1] >= b"\x80" else found


def _checksum(name: str, digest: bytes) -> Checksum | None:
    usual = _sizes().get(name)
    size = len(digest)
    if usual is None or size < _LEAST or (size > usual and name not in _SHAKES):
        return None
    is_usual = size == usual and name not in _SHAKES
    return name if is_usual else f"{name}/{size}", digest.hex()


def _varint(data: bytes) -> tuple[int | None, bytes]:
    """An unsigned number in groups of seven bits, and what follows it."""
    value = 0
    for place, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, data[place + 1 :]
    return None, b""


def _hexadecimal(text: str) -> bytes | None:
    bare = text[2:] if text[:2] in ("0x", "0X") else text
    try:
        data = bytes.fromhex(bare)
    except ValueError:
        return None
    return data if data and 2 * len(data) == len(bare) else None  # blanks are skipped in there


def _decoded(decode: Callable[[str], bytes], text: str) -> bytes | None:
    try:
        return decode(text)
    except (ValueError, binascii.Error):
        return None


def _padded(text: str, to: int) -> str:
    bare = text.rstrip("=")
    return bare + "=" * (-len(bare) % to)


def _base64(text: str) -> bytes:
    plain = text.translate({ord("-"): "+", ord("_"): "/"})
    return base64.b64decode(_padded(plain, 4), validate=True)


def _base32(text: str) -> bytes:
    return base64.b32decode(_padded(text.upper(), 8))


def _base32hex(text: str) -> bytes:
    return base64.b32hexdecode(_padded(text.upper(), 8))


def _in_digits(digits: str) -> Callable[[str], bytes]:
    """A decoder of numbers; digits of value zero in front are bytes of zero."""

    def decode(text: str) -> bytes:
        number = 0
        for char in text:
            number = number * len(digits) + digits.index(char)
        zeros = len(text) - len(text.lstrip(digits[0]))
        return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")

    return decode


_MULTIBASES: dict[str, Callable[[str], bytes]] = {
    **dict.fromkeys("fF", bytes.fromhex),
    **dict.fromkeys("mMuU", _base64),
    **dict.fromkeys("bBcC", _base32),
    **dict.fromkeys("vVtT", _base32hex),
    "z": _in_digits(_BASE58),
    "Z": _in_digits("123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"),
    "k": _in_digits(_BASE36),
    "K": _in_digits(_BASE36.upper()),
}
"""Decoders by the letter in front."""


class _Sized:
    """A hash whose digest has another length than its usual one."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        whole = {"digest_size": size} if name.startswith("blake2") else {}
        make: Any = getattr(hashlib, name) if whole else hashlib.new
        self._hash: Any = make(**whole) if whole else make(name, usedforsecurity=False)
        self.update = self._hash.update

    def hexdigest(self) -> str:
        """The digest of all bytes so far."""
        if self._name in _SHAKES:
            return str(self._hash.hexdigest(self._size))
        return str(self._hash.hexdigest())[: 2 * self._size]


def new_hash(algorithm: str) -> Any:
    """A hash with ``update`` and ``hexdigest``.

    Args:
        algorithm: As :func:`parse_checksum` names it.
    """
    name, _, size = algorithm.partition("/")
    return _Sized(name, int(size)) if size else hashlib.new(name, usedforsecurity=False)
