"""JSON to frozen dataclasses and back, strictly: a wrong type is an error that quotes the text, never a guess.

Knows dataclasses of str, int, float, bool, Optional, Tuple, Dict and of each other; unknown fields are ignored,
so that an older reader understands a newer writer of the same schema version.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any, Dict, Tuple, Type, TypeVar, Union, get_args, get_origin, get_type_hints

from profiler_agent.errors import RecordError

Record = TypeVar("Record")
_QUOTED_CHARACTERS = 80
_SCALARS = (str, int, bool)


def encode(record: Any) -> Dict[str, Any]:
    """Return a record as JSON-ready plain data."""
    return dataclasses.asdict(record)


def parse_object(text: str) -> Dict[str, Any]:
    """Parse one JSON object.

    Raises:
        RecordError: the text is no JSON object; the message quotes its beginning.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as e:
        raise RecordError(f"not a JSON object: {quoted(text)}") from e
    if not isinstance(value, dict):
        raise RecordError(f"not a JSON object: {quoted(text)}")
    return value


def decode(cls: Type[Record], data: Any, where: str = "") -> Record:
    """Build a record of class `cls` from plain data.

    Args:
        cls: a frozen dataclass.
        data: what `json.loads` gave.
        where: the path to `data` inside the document, for messages.

    Raises:
        RecordError: a field is missing or has the wrong type.
    """
    where = where or cls.__name__
    if not isinstance(data, dict):
        raise RecordError(f"{where} must be an object, not {quoted(data)}")
    hints = get_type_hints(cls)
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in data:
            values[field.name] = _value(hints[field.name], data[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecordError(f"{where} lacks the field {field.name!r}")
    return cls(**values)


def quoted(value: Any) -> str:
    """Return the beginning of a value as text that is safe to print."""
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…")


def _value(hint: Any, data: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin is Union:
        return None if data is None else _value(_optional_inner(hint), data, where)
    if origin is tuple:
        return _tuple(get_args(hint), data, where)
    if origin is dict:
        if not isinstance(data, dict):
            raise RecordError(f"{where} must be an object, not {quoted(data)}")
        inner = get_args(hint)[1]
        return {name: _value(inner, item, f"{where}[{name!r}]") for name, item in data.items()}
    if dataclasses.is_dataclass(hint):
        return decode(hint, data, where)  # type: ignore[arg-type]
    if hint is float and type(data) in (int, float) and math.isfinite(data):
        return float(data)
    if hint in _SCALARS and type(data) is hint:
        return data
    raise RecordError(f"{where} must be of type {getattr(hint, '__name__', hint)}, not {quoted(data)}")


def _tuple(inner: Tuple[Any, ...], data: Any, where: str) -> Tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise RecordError(f"{where} must be a list, not {quoted(data)}")
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_value(inner[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if len(data) != len(inner):
        raise RecordError(f"{where} must have {len(inner)} items, not {len(data)}")
    return tuple(_value(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(inner, data)))


def _optional_inner(hint: Any) -> Any:
    return next(argument for argument in get_args(hint) if argument is not type(None))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
