"""Clips with references from a data set on the Hugging Face Hub, row by row, without downloading it whole.

Enters: owner/name and what to take of it. Leaves: a ClipSet (see `shared.testset.zip_reader`). The bytes come from the
rows themselves, or from files of that same data set; a path on this machine that a row may name is never opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain, islice

from huggingface_hub.errors import HfHubHTTPError

from shared.errors import UserError
from shared.testset.zip_reader import (
    AUDIO_COLUMNS,
    MAX_CLIP_BYTES,
    TEXT_COLUMNS,
    Clip,
    ClipSet,
    audio_suffix,
    find_column,
)

_CONVERTED = "refs/convert/parquet"  # the branch on which the Hub keeps a Parquet copy of most data sets
# What the client raises when a line breaks: HTTPError of httpx or httpx2, whichever the installed one is built on.
_BROKEN = (OSError, ValueError, next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"))
_ID_COLUMNS = ("id", "path", "file", "file_name")


def hub_clips(
    name: str,
    *,
    config: str | None = None,
    split: str = "test",
    audio_column: str | None = None,
    text_column: str | None = None,
    max_rows: int = 500,
    revision: str | None = None,
) -> ClipSet:
    """The first `max_rows` rows of a split, streamed: columns found by their usual names, or named.

    Raises UserError: not a data set's name, none such or not allowed, unknown config, split or column (naming those
    there are), data that needs code to be read.
    """
    _check_name(name)
    rows, columns, n_rows = _opened(name, config, split, revision)
    audio = find_column(columns, AUDIO_COLUMNS, audio_column, "audio")
    text = find_column(columns, TEXT_COLUMNS, text_column, "reference")
    n_clips = min(n_rows, max_rows) if n_rows is not None else None
    origin = "/".join(part for part in (name, config, split) if part) + (f"@{revision}" if revision else "")
    return ClipSet(origin, _clips(rows, name, audio, text, max_rows), n_clips)


def _check_name(name: str) -> None:
    # A name that is also a folder here would make `datasets` read that folder.
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name, re.ASCII) or os.path.exists(name):
        raise UserError("This is not the name of a Hub data set", got=name[:80],
                        hint="write it as owner/name, as in google/fleurs")


def _opened(name: str, config: str | None, split: str, revision: str | None):
    """(iterator of rows, column names, number of rows if known), the audio left encoded.

    Data kept as loose files, or behind a script, cannot be read here; the Hub's own Parquet copy of it can.
    """
    reason: Exception | None = None
    for place in [revision] if revision else [None, _CONVERTED]:
        try:
            return _stream(name, config, split, place)
        except (ImportError, RuntimeError) as error:  # torchcodec is asked for; a script is refused
            reason = error
        except FileNotFoundError as error:
            if reason is None:
                raise UserError("There is no such data set, it may not be read, or the Hub cannot be reached",
                                got=name, hint="check the name; for a private or gated one set HF_TOKEN") from error
    raise UserError("The data set is not kept in a form that can be read without running code", got=name,
                    hint="publish it as Parquet, or send the clips as a zip") from reason


def _stream(name: str, config: str | None, split: str, revision: str | None):
    import datasets  # heavy, both, and only for this
    import pyarrow

    # On the converted branch a config is a folder of that name, and nothing says so but the folder.
    part = {"data_dir": config or "default"} if revision == _CONVERTED else {"name": config}
    try:
        rows = datasets.load_dataset(name, split=split, revision=revision, streaming=True, **part)
    except pyarrow.ArrowInvalid as error:
        raise _broken_off(name, error) from error
    except ValueError as error:  # its message names the configs or splits there are
        raise UserError("The data set has no such part", got=f"{name}, {config or 'no config'}, {split}",
                        limit=_one_line(error), hint="choose another config or split") from error
    for column, feature in (rows.features or {}).items():
        if isinstance(feature, datasets.Audio):
            rows = rows.cast_column(column, datasets.Audio(decode=False))
    iterator = iter(rows)
    try:
        first = list(islice(iterator, 1))
    except _BROKEN as error:
        raise _broken_off(name, error) from error
    if not first:
        raise UserError("The split is empty", got=f"{name}, {split}", hint="choose another split")
    splits = rows.info.splits or {}
    return chain(first, iterator), list(first[0]), splits[split].num_examples if split in splits else None


def _clips(rows: Iterator[dict], name: str, audio: str, text: str, max_rows: int) -> Iterator[Clip]:
    rows = iter(rows)
    for number in range(max_rows):
        try:
            row = next(rows)
        except StopIteration:
            return
        except _BROKEN as error:
            raise _broken_off(name, error) from error
        given = row[audio]
        yield Clip(_id(row, given, number), str(row[text] or "").strip(), lambda given=given: _bytes(given, name),
                   audio_suffix(_path(given)))


def _id(row: dict, given: object, number: int) -> str:
    named = next((str(row[column]) for column in _ID_COLUMNS if isinstance(row.get(column), str | int)), _path(given))
    return os.path.basename(named) or f"row {number}"


def _path(given: object) -> str:
    path = given.get("path") if isinstance(given, dict) else given
    return path if isinstance(path, str) else ""


def _bytes(given: object, name: str) -> bytes:
    """The encoded audio of a cell: {'bytes', 'path'}, where the path may be a file of this data set only."""
    data = given.get("bytes") if isinstance(given, dict) else given
    if isinstance(data, bytes):
        if len(data) > MAX_CLIP_BYTES:
            raise UserError("The clip is too large", got=f"{len(data) / 1e6:.0f} MB",
                            limit=f"{MAX_CLIP_BYTES / 1e6:.0f} MB", hint="leave it out")
        return data
    path = _path(given)
    if not path.startswith(f"hf://datasets/{name}@"):
        raise UserError("The row holds no audio", got=type(given).__name__, hint="name another audio column")
    from huggingface_hub import HfFileSystem

    try:
        with HfFileSystem().open(path, "rb") as file:
            data = file.read(MAX_CLIP_BYTES + 1)
    except _BROKEN as error:
        raise _broken_off(name, error) from error
    return _bytes({"bytes": data}, name)


def _broken_off(name: str, error: Exception) -> UserError:
    return UserError("Reading the data set from the Hub broke off", got=f"{name} ({_one_line(error)})",
                     hint="try again; if it stays, the data set's files are damaged")


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).split(" Example of usage")[0][:300]
