"""What the columns of a table of clips mean: found by their usual names, or named, and their values checked.

`shared.tables` reads the table; here its cells become a clip's name, text, speaker, times and split, or a UserError
that names file and line. Knows nothing of files on disk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feature_pipeline.rows import SPLIT_NAMES
from shared.errors import UserError
from shared.languages import language_code
from shared.tables import Record, fold

AUDIO_COLUMNS = ("audio", "file_name", "path", "file", "filename", "audio_path", "audio_filepath", "audio_file", "wav",
                 "clip")
TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript", "raw_transcription", "normalized_text", "label")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id", "spk_id")
ID_COLUMNS = ("id", "utt_id", "utterance_id", "segment_id")
SECONDS = ("", "_s", "_sec", "_secs", "_seconds")
MILLISECONDS = ("_ms", "_msec", "_milliseconds")
# Each also with a unit of these behind it.
START_COLUMNS = ("offset", "start", "start_time", "begin", "begin_time", "onset")
END_COLUMNS = ("end", "end_time", "stop", "stop_time")
DURATION_COLUMNS = ("duration", "length", "dur")
# Columns that place a clip in a longer recording in a unit that needs more than the table to read.
UNREADABLE_TIMES = ("start_sample", "start_samples", "start_frame", "start_frames", "frame_offset", "sample_offset",
                    "offset_samples", "offset_frames", "begin_sample", "begin_frame", "timestamps", "timestamp")


def column(named: str | None, usual: Sequence[str], there: Sequence[str], what: str, where: str) -> str:
    """The wanted column as the table writes it, whatever its case. Raises UserError with the columns there are."""
    by_name = {fold(name): name for name in reversed(there)}
    if named is not None and named in there:
        return named
    found = [by_name[name] for name in ([fold(named)] if named else usual) if name in by_name]
    if found:
        return found[0]
    raise UserError(f"{where} has no column {named!r}" if named else f"{where} has no column for the {what}",
                    got=f"columns: {', '.join(str(name)[:60] for name in there[:30])}",
                    hint=f"set {what}_column to one of them")


def optional(named: str | None, usual: Sequence[str], there: Sequence[str], what: str, where: str) -> str | None:
    """As `column`, but None if none is named and none found."""
    if named is None and not set(usual) & set(map(fold, there)):
        return None
    return column(named, usual, there, what, where)


@dataclass(frozen=True)
class Named:
    """The columns that a config names; None: found by their usual names."""

    audio: str | None = None
    text: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of one table that mean something here, as it writes their names; None: it has no such column."""

    audio: str
    text: str
    speaker: str | None = None
    id: str | None = None
    split: str | None = None
    language: str | None = None
    start: str | None = None  # seconds; a clip is cut out of its file only if the row says where it begins
    end: str | None = None
    duration: str | None = None
    other_times: str | None = None  # says where a clip begins, but not in seconds

    @classmethod
    def find(cls, records: Iterable[Record], named: Named, where: str) -> Columns:
        """The columns of a table, from its first rows. Raises UserError with the columns there are."""
        there = list(dict.fromkeys(name for record in records for name in record.cells))
        usual = {"id": ID_COLUMNS, "split": ("split",), "language": ("language",), "start": _with_units(START_COLUMNS),
                 "end": _with_units(END_COLUMNS), "duration": _with_units(DURATION_COLUMNS),
                 "other_times": UNREADABLE_TIMES}
        return cls(column(named.audio, AUDIO_COLUMNS, there, "audio", where),
                   column(named.text, TEXT_COLUMNS, there, "text", where),
                   optional(named.speaker, SPEAKER_COLUMNS, there, "speaker", where),
                   **{key: optional(None, names, there, key, where) for key, names in usual.items()})

    @property
    def used(self) -> set[str]:
        """Those that are the row itself; all others are extras."""
        cut = (self.start, self.end, self.duration) if self.start else ()
        row = (self.audio, self.text, self.speaker, self.id, self.split, self.language)
        return {name for name in (*row, *cut) if name}


@dataclass(frozen=True)
class Entry:
    """What one row of a table says."""

    audio: str  # the file's name as written
    text: str
    speaker: str | None
    id: str | None
    split: str | None  # one of SPLITS
    language: str | None
    start: float  # seconds into the file
    end: float | None  # None: to its end
    extras: Mapping[str, object]
    where: str  # "metadata.csv, line 3"


def entry(record: Record, columns: Columns) -> Entry:
    """A row's values, checked. Raises UserError naming file, line and column."""
    start, end = _times(record, columns)
    split = record.text(columns.split).strip().lower()
    if split and split not in SPLIT_NAMES:
        raise UserError("A row's split is none of the known ones", got=f"{split!r} in {record.where}",
                        hint=f"write one of {', '.join(SPLIT_NAMES)}, or nothing")
    language = record.text(columns.language).strip()
    return Entry(
        audio=record.file(columns.audio), text=record.text(columns.text),
        speaker=record.text(columns.speaker).strip() or None,
        id=record.text(columns.id).strip() or None, split=SPLIT_NAMES.get(split),
        language=_language(language, record.where) if language else None, start=start, end=end,
        extras={key: value for key, value in record.cells.items() if key not in columns.used}, where=record.where)


def _with_units(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name + unit for name in names for unit in (*SECONDS, *MILLISECONDS))


def _times(record: Record, columns: Columns) -> tuple[float, float | None]:
    start = _seconds(record, columns.start)
    if start is None:
        return 0.0, None
    duration = _seconds(record, columns.duration)
    end = start + duration if duration is not None else _seconds(record, columns.end)
    if end is not None and end <= start:
        raise UserError("A clip ends before it begins", got=f"{start:g} to {end:g} s in {record.where}",
                        hint="correct its times, in seconds")
    return start, end


def _seconds(record: Record, name: str | None) -> float | None:
    """A time in seconds, by the unit in its column's name; clock times (0:01:02.5) too."""
    value = record.cells.get(name) if name else None
    if isinstance(value, str) and re.fullmatch(r"\s*(\d+:)?[0-5]?\d:[0-5]?\d([.,]\d+)?\s*", value):
        return math.fsum(float(part.replace(",", ".")) * 60**i for i, part in enumerate(reversed(value.split(":"))))
    found = record.number(name)
    milli = found is not None and name is not None and fold(name).endswith(MILLISECONDS)
    return found / 1000 if found is not None and milli else found


def _language(text: str, where: str) -> str:
    try:
        return language_code(text)
    except UserError as error:
        raise UserError(error.what, got=f"{text!r} in {where}", hint=error.hint) from None
