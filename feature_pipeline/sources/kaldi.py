"""Kaldi-style lists: `<id> <path>` in one file, `<id> <text>` in another, optionally speakers and segments.

Looked for in the folder itself, or in its train, dev, test folders: `audio_paths.txt` or `wav.scp`, `text.txt` or
`text`, and where they are there `utt2spk` (id, speaker) and `segments` (id, recording, start, end).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from feature_pipeline.rows import SPLIT_NAMES, AudioRef, Row, stamp
from feature_pipeline.settings import Language
from feature_pipeline.sources.audio_files import AudioFiles
from shared.errors import UserError
from shared.tables import lines_of

AUDIO_LISTS = ("audio_paths.txt", "wav.scp")
TEXT_LISTS = ("text.txt", "text")


@dataclass(frozen=True)
class Kaldi:
    """Kaldi-style lists."""

    path: str
    language: Language

    def provenance(self) -> dict[str, object]:
        return {}

    def stamp(self) -> str:
        return stamp(path for home, _ in self._homes() for path in sorted(home.iterdir()) if path.is_file())

    def rows(self) -> Iterator[Row]:
        for home, split in self._homes():
            audio = self._audio(home)
            speakers = self._optional(home / "utt2spk")
            segments = self._segments(home / "segments", audio)
            with_text = set()
            for where, key, text in self._pairs(_first(home, TEXT_LISTS)):
                ref = segments.get(key) or audio.get(key)
                if ref is None:
                    raise UserError("A text has no audio", got=f"{key} in {home.name}, {where}",
                                    hint="add it to the audio list or remove the text")
                with_text.add(key)
                yield Row(key, ref, text, self.language, speakers.get(key), split)
            for key, ref in (segments or audio).items():
                if key not in with_text:  # counted as a row without text
                    yield Row(key, ref, "", self.language, speakers.get(key), split)

    def _pairs(self, path: Path) -> Iterator[tuple[str, str, str]]:
        """(where, key, rest) of each line; blanks of any kind part them."""
        for where, line in lines_of(path, self.language):
            key, *rest = line.split(None, 1)
            yield where, key, rest[0].strip() if rest else ""

    def _optional(self, path: Path) -> dict[str, str]:
        return {key: value for _, key, value in self._pairs(path)} if path.is_file() else {}

    def _audio(self, home: Path) -> dict[str, AudioRef]:
        files = AudioFiles(home)
        found: dict[str, AudioRef] = {}
        for where, key, value in self._pairs(_first(home, AUDIO_LISTS)):
            if value.endswith("|"):
                raise UserError("A list names a command instead of a file", got=f"{where}: {value[:60]}",
                                hint="write the audio to files first; commands from a list are not run")
            if not value or key in found or "\0" in value:
                raise UserError("An id is there twice" if key in found else "An id has no file",
                                got=f"{key} in {where}", hint="correct the list")
            found[key] = AudioRef.file(files.find(value, where))
        return found

    def _segments(self, path: Path, audio: Mapping[str, AudioRef]) -> dict[str, AudioRef]:
        """The parts of recordings, where a list cuts them."""
        found = {}
        for where, key, value in self._pairs(path) if path.is_file() else ():
            recording, *times = value.split()
            try:
                start, end = map(float, times)
            except ValueError:
                raise UserError("A segment must be: id, recording, start, end", got=f"{where}: {value[:60]}",
                                hint="correct the list; times are in seconds") from None
            whole = audio[recording].path if recording in audio else None
            if whole is None or not 0 <= start < math.inf or 0 <= end <= start:
                raise UserError("A segment has no recording, or ends before it begins", got=f"{where}: {value[:60]}",
                                hint="correct the list")
            found[key] = AudioRef.file(whole, start, end if 0 <= end < math.inf else None)  # -1: to the file's end
        return found

    def _homes(self) -> list[tuple[Path, str | None]]:
        root = Path(self.path).expanduser()
        if _has_lists(root):
            return [(root, None)]
        homes: list[tuple[Path, str | None]] = [
            (root / name, split) for name, split in SPLIT_NAMES.items() if _has_lists(root / name)]
        if not homes:
            raise UserError("The folder holds no Kaldi lists", got=self.path,
                            hint=f"it, or its train, dev, test, needs {AUDIO_LISTS[0]} and {TEXT_LISTS[0]}")
        return homes


def _has_lists(folder: Path) -> bool:
    return all(any((folder / name).is_file() for name in names) for names in (AUDIO_LISTS, TEXT_LISTS))


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    return next(folder / name for name in names if (folder / name).is_file())
