"""Tables of clips as people write them: CSV, TSV, JSON lines. Column names found, or named and checked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.errors import UserError

AUDIO_COLUMNS = ("audio", "file_name", "path", "file", "filename", "audio_path", "audio_filepath", "wav", "clip")
TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript", "raw_transcription", "normalized_text", "label")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id", "spk_id")
ID_COLUMNS = ("id", "utt_id", "utterance_id", "segment_id")

csv.field_size_limit(1 << 24)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a .csv, .tsv or .jsonl file as dicts. Raises UserError naming the line that cannot be read."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        if path.suffix == ".jsonl":
            for number, line in enumerate(file, 1):
                try:
                    if line.strip():
                        yield json.loads(line)
                except ValueError:
                    raise UserError("A line is not JSON", got=f"{path.name}, line {number}", hint="mend it") from None
            return
        # Tab-separated releases (Common Voice) use quotation marks as text, not to enclose it.
        quoting = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
        try:
            yield from csv.DictReader(file, **quoting)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError("A table cannot be read", got=f"{path.name}: {error}", hint="save it as UTF-8") from None


def column(named: str | None, usual: Sequence[str], there: Sequence[str], what: str, where: str) -> str:
    """The name of the wanted column. Raises UserError with the columns there are."""
    if named is not None and named in there:
        return named
    found = [name for name in usual if name in there]
    if named is None and found:
        return found[0]
    raise UserError(f"{where} has no column {named!r}" if named else f"{where} has no column for the {what}",
                    got=f"columns: {', '.join(there)}", hint=f"set {what}_column to one of them")


def optional(named: str | None, usual: Sequence[str], there: Sequence[str], what: str, where: str) -> str | None:
    """As `column`, but None if none is named and none found."""
    if named is None and not set(usual) & set(there):
        return None
    return column(named, usual, there, what, where)
