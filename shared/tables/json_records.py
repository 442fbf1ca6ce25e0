"""JSON lines, and a JSON list, as records."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.errors import UserError
from shared.tables.record import Limits, Record


def json_records(opened: Callable[[], io.TextIOWrapper], start: str, name: str, limits: Limits) -> Iterator[Record]:
    """The records of a JSON file. start: its first 64 kB, which show which form it has. Raises UserError."""
    with opened() as file:
        if start.lstrip()[0] == "[" and not _is_json(start.lstrip().split("\n", 1)[0]):
            content = _loaded(file.read(), name)
            values = [(f"{name}, item {number}", value) for number, value in enumerate(content, 1)]
            yield from _checked(values, limits, name)
            return
        first = start.lstrip().split("\n", 1)[0]
        whole = _loaded(first, f"{name}, line 1") if _is_json(first) else None
        if isinstance(whole, list) and whole and not start.lstrip()[len(first):].strip():  # a list on one line
            yield from _checked([(f"{name}, item {n}", value) for n, value in enumerate(whole, 1)], limits, name)
            return
        lines = ((f"{name}, line {number}", line) for number, line in enumerate(file, 1) if line.strip())
        yield from _checked(((where, _loaded(line, where)) for where, line in lines), limits, name)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _loaded(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half of a character cannot be written
        return value
    except (ValueError, RecursionError) as error:
        reason = error if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise UserError("A line is not JSON", got=f"{where}: {reason}", hint="correct it") from None


def _checked(values: Iterable[tuple[str, Any]], limits: Limits, name: str) -> Iterator[Record]:
    for number, (where, value) in enumerate(values, 1):
        if not isinstance(value, dict):
            kind = "null" if value is None else "a list" if isinstance(value, list) else "a plain value"
            raise UserError("A line is not a table of keys", got=f"{where} is {kind}",
                            hint='write it as {"file_name": …, "text": …}, or remove it')
        limits.check(name, number, len(value))
        yield Record(value, where)
