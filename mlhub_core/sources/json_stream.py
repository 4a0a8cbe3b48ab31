"""JSON out of files that are larger than memory: one value at a time, or one line.

Python's own scanner takes a value out of the middle of a text and says where it ends, at 70 MB/s,
two and a half times what ijson does on libyajl. So the text is read as it is needed, and no more of
it is held than the value that is being read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mlhub_core.exceptions import ArchiveCorrupt, ArchiveLimitExceeded, CatalogError
from mlhub_core.json_text import clean

_MOST_DIGITS = 4_000
"""Python refuses to read integers of more than 4,300."""
_BLANKS = re.compile("[\\s\x1e]*")
"""Sequences of JSON texts have a record separator before each."""
_CUT_WITHIN = 16
"""Characters from its end in which a text that is cut off is no JSON, but for a long string."""
_ENDS = frozenset(",]} \t\r\n")
"""What follows a number that is over."""
_UNUSUAL = ("NaN", "Infinity", "\\ud", "\\uD")
"""What Python reads and neither JSON nor Arrow can hold; seldom there, and then looked for."""


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MOST_DIGITS else None


_DECODER = json.JSONDecoder()
_LENIENT = json.JSONDecoder(parse_int=_integer)


class JsonText:
    """JSON that is read as it is needed.

    Args:
        pieces: Its bytes.
        name: What it is called in errors.
        most: Characters of one value at most.
    """

    def __init__(self, pieces: Iterable[bytes], name: str, most: int) -> None:
        self._pieces = iter(pieces)
        self._name = name
        self._most = most
        self._text = ""
        self._at = 0
        self._passed = 0
        self._decode: codecs.IncrementalDecoder | None = None
        self._is_unusual = False

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> bool:
        """Pass over a character, if it is the next one."""
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def need(self, character: str) -> None:
        """Pass over a character.

        Raises:
            ArchiveCorrupt: if it is not the next one.
        """
        if not self.take(character):
            raise self._wrong(f"a {character!r} is missing")

    def value(self) -> Any:
        """The next value.

        Raises:
            ArchiveCorrupt: if it is none, or ends too early.
            ArchiveLimitExceeded: if it is too long.
        """
        self.peek()
        while True:
            try:
                value, end = self._scan()
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string")
                if is_cut or error.pos >= len(self._text) - _CUT_WITHIN:
                    if self._more():
                        continue
                    raise self._wrong("it breaks off") from error
                raise self._wrong(error.msg) from error
            # A number may go on behind what is here.
            is_over = isinstance(value, dict | list | str) or self._text[end : end + 1] in _ENDS
            if not is_over and self._more():
                continue
            self._at = end
            return clean(value) if self._is_unusual else value

    def _scan(self) -> tuple[Any, int]:
        try:
            try:
                return _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                raise
            except ValueError:  # an integer of thousands of digits
                return _LENIENT.raw_decode(self._text, self._at)
        except RecursionError as error:
            raise self._wrong("it is nested too deeply") from error

    def _more(self) -> bool:
        """Read on; False at the end. What has been taken is let go of."""
        rest = len(self._text) - self._at
        if rest > self._most:
            raise ArchiveLimitExceeded(
                f"{self._name}, from character {self._passed + self._at:,} on: more than "
                f"{self._most:,} bytes of JSON in one piece: if you trust it, raise "
                "ArchiveLimits.max_json_bytes (--max-json-bytes)."
            )
        self._passed += self._at
        pieces = [self._text[self._at :]]
        self._at = 0
        read = 0
        # As much again as there is, so that a long value is not looked at for each piece.
        while read <= rest and (piece := next(self._pieces, b"")):
            pieces.append(self._decoded(piece))
            read += len(piece)
        self._text = "".join(pieces)
        self._is_unusual = any(mark in self._text for mark in _UNUSUAL)
        return read > 0

    def _decoded(self, piece: bytes) -> str:
        if self._decode is None:
            # Knows UTF-8, UTF-16 and UTF-32 by their first bytes.
            name = json.detect_encoding(piece)
            name = "utf-8-sig" if name == "utf-8" else name
            self._decode = codecs.getincrementaldecoder(name)("replace")
        return self._decode.decode(piece)

    def _wrong(self, what: str) -> CatalogError:
        where = f"{self._name}, from character {self._passed + self._at:,} on"
        return ArchiveCorrupt(f"{where}: it is no JSON ({what}). Get the file again, whole.")


class NextPage(NamedTuple):
    """What a collection of features says at its end that is one page of several.

    Attributes:
        href: Where the next one is.
    """

    href: Any


def values(text: JsonText) -> Iterator[Any]:
    """The values of a text; of a list, and of a collection of features, each of its parts.

    Raises:
        ArchiveCorrupt: if it is no JSON.
        ArchiveLimitExceeded: if one is too long.
    """
    while first := text.peek():
        if first == "[":
            yield from _elements(text)
        elif first == "{":
            yield from _of_object(text)
        else:
            text.need("{")


def _elements(text: JsonText) -> Iterator[Any]:
    text.need("[")
    while not text.take("]"):
        yield text.value()
        if not text.take(","):
            text.need("]")
            return


def _of_object(text: JsonText) -> Iterator[Any]:
    """The features of an object, and whether there are more of them elsewhere; else the object."""
    text.need("{")
    whole: dict[str, Any] = {}
    has_features = False
    while not text.take("}"):
        name = text.value()
        text.need(":")
        if name == "features" and text.peek() == "[":
            has_features = True
            yield from _elements(text)
        elif isinstance(name, str):
            whole[name] = text.value()
        if not text.take(","):
            text.need("}")
            break
    if not has_features:
        yield whole
        return
    links = whole.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "next":
            yield NextPage(link.get("href"))
            return


def lines(pieces: Iterable[bytes], name: str, most: int) -> Iterator[bytes]:
    """The lines of a file, without their ends.

    Args:
        pieces: Its bytes.
        name: What it is called in errors.
        most: Bytes of a line at most.

    Raises:
        ArchiveLimitExceeded: if one is longer.
    """
    rest, number = b"", 1
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        number += len(whole)
        yield from whole
        if len(rest) > most:
            raise ArchiveLimitExceeded(
                f"{name}, line {number:,} has more than {most:,} bytes: if you trust it, raise "
                "ArchiveLimits.max_json_bytes (--max-json-bytes)."
            )
    if rest:
        yield rest
