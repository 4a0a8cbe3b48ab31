"""What types the fields of items have, found out value by value, as Arrow has them.

Items come from anybody: a field may be a number in one and a text in the next. What has no type of
its own is written as JSON text, so that nothing is lost and one item cannot fail a table.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mlhub_core.index.items import MAX_INT64
from mlhub_core.sources.documents import as_json

_MAX_FIELDS = 2_000
"""Names within one object: where there are more, they are keys of a mapping, and it is JSON."""
_JSON, _LIST, _OBJECT = "json", "list", "object"
_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    _JSON: pa.string(),
}


_PLAIN = {str: "text", bool: "bool", float: "float"}
"""Types of values that have one kind each, whatever they are."""


class FieldType:
    """The type of a field, as far as its values have been seen.

    Attributes:
        kind: What it is; None while only null was seen.
        fields: Of an object, the types of its fields.
        element: Of a list, the type of its elements.
    """

    __slots__ = ("element", "fields", "kind")

    def __init__(self) -> None:
        self.kind: str | None = None
        self.fields: dict[str, FieldType] = {}
        self.element: FieldType | None = None

    def see(self, value: Any) -> None:
        """Take a value into account."""
        if value is None or self.kind == _JSON:
            return
        kind = _kind_of(value)
        if self.kind is None:
            self.kind = kind
        elif self.kind != kind:
            self.kind = "float" if {self.kind, kind} == {"int", "float"} else _JSON
        if self.kind == _OBJECT:
            self._see_fields(value)
        elif self.kind == _LIST:
            self.element = self.element or FieldType()
            for one in value:
                self.element.see(one)

    def _see_fields(self, value: dict[str, Any]) -> None:
        fields = self.fields
        for name, one in value.items():
            field = fields.get(name)
            if field is None:
                if len(fields) >= _MAX_FIELDS or not name:
                    self.kind = _JSON
                    self.fields = {}
                    return
                field = fields[name] = FieldType()
            elif field.kind == _PLAIN.get(type(one), ""):
                continue  # nearly all, of millions
            field.see(one)

    def to_arrow(self) -> pa.DataType | None:
        """The type in Arrow; None of what Parquet cannot hold: nothing but null, empty objects."""
        if self.kind is None:
            return None
        if self.kind == _LIST:
            element = self.element and self.element.to_arrow()
            return pa.list_(pa.field("element", element or pa.string()))
        if self.kind == _OBJECT:
            fields = [(name, field.to_arrow()) for name, field in self.fields.items()]
            found = [(name, one) for name, one in fields if one is not None]
            return pa.struct(found) if found else None
        return _TYPES[self.kind]

    @property
    def is_plain(self) -> bool:
        """Whether values go into Arrow as they are."""
        parts = [*self.fields.values(), *([self.element] if self.element else [])]
        return self.kind != _JSON and all(part.is_plain for part in parts)

    def fit(self, value: Any) -> Any:
        """A value as Arrow takes it for this type."""
        if value is None:
            return None
        if self.kind == _JSON:
            return as_json(value)
        if self.kind == _OBJECT:
            return {name: self.fields[name].fit(one) for name, one in value.items()}
        if self.kind == _LIST and self.element is not None:
            return [self.element.fit(one) for one in value]
        return float(value) if self.kind == "float" else value


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= MAX_INT64 else "float"
    if isinstance(value, float):
        return "float"
    return _LIST if isinstance(value, list) else _OBJECT
