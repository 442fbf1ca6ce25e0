"""Tables of clips as people have them, read row by row: CSV, TSV, LJSpeech's pipes, JSON lines, a JSON list.

Enters: bytes and a name for messages. Leaves: records with the line each begins on, or a UserError that names file and
line. Encoding, delimiter and the meaning of quotation marks are found from the bytes, not from the file's name. Knows
nothing of what the columns mean, beyond the names by which a line of column names is recognised.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from shared.errors import UserError
from shared.tables.cell_records import cell_records
from shared.tables.encoding import find_encoding
from shared.tables.json_records import json_records
from shared.tables.record import Limits, Record

UNLIMITED = Limits()


def read_file(path: Path, language: str | None = None, limits: Limits = UNLIMITED) -> Iterator[Record]:
    """The records of a table on disk, packed with gzip or not.

    Args:
        path: the file; its name stands in messages.
        language, limits: as in `read`.

    Yields:
        One record for each row that is not blank.

    Raises:
        UserError: as in `read`, and where it cannot be unpacked.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"

    def opened() -> BinaryIO:
        return cast(BinaryIO, gzip.GzipFile(path, "rb")) if packed else path.open("rb")

    try:
        yield from read(opened, path.name, language, limits)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError("The table cannot be unpacked", got=f"{path.name}: {error}", hint="pack it again") from None


def read(source: Callable[[], BinaryIO], name: str, language: str | None = None, limits: Limits = UNLIMITED
         ) -> Iterator[Record]:
    """The records of a table, in its order.

    Args:
        source: opens the table's bytes; called several times.
        name: what the table is called in messages.
        language: ISO 639 code of the texts. It tells the code page of a table that is not in Unicode; None: such a
            table is refused.
        limits: a larger table is refused, before it is built.

    Yields:
        One record for each row that is not blank.

    Raises:
        UserError: it cannot be read, is empty, a line is not like the others; names file and line.
    """
    where = f"{name}, line 1"
    try:
        encoding = find_encoding(source, name, language)
        with _text(source, encoding) as text:
            start = text.read(1 << 16)
        if not start.strip():
            raise UserError("The table is empty", got=name, hint="give it a line of column names, a line for each clip")
        rows = json_records if start.lstrip().startswith(("{", "[", "null")) else cell_records
        for record in rows(lambda: _text(source, encoding), start, name, limits):
            where = record.where
            yield record
    except UnicodeDecodeError as error:
        raise UserError("The table cannot be decoded", got=f"after {where}: {error.reason}",
                        hint="save it as UTF-8") from None


def lines_of(path: Path, language: str | None) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not blank.

    Args:
        path: a text file, its encoding found as a table's.
        language: ISO 639-1 code of the text, which tells the code page; None: only Unicode is read.

    Yields:
        (where, line without its end), where as in "text, line 3".

    Raises:
        UserError: the encoding cannot be found.
    """
    encoding = find_encoding(lambda: path.open("rb"), path.name, language)
    with path.open(encoding=encoding) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path.name}, line {number}", line.rstrip("\n")


def _text(source: Callable[[], BinaryIO], encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(source(), encoding=encoding, newline="")
