"""Which datasets a search finds: tags and phrases, by one predicate for client and hub.

How the reference documentation, which contradicts itself, is read: ``docs/adr/0003``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlhub_core.exceptions import InvalidArgument


def as_words(label: str, value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Turn one string or several into a tuple.

    Raises:
        InvalidArgument: if something in it is not a string, or empty.
    """
    if value is None:
        return ()
    if not isinstance(value, Iterable):
        raise InvalidArgument(f"{label} is {value!r}: use one or more non-empty strings.")
    words = (value,) if isinstance(value, str) else tuple(value)
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise InvalidArgument(f"{label} holds {word!r}: use one or more non-empty strings.")
    return words


def matches(dataset: dict[str, Any], tags: Iterable[str], text: Iterable[str]) -> bool:
    """Whether a dataset carries all tags, exactly, and all phrases somewhere in its texts.

    Phrases are compared without regard to case; a phrase has to stand within one text field.
    """
    own_tags = dataset.get("tags")
    if not all(tag in (own_tags if isinstance(own_tags, list) else ()) for tag in tags):
        return False
    phrases = [phrase.casefold() for phrase in text]
    if not phrases:
        return True
    fields = [field.casefold() for field in _texts(dataset)]
    return all(any(phrase in field for field in fields) for phrase in phrases)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
