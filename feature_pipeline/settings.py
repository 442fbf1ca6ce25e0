"""Settings from YAML files and `key=value` words into frozen dataclasses, checked by pydantic.

Enters: a file's path, overrides such as `clean.max_seconds=20` or `sources.0.path=/data/x`, and a dataclass. Leaves:
an instance of it, or a UserError that names the key and what may stand there. Knows no setting by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from shared.errors import UserError
from shared.languages import language_code

T = TypeVar("T")
_KINDS = {"string": "text (in quotes, if it is a number)", "int": "a whole number", "float": "a number",
          "bool": "true or false", "tuple": "a list", "dict": "a table of keys"}


def _as_tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


Many = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]  # a list; one item alone stands for a list of one

Language = Annotated[str, BeforeValidator(language_code)]  # "French", "fr-FR", "fra" and "fr" are all fr


class _Loader(yaml.SafeLoader):
    """YAML whose booleans are left as words, so that `language: no` is Norwegian; pydantic reads them where the key
    is a boolean. `1e-4` is a number, as in YAML 1.2.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(
    r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789"))


def parsed(path: Path, overrides: Sequence[str], examples: Path) -> dict[str, Any]:
    """A YAML file's table with `key=value` overrides on top, for `read`.

    Args:
        path: The file.
        overrides: Words such as `clean.max_seconds=20`; the value is read as YAML.
        examples: Folder of configs to point to where there is no such file.

    Raises:
        UserError: No such file, not YAML, not a table, an override that leads nowhere.
    """
    if not path.is_file():
        near = sorted(file.name for file in examples.glob("*.yaml"))
        raise UserError("There is no such config", got=path, hint=f"choose a file, or one of {', '.join(near)}")
    try:
        data = _yaml(path.read_text(encoding="utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise UserError("The config is not in UTF-8", got=f"{path.name}: {error}", hint="save it as UTF-8") from None
    if not isinstance(data, dict):
        raise UserError("The config is not a table of keys", got=path,
                        hint=f"start from a file in {examples.parent.name}/{examples.name}")
    for override in overrides:
        _override(data, override)
    return data


def read(kind: type[T], data: object, where: str) -> T:
    """A dataclass filled from parsed YAML.

    Args:
        kind: The dataclass.
        data: What `parsed` gave, or a part of it.
        where: What the data is called in messages: a file's name, for example.

    Raises:
        UserError: An unknown key (named with the legal ones), a missing one, a value of another type.
    """
    try:
        return _adapter(kind).validate_python((data,))[0]
    except ValidationError as error:
        raise _as_user_error(kind, error.errors()[0], where) from None


def options_of(kind: type[T], words: Sequence[str]) -> T:
    """A dataclass filled from `key=value` words of a command line. Raises UserError, as `read` does."""
    data: dict[str, Any] = {}
    for word in words:
        _override(data, word)
    return read(kind, data, "the options")


def plain(value: object) -> Any:
    """A dataclass of settings as plain lists and dicts, for YAML or JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def unknown_key(key: object, legal: Sequence[str], where: str) -> UserError:
    """The refusal of a key: the nearest legal one, and all of them."""
    near = difflib.get_close_matches(str(key), legal, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return UserError(f"{where} has an unknown key", got=key, hint=f"{hint}legal keys: {', '.join(legal)}")


def _adapter(kind: Any) -> TypeAdapter[Any]:
    # A plain dataclass takes no configuration; a tuple of one does, and hands it down.
    return TypeAdapter(tuple[kind], config=ConfigDict(extra="forbid"))


def _as_user_error(kind: type, error: ErrorDetails, where: str) -> UserError:
    *place, last = error["loc"]
    path = [str(part) for part in place[1:]]
    outer = f"{where}: {'.'.join(path)}" if path else where
    inner = where if not place else f"{outer}{'.' if path else ': '}{last}"
    if error["type"] in ("unexpected_keyword_argument", "invalid_key"):
        return unknown_key(last, _legal(_kind_at(kind, place[1:])), outer)
    if error["type"] == "missing":
        legal = _legal(_kind_at(kind, place[1:]))
        return UserError(f"{outer} lacks {last}", hint=f"add it; legal keys: {', '.join(legal)}")
    if error["type"] == "dataclass_type":
        legal = _legal(_kind_at(kind, error["loc"][1:]))
        return UserError(f"{inner} must be a table of keys", got=repr(error["input"]),
                         hint=f"legal keys: {', '.join(legal)}")
    if error["type"] == "literal_error":
        return UserError(f"{inner} is not one of its values", got=error["input"],
                         hint=f"choose from {error['ctx']['expected'].replace(' or ', ', ').replace(chr(39), '')}")
    wanted = _KINDS.get(error["type"].split("_")[0])
    return UserError(f"{inner} must be {wanted}" if wanted else f"{inner}: {error['msg']}", got=repr(error["input"]),
                     hint="correct it")


def _kind_at(kind: Any, path: Sequence[int | str]) -> Any:
    """The dataclass that lies at a place within another."""
    for part in path:
        if isinstance(part, str):
            inner = _flattened(typing.get_type_hints(kind)[part])
            kind = next((found for found in inner if dataclasses.is_dataclass(found)), kind)
    return kind


def _flattened(hint: Any) -> list[Any]:
    """The classes that a type is made of: `tuple[Data, ...]` and `Data | None` are made of Data."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        return [found for inner in typing.get_args(hint) for found in _flattened(inner)]
    return [hint]


def _legal(kind: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


def _yaml(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader with fewer kinds of value
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise UserError("The config is not valid YAML", got=f"{name}: {' '.join(str(error).split())}",
                        hint="correct it") from None


def _override(data: dict[str, Any], override: str) -> None:
    """Set `a.b.0.c=value` in parsed YAML; the value is read as YAML too. The number after a list's last adds one."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError("An override must read key=value", got=override, hint="for example clean.max_seconds=20")
    *parents, last = key.split(".")
    place: Any = data
    for name in parents:
        if isinstance(place, list):
            place = place[_position(place, name, key)]
        else:
            if place.get(name) is None:
                place[name] = {}
            place = place[name]
        if not isinstance(place, (dict, list)):
            raise UserError("An override reaches into a plain value", got=key, hint="name a key that holds keys")
    value = _yaml(text, key) if text else None
    if isinstance(place, list):
        place[_position(place, last, key)] = value
    else:
        place[last] = value


def _position(items: list[Any], name: str, key: str) -> int:
    if not name.isdigit() or int(name) > len(items):
        raise UserError("An override names an item that is not there", got=key, limit=f"0 to {len(items)}",
                        hint="count from 0; the number after the last adds one")
    if int(name) == len(items):
        items.append({})
    return int(name)
