"""Tables of clips as people have them, read row by row: CSV, TSV, LJSpeech's pipes, JSON lines, a JSON list.

Enters: bytes and a name for messages. Leaves: records with the line each begins on, or a UserError that names file and
line. Encoding, delimiter and the meaning of quotation marks are found from the bytes, not from the file's name. Knows
nothing of what the columns mean, beyond the names by which a line of column names is told from a row.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shared.errors import UserError

csv.field_size_limit(1 << 24)  # characters; the library's 131 072 is less than some cells of notes

DELIMITERS = "\t|;,"  # where two seem equally likely: the one that is rarer in texts
# Names that show a line to be the line of column names, folded.
COMMON_NAMES = frozenset((
    "audio", "path", "file", "file_name", "filename", "audio_path", "audio_file", "audio_filepath", "clip", "wav",
    "text", "sentence", "transcript", "transcription", "raw_transcription", "normalized_text", "reference", "label",
    "speaker", "speaker_id", "client_id", "id", "duration", "offset", "split", "language"))
LJSPEECH = {2: ("file_name", "text"), 3: ("file_name", "text", "normalized_text")}  # it has no line of names

# The code page of Windows for each language that is not written in Windows-1252: what a table without Unicode is in.
CODE_PAGES = {
    **dict.fromkeys(("pl", "cs", "sk", "hu", "sl", "hr", "bs", "ro", "sq"), "cp1250"),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "sr", "kk", "ky", "mn", "tg", "tt", "ba"), "cp1251"),
    "el": "cp1253", **dict.fromkeys(("tr", "az"), "cp1254"), **dict.fromkeys(("he", "yi"), "cp1255"),
    **dict.fromkeys(("ar", "fa", "ur", "ug", "ckb"), "cp1256"), **dict.fromkeys(("et", "lv", "lt"), "cp1257"),
    "vi": "cp1258", "th": "cp874", "ja": "cp932", "zh": "gb18030", "ko": "cp949", "yue": "cp950",
}
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What the wrong code page shows: a sign inside a word, or a capital after a small letter that is beyond ASCII.
_SIGN_IN_WORD = re.compile(r"[^\W\d_](?:[¹²³]|[^\w\s\x00-\x7f’‘–—…·“”„«»\u00a0\u00ad])+[^\W\d_]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")


@dataclass(frozen=True)
class Limits:
    """How large a table from a stranger may be; None: as large as it is."""

    rows: int | None = None
    columns: int | None = None


@dataclass(frozen=True)
class Record:
    """One row.

    cells: by column as the table writes it, in its order; text, or in JSON any value. where: "metadata.csv, line 3".
    """

    cells: Mapping[str, Any]
    where: str


def fold(name: str) -> str:
    """A column's name without case and without the difference between space, dash and underscore.

    >>> fold(" File-Name "), fold("file_name")
    ('file_name', 'file_name')
    """
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def read_file(path: Path, language: str | None = None, limits: Limits = Limits()) -> Iterator[Record]:
    """The records of a table on disk, see `read`."""
    return read(lambda: path.open("rb"), path.name, language, limits)


def read(source: Callable[[], BinaryIO], name: str, language: str | None = None, limits: Limits = Limits()
         ) -> Iterator[Record]:
    """The records of a table, in its order.

    Args:
        source: Opens the table's bytes; called several times.
        name: What the table is called in messages.
        language: ISO 639 code of the texts. It tells the code page of a table that is not in Unicode; None: such a
            table is refused.
        limits: A larger table is refused, before it is built.

    Raises:
        UserError: It cannot be read, is empty, a line is not like the others; names file and line.
    """
    where = f"{name}, line 1"
    try:
        encoding = _encoding(source, name, language)
        with _text(source, encoding) as text:
            start = text.read(1 << 16)
        if not start.strip():
            raise UserError("The table is empty", got=name, hint="give it a line of column names, a line for each clip")
        rows = _json_records if start.lstrip().startswith(("{", "[", "null")) else _cell_records
        for record in rows(lambda: _text(source, encoding), start, name, limits):
            where = record.where
            yield record
    except UnicodeDecodeError as error:
        raise UserError("The table cannot be decoded", got=f"after {where}: {error.reason}",
                        hint="save it as UTF-8") from None


def decoded(data: bytes, name: str, language: str | None) -> str:
    """A small text file's content, its encoding found as a table's. Raises UserError."""
    encoding = _encoding(lambda: io.BytesIO(data), name, language)
    return data.decode(encoding).removeprefix("\ufeff")


def lines_of(path: Path, language: str | None) -> Iterator[tuple[str, str]]:
    """(where, line without its end) of each line of a text file that is not blank."""
    encoding = _encoding(lambda: path.open("rb"), path.name, language)
    with path.open(encoding=encoding) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path.name}, line {number}", line.rstrip("\n")


def _text(source: Callable[[], BinaryIO], encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(source(), encoding=encoding, newline="")


def _encoding(source: Callable[[], BinaryIO], name: str, language: str | None) -> str:
    with source() as file:
        start = file.read(1 << 12)
        for mark, encoding in _BOMS:
            if start.startswith(mark):
                return encoding
        if b"\0" in start:  # UTF-16 without its mark: every second byte of ASCII is 0
            return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"
        decoder, n_lines, block = codecs.getincrementaldecoder("utf-8")(), 1, start
        try:
            while block:
                decoder.decode(block)
                n_lines += block.count(b"\n")
                block = file.read(1 << 20)
            decoder.decode(b"", final=True)
            return "utf-8"
        except UnicodeDecodeError as error:
            line = n_lines + block[: error.start].count(b"\n")
    return _code_page(source, name, language, line)


def _code_page(source: Callable[[], BinaryIO], name: str, language: str | None, line: int) -> str:
    """The language's code page, if the text looks right in it."""
    where = f"{name}, line {line}"
    if language is None:
        raise UserError("The table is not in UTF-8", got=where, hint="save it as “CSV UTF-8”")
    encoding = CODE_PAGES.get(language, "cp1252")
    with source() as file:
        try:
            text = io.TextIOWrapper(file, encoding=encoding).read()
        except UnicodeDecodeError:
            text = "\ufffd"
    wrong = _CONTROL.search(text) or _SIGN_IN_WORD.search(text) or _wrong_case(text, encoding)
    if wrong:
        raise UserError("The text is neither in UTF-8 nor in the language's code page",
                        got=f"{where} (as {encoding}: “{wrong[0]}”)", hint="save it as UTF-8")
    return encoding


def _wrong_case(text: str, encoding: str) -> re.Match[str] | None:
    """A word as DOS, Macintosh or KOI8 text shows in a code page of Windows.

    It has a capital beyond ASCII after a small letter; or, in other scripts than Latin, capitals are the rule.
    """
    words = [word for word in re.finditer(r"[^\W\d_]{2,}", text) if not word[0].isascii()]
    for word in words:
        if any(a.islower() and b.isupper() and not b.isascii() for a, b in itertools.pairwise(word[0])):
            return word
    n_upper = sum(letter.isupper() for word in words for letter in word[0])
    n_lower = sum(letter.islower() for word in words for letter in word[0])
    return words[0] if encoding in ("cp1251", "cp1253") and n_upper > n_lower else None


def _json_records(opened: Callable[[], io.TextIOWrapper], start: str, name: str, limits: Limits) -> Iterator[Record]:
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
        _within(limits, name, number, len(value))
        yield Record(value, where)


def _within(limits: Limits, name: str, n_rows: int, n_columns: int) -> None:
    if limits.columns is not None and n_columns > limits.columns:
        raise UserError("The table has too many columns", got=f"{name} with more than {limits.columns}",
                        limit=limits.columns, hint="leave the columns for the clip's file and its text")
    if limits.rows is not None and n_rows > limits.rows:
        raise UserError("The table has too many rows", got=f"{name} with more than {limits.rows}", limit=limits.rows,
                        hint="send it in parts")


@dataclass(frozen=True)
class _Form:
    """How the cells of a table are parted."""

    delimiter: str
    quoted: bool
    skip: int = 0  # lines before the first record: Excel's sep=;

    def rows(self, file: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        """(line it begins on, cells) of each record that is not blank. Raises csv.Error."""
        for _ in range(self.skip):
            file.readline()
        reader = csv.reader(file, delimiter=self.delimiter, strict=self.quoted,
                            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE)
        line = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield self.skip + line, cells
            line = reader.line_num + 1


def _cell_records(opened: Callable[[], io.TextIOWrapper], start: str, name: str, limits: Limits) -> Iterator[Record]:
    delimiter, skip = _delimiter(start, name, limits)
    form = _Form(delimiter, _is_quoted(opened, delimiter, skip), skip)
    with opened() as file:
        rows = form.rows(file)
        line = 1
        try:
            line, first = next(rows)
            header = _header(first, delimiter, name)
            if header is None:
                header = list(LJSPEECH[len(first)])
                rows = itertools.chain([(line, first)], rows)
            for number, (line, cells) in enumerate(rows, 1):
                _within(limits, name, number, len(header))
                yield _record(header, cells, f"{name}, line {line}")
        except csv.Error as error:
            raise UserError("The table cannot be read", got=f"{name}, after line {line}: {error}",
                            hint="correct the quotation marks there, or save it as CSV again") from None


def _record(header: list[str], cells: list[str], where: str) -> Record:
    if any(cell.strip() for cell in cells[len(header):]):
        raise UserError("A row has more cells than there are columns",
                        got=f"{where}: {len(cells)} cells, {len(header)} columns",
                        hint="put a text that holds the delimiter in quotation marks")
    return Record(dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=False)), where)


def _header(first: list[str], delimiter: str, name: str) -> list[str] | None:
    """The column names; None for LJSpeech's form, which has none. Raises UserError for two columns of one name."""
    if delimiter == "|" and len(first) in LJSPEECH and not COMMON_NAMES & set(map(fold, first)):
        return None
    header = [cell.strip() for cell in first]
    while header and not header[-1]:  # Excel's empty columns at the end
        header.pop()
    folded = [fold(cell) for cell in header if cell]
    twice = next((cell for cell in folded if folded.count(cell) > 1), None) if len(set(folded)) < len(folded) else None
    if twice:
        raise UserError("Two columns have one name", got=f"{twice} in {name}, line 1", hint="rename or remove one")
    return [cell or f"column {number}" for number, cell in enumerate(header, 1)]


def _delimiter(start: str, name: str, limits: Limits) -> tuple[str, int]:
    """The delimiter of the table, and how many lines to skip.

    That one with which the first line has most of the common names; else one that is in every line equally often; else
    the most frequent one.
    """
    lines = [line for line in re.split(r"\r\n|\r|\n", start) if line.strip()][:20]
    told = re.fullmatch(r'"?sep=(.)"?', lines[0].strip(), re.I)
    if told:
        return told[1], 1
    widest = max(map(lines[0].count, DELIMITERS)) + 1
    if limits.columns is not None and widest > limits.columns:  # counted before it is parsed
        _within(limits, name, 0, widest)

    def score(delimiter: str) -> tuple[int, bool, int]:
        cells = {fold(cell.strip().strip('"')) for cell in lines[0].split(delimiter)}
        counts = {line.count(delimiter) for line in lines}
        return len(COMMON_NAMES & cells), len(counts) == 1 and 0 not in counts, max(counts)

    return max(DELIMITERS, key=score), 0


def _is_quoted(opened: Callable[[], io.TextIOWrapper], delimiter: str, skip: int) -> bool:
    """Whether quotation marks enclose cells, or are text.

    In comma and semicolon tables they enclose, unless that reading fails and the other one does not. In tab and pipe
    tables (Common Voice, LJSpeech) they are text, unless that reading gives rows of unequal length or doubled marks and
    the other one does not.
    """
    with opened() as file:
        if not any('"' in block for block in iter(lambda: file.read(1 << 20), "")):
            return False
    enclosing = _survey(opened, _Form(delimiter, True, skip))
    plain = _survey(opened, _Form(delimiter, False, skip))
    if delimiter in ",;":
        return (enclosing is not None and enclosing.fits) or not (plain is not None and plain.fits)
    if enclosing is None or not enclosing.equal:
        return False
    if plain is None or not plain.equal:
        return True
    return enclosing.n_rows == plain.n_rows and enclosing.marks


@dataclass
class _Survey:
    """A table read in one way."""

    n_rows: int = 0
    n_cells: int = 0  # of the first row
    equal: bool = True  # every row has as many cells
    fits: bool = True  # no row has more that are not empty
    marks: bool = False  # a cell holds a quotation mark


def _survey(opened: Callable[[], io.TextIOWrapper], form: _Form) -> _Survey | None:
    found = _Survey()
    with opened() as file:
        try:
            for _, cells in form.rows(file):
                found.n_rows += 1
                found.n_cells = found.n_cells or len(cells)
                found.equal = found.equal and len(cells) == found.n_cells
                found.fits = found.fits and not any(cell.strip() for cell in cells[found.n_cells:])
                found.marks = found.marks or any('"' in cell for cell in cells)
        except csv.Error:
            return None
    return found
