"""Clips with references from a zip.

Enters: a zip of clips with a table of references. Leaves: a ClipSet, whose audio is read one clip at a time, as
encoded bytes. Nothing of a zip is written to disk under a name from the zip, and no path
from a table or a data set is ever opened on this machine. Knows nothing of decoding, models and errors.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from shared.errors import UserError
from shared.tables import Limits, Record, read
from shared.testset.clips import (
    AUDIO_COLUMNS,
    MAX_CLIP_BYTES,
    TEXT_COLUMNS,
    Clip,
    ClipSet,
    FailedClip,
    audio_suffix,
    capped,
    find_column,
    short,
    some,
)

MAX_FILES = 20_000  # and rows of the table
MAX_COLUMNS, MAX_CELLS = 200, 10_000  # of the table, and of one line of it, within quotes too
MAX_TABLE_BYTES = 20_000_000
MAX_UNPACKED_BYTES = 4_000_000_000
_MAX_DIRECTORY_BYTES = 400 * MAX_FILES  # zipfile reads the whole list of files into memory before we can count them


@contextlib.contextmanager
def zip_clips(
    path: str | os.PathLike,
    *,
    table: str | os.PathLike | None = None,
    audio_column: str | None = None,
    text_column: str | None = None,
) -> Iterator[ClipSet]:
    """The clips of a zip that its table names, in the table's order; the zip is open inside the `with`.

    A row is matched by path, else by file name, with or without its ending.

    Args:
        path: the zip.
        table: a CSV, a TSV or JSON lines on disk; None takes the one inside the zip.
        audio_column, text_column: names of the columns; None finds them by their usual names (AUDIO_COLUMNS,
            TEXT_COLUMNS).

    Yields:
        The clips, once. Rows without clip or text are in `failed`, clips without a row in `warnings`.

    Raises:
        UserError: no zip, encrypted, too many or too large files, no or several tables, columns not found.
    """
    name = os.path.basename(path)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_opened(path, name))
        _check_directory(file, name)
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OSError) as error:
            raise _not_a_zip(name) from error
        members = _members(archive, name)
        folder, rows = _table_of(archive, members, table, name)
        header = list(rows[0].cells)
        audio = find_column(header, AUDIO_COLUMNS, audio_column, "audio")
        text = find_column(header, TEXT_COLUMNS, text_column, "reference")
        pairs = [(_file(row, audio), row.text(text)) for row in rows]
        yield _matched(archive, members, folder, pairs, name)


def _opened(path: str | os.PathLike, name: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError("The zip could not be opened", got=name, hint="check the name") from error


def _not_a_zip(name: str) -> UserError:
    return UserError("This is not a zip file, or it is damaged", got=name,
                     hint="send a .zip with the clips and a CSV of their references")


def _check_directory(file: BinaryIO, name: str) -> None:
    """Refuse a list of files too long to read, from the zip's last record alone (APPNOTE.TXT 4.3.16)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_577))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise _not_a_zip(name)
    n_files, n_bytes = struct.unpack("<HI", tail[end + 10 : end + 16])
    # A Zip64 record, which would say otherwise, is written only for more files or bytes than are allowed here.
    if n_files > MAX_FILES or n_bytes > _MAX_DIRECTORY_BYTES or b"PK\x06\x07" in tail[max(0, end - 20) : end]:
        raise _too_many(n_files if n_files > MAX_FILES else "a list of files too long to read")
    file.seek(0)


def _too_many(got: object) -> UserError:
    return UserError("The zip holds too many files", got=got, limit=MAX_FILES, hint="send it in parts")


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """The files by name, without folders and what macOS and editors leave behind."""
    found = {}
    for info in archive.infolist():
        path = PurePosixPath(_member_name(info))
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts if part != "..")
        if path.name and not hidden and not info.filename.endswith("/"):
            found[str(path)] = info
    if len(archive.infolist()) > MAX_FILES:
        raise _too_many(len(archive.infolist()))
    if any(info.flag_bits & 1 for info in found.values()):
        raise UserError("The zip is encrypted", got=name, hint="send it without a password")
    _check_overlap(archive, name)
    unpacked = sum(info.file_size for info in found.values())
    if unpacked > MAX_UNPACKED_BYTES:
        raise UserError("The zip holds too much", got=f"{unpacked / 1e9:.1f} GB unpacked",
                        limit=f"{MAX_UNPACKED_BYTES / 1e9:.0f} GB", hint="send it in parts")
    return found


def _check_overlap(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse files that share their bytes: many large files out of one small one (https://www.bamsoftware.com/hacks/zipbomb)."""
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise UserError("The zip is not an ordinary one: its files overlap", got=name,
                            hint="pack the clips again with an ordinary program")
        end = info.header_offset + 30 + len(info.filename.encode("utf-8", "replace")) // 4 + info.compress_size


def _member_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & 0x800:  # not marked as UTF-8, which macOS writes all the same
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """At most max_bytes: zipfile never gives more than the size it declares, so checking that is enough."""
    name = PurePosixPath(_member_name(info)).name
    if info.file_size > max_bytes:
        raise UserError("The file is too large", got=f"{name}, {info.file_size / 1e6:.0f} MB",
                        limit=f"{max_bytes / 1e6:.0f} MB", hint="cut it, or send it compressed")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError("The zip uses a compression that is not read here", got=name, limit="stored or deflated",
                        hint="pack it again as an ordinary zip")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise UserError("The file is damaged inside the zip", got=name, hint="pack it again") from error


def _table_of(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], table: str | os.PathLike | None, name: str,
) -> tuple[PurePosixPath, list[Record]]:
    """The table's folder in the zip, and its rows."""
    if table is not None:
        with open(table, "rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
        if len(data) > MAX_TABLE_BYTES:
            raise UserError("The table is too large", got=os.path.basename(table),
                            limit=f"{MAX_TABLE_BYTES / 1e6:.0f} MB", hint="send it in parts")
        return PurePosixPath("."), _parsed(data, os.path.basename(table))
    tables = [key for key in members if key.lower().endswith((".csv", ".tsv", ".jsonl"))]
    if not tables:
        raise UserError("The zip holds no table of references", got=f"{name} with {some(members)}",
                        hint="add a CSV with the columns file and text")
    if len(tables) > 1:
        raise UserError("The zip holds more than one table", got=some(tables),
                        hint="leave the one that holds the references")
    data = _read_member(archive, members[tables[0]], MAX_TABLE_BYTES)
    return PurePosixPath(tables[0]).parent, _parsed(data, PurePosixPath(tables[0]).name)


def _parsed(data: bytes, name: str) -> list[Record]:
    """The rows of a table: CSV, TSV or JSON lines. Raises UserError."""
    rows = list(read(lambda: io.BytesIO(data), name, None, Limits(MAX_FILES, MAX_COLUMNS, MAX_CELLS)))
    if not rows:
        raise UserError("The table is empty", got=name, hint="give it a line of column names and a line for each clip")
    return rows


def _file(record: Record, column: str) -> str:
    """The clip that a row names; none: its failure says so."""
    try:
        return record.file(column)
    except UserError:
        return ""


def _matched(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: PurePosixPath, rows: list[tuple[str, str]],
    origin: str,
) -> ClipSet:
    audio = {key: info for key, info in members.items() if audio_suffix(key)}
    index = _index(audio, folder)
    clips, failed, used = [], [], set()
    for written, reference in rows:
        asked = unicodedata.normalize("NFC", written.strip().replace("\\", "/"))
        key = next((index[form] for form in (asked, PurePosixPath(asked).name) if form in index), None)
        if key is None:
            failed.append(FailedClip(short(written), "The clip is not in the zip."))
        elif key in used:
            failed.append(FailedClip(short(written), "The clip is listed more than once; the first line counts."))
        elif not reference.strip():
            failed.append(FailedClip(short(written), "The clip has no reference text."))
        else:
            clips.append(Clip(asked, reference.strip(), _reader(archive, audio[key]), audio_suffix(key)))
        used.add(key)
    if not clips:
        raise UserError("No line of the table has both a clip in the zip and a text",
                        got=f"the table names {some([row[0] for row in rows])}; the zip holds {some(members)}",
                        hint="write each clip's file name as it is in the zip")
    unused = [key for key in audio if key not in used]
    warnings = (f"{len(unused)} clips have no line in the table: {some(unused)}.",) if unused else ()
    return ClipSet(origin, clips, len(clips), capped(failed), warnings)


def _index(audio: Iterable[str], folder: PurePosixPath) -> dict[str, str]:
    """Every way of writing a clip's name that means one clip only."""
    index: dict[str, str] = {}
    ambiguous = set()
    exact = {}
    for key in audio:
        path = PurePosixPath(key)
        exact[key] = key
        if path.is_relative_to(folder):
            exact[str(path.relative_to(folder))] = key
        for form in (path.name, path.stem, str(path.with_suffix(""))):
            if index.setdefault(form, key) != key:
                ambiguous.add(form)
    return {form: key for form, key in index.items() if form not in ambiguous} | exact


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    return lambda: _read_member(archive, info, MAX_CLIP_BYTES)
