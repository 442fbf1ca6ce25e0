"""A folder of one's own recordings: with a table, with a .txt beside each clip, or long ones with subtitles.

A table (metadata.csv, .tsv, .jsonl) is used if there is one. Else every audio file is a row with the text beside it
(.txt), or as many rows as its subtitles (.srt, .vtt) have cues, each cut out at its times.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feature_pipeline.rows import AUDIO_SUFFIXES, SPLIT_NAMES, AudioRef, Row, stamp
from feature_pipeline.settings import Language
from feature_pipeline.sources.tables import (
    AUDIO_COLUMNS,
    ID_COLUMNS,
    SPEAKER_COLUMNS,
    TEXT_COLUMNS,
    column,
    optional,
    records,
)
from shared.errors import UserError

TABLES = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
_TIMES = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")


@dataclass(frozen=True)
class Folder:
    """One's own recordings."""

    path: str
    language: Language  # of rows that do not say their own in a column `language`
    audio_column: str | None = None  # of the table; None: found
    text_column: str | None = None
    speaker_column: str | None = None
    speaker_from_folder: bool = False  # the folder a clip lies in names its speaker

    def provenance(self) -> dict[str, object]:
        return {}  # what was read is in the manifest's content hash

    def stamp(self) -> str:
        return stamp(path for path in sorted(self._root().rglob("*")) if path.is_file())

    def rows(self) -> Iterator[Row]:
        root = self._root()
        for name in TABLES:
            if (root / name).is_file():
                yield from self._from_table(root, root / name)
                return
        clips = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]
        if not clips:
            raise UserError("The folder holds no audio", got=root, hint="choose the folder with the recordings")
        for clip in clips:
            yield from self._from_neighbours(root, clip)

    def _root(self) -> Path:
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise UserError("There is no such folder", got=self.path, hint="correct the source's path")
        return root

    def _from_table(self, root: Path, table: Path) -> Iterator[Row]:
        columns: dict[str, str | None] = {}
        for number, record in enumerate(records(table), 1):
            if not columns:
                there = list(record)
                columns = {
                    "audio": column(self.audio_column, AUDIO_COLUMNS, there, "audio", table.name),
                    "text": column(self.text_column, TEXT_COLUMNS, there, "text", table.name),
                    "speaker": optional(self.speaker_column, SPEAKER_COLUMNS, there, "speaker", table.name),
                    "id": optional(None, ID_COLUMNS, there, "id", table.name),
                }
            name = record.get(columns["audio"])
            if not name:
                raise UserError("A row names no audio", got=f"{table.name}, row {number}",
                                hint="fill it in or remove it")
            clip = root / name
            split = str(record.get("split") or "").lower() or _split_of(clip, root)
            yield Row(
                id=str(record[columns["id"]]) if columns["id"] else _id_of(clip, root),
                audio=AudioRef.file(clip),
                text=str(record.get(columns["text"]) or ""),
                language=record.get("language") or self.language,
                speaker=record.get(columns["speaker"]) or None if columns["speaker"] else self._speaker_of(clip),
                split=SPLIT_NAMES.get(split),
                extras={key: value for key, value in record.items()
                        if key is not None and key not in (*columns.values(), "split", "language")},
            )

    def _from_neighbours(self, root: Path, clip: Path) -> Iterator[Row]:
        name, split, speaker = _id_of(clip, root), SPLIT_NAMES.get(_split_of(clip, root)), self._speaker_of(clip)
        for suffix in (".srt", ".vtt"):
            subtitles = clip.with_suffix(suffix)
            if subtitles.is_file():
                for number, (start, end, text, voice) in enumerate(cues(subtitles.read_text(encoding="utf-8-sig"))):
                    yield Row(f"{name}#{number:05d}", AudioRef.file(clip, start, end), text, self.language,
                              voice or speaker, split)
                return
        beside = clip.with_suffix(".txt")
        text = beside.read_text(encoding="utf-8-sig").strip() if beside.is_file() else ""
        yield Row(name, AudioRef.file(clip), text, self.language, speaker, split)

    def _speaker_of(self, clip: Path) -> str | None:
        return clip.parent.name if self.speaker_from_folder else None


def cues(subtitles: str) -> Iterator[tuple[float, float, str, str | None]]:
    """(start, end, text, voice) of each cue of SubRip or WebVTT text; seconds. Cues of no length are left out."""
    for block in re.split(r"\n\s*\n", subtitles.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        for number, line in enumerate(lines):
            match = _TIMES.search(line)
            if match:
                start, end = (_seconds(match.groups()[i : i + 4]) for i in (0, 4))
                text = html.unescape(" ".join(lines[number + 1 :])).strip()
                voice = _VOICE.search(text)
                if end > start and text:
                    yield start, end, text, voice[1].strip() if voice else None
                break


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _id_of(clip: Path, root: Path) -> str:
    return clip.relative_to(root).as_posix() if clip.is_relative_to(root) else clip.as_posix()


def _split_of(clip: Path, root: Path) -> str:
    """The name of the topmost folder below the root, if it is a split's."""
    first = clip.relative_to(root).parts[0].lower() if clip.is_relative_to(root) else ""
    return first if first in SPLIT_NAMES else ""
