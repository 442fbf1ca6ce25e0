"""Tables of cells as records: CSV, TSV, and LJSpeech's pipes, their delimiter and quotation marks found."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from shared.errors import UserError
from shared.tables.record import Limits, Record, fold

csv.field_size_limit(1 << 24)  # characters; the library's 131 072 is less than some cells of notes

DELIMITERS = "\t|;,"  # where two seem equally likely: the one that is rarer in texts
# Names that show a line to be the line of column names, folded.
COMMON_NAMES = frozenset((
    "audio", "path", "file", "file_name", "filename", "audio_path", "audio_file", "audio_filepath", "clip", "wav",
    "text", "sentence", "transcript", "transcription", "raw_transcription", "normalized_text", "reference", "label",
    "speaker", "speaker_id", "client_id", "id", "duration", "offset", "split", "language"))
A_FILE = re.compile(r"\s*['\"]?\S[^|\t\n]*\.(wav|mp3|flac|ogg|oga|opus|m4a|aac|webm|mp4|mkv|wma|amr|aiff?|g722)"
                    r"['\"]?\s*", re.I)
LJSPEECH = {2: ("file_name", "text"), 3: ("file_name", "text", "normalized_text")}  # it has no line of names


@dataclass(frozen=True)
class _Form:
    """How the cells of a table are parted."""

    name: str
    limits: Limits
    delimiter: str
    quoted: bool = False
    skip: int = 0  # lines before the first record: Excel's sep=;

    def rows(self, file: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        """(line it begins on, cells) of each record that is not blank. Raises csv.Error, UserError."""
        for _ in range(self.skip):
            file.readline()
        reader = csv.reader(self._counted(file), delimiter=self.delimiter, strict=self.quoted,
                            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE)
        line = 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield self.skip + line, cells
            line = reader.line_num + 1

    def _counted(self, file: io.TextIOWrapper) -> Iterator[str]:
        """The lines, each counted before it is parsed: ten million empty cells would take gigabytes as a list."""
        limit = self.limits.cells
        for number, line in enumerate(file, self.skip + 1):
            if limit is not None and line.count(self.delimiter) >= limit:
                raise UserError("A line of the table has too many cells", limit=limit, hint="save the table again",
                                got=f"{self.name}, line {number}: {line.count(self.delimiter) + 1} cells")
            yield line


def cell_records(opened: Callable[[], io.TextIOWrapper], start: str, name: str, limits: Limits) -> Iterator[Record]:
    """The records of a table of cells. start: its first 64 kB, which show how it is parted. Raises UserError."""
    delimiter, skip = _delimiter(start, name, limits)
    form = _Form(name, limits, delimiter, skip=skip)
    form = replace(form, quoted=_is_quoted(opened, form))
    with opened() as file:
        rows = form.rows(file)
        line = 1
        try:
            line, first = next(rows)
            is_header = _is_header(first, delimiter)
            header = _header(first, name) if is_header else _names_of(first, name)
            if not is_header:
                rows = itertools.chain([(line, first)], rows)
            for number, (line, cells) in enumerate(rows, 1):
                limits.check(name, number, len(header))
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


def _is_header(first: list[str], delimiter: str) -> bool:
    """Whether the first line holds names of columns: it has a usual one, or at least no clip's file."""
    if COMMON_NAMES & set(map(fold, first)):
        return True
    return not any(A_FILE.fullmatch(cell) for cell in first) and (delimiter != "|" or len(first) not in LJSPEECH)


def _names_of(first: list[str], name: str) -> list[str]:
    """Columns of a table without a line of names: LJSpeech's, or a file and its text. Raises UserError for others."""
    files = [i for i, cell in enumerate(first) if A_FILE.fullmatch(cell)]
    if len(first) == 2 and files == [1]:
        return ["text", "file_name"]
    if len(first) in LJSPEECH and (not files or (len(first) == 2 and files == [0])):
        return list(LJSPEECH[len(first)])
    raise UserError("The table has no line of column names", got=f"{name}, line 1: {', '.join(first)[:100]}",
                    hint="put one above it, such as file_name,text")


def _header(first: list[str], name: str) -> list[str]:
    """The column names. Raises UserError for two columns of one name."""
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
    declared = re.fullmatch(r'"?sep=(.)"?', lines[0].strip(), re.I)
    if declared:
        return declared[1], 1
    widest = max(map(lines[0].count, DELIMITERS)) + 1
    limits.check(name, 0, widest)  # counted before it is parsed

    def score(delimiter: str) -> tuple[int, bool, int]:
        cells = {fold(cell.strip().strip('"')) for cell in lines[0].split(delimiter)}
        counts = {line.count(delimiter) for line in lines}
        return len(COMMON_NAMES & cells), len(counts) == 1 and 0 not in counts, max(counts)

    return max(DELIMITERS, key=score), 0


def _is_quoted(opened: Callable[[], io.TextIOWrapper], form: _Form) -> bool:
    """Whether quotation marks enclose cells, or are text.

    In comma and semicolon tables they enclose, unless that reading fails and the other one does not. In tab and pipe
    tables (Common Voice, LJSpeech) they are text, unless that reading gives rows of unequal length or doubled marks and
    the other one does not.
    """
    with opened() as file:
        if not any('"' in block for block in iter(lambda: file.read(1 << 20), "")):
            return False
    enclosing = _survey(opened, replace(form, quoted=True))
    plain = _survey(opened, replace(form, quoted=False))
    if form.delimiter in ",;":
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
                form.limits.check(form.name, found.n_rows - 1, 0)
                found.n_cells = found.n_cells or len(cells)
                found.equal = found.equal and len(cells) == found.n_cells
                found.fits = found.fits and not any(cell.strip() for cell in cells[found.n_cells:])
                found.marks = found.marks or any('"' in cell for cell in cells)
        except csv.Error:
            return None
    return found
