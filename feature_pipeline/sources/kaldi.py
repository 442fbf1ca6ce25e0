"""Kaldi-style lists: `<id> <path>` in one file, `<id> <text>` in another, optionally speakers and segments.

Looked for in the folder itself, or in its train, dev, test folders: `audio_paths.txt` or `wav.scp`, `text.txt` or
`text`, and where they are there `utt2spk` (id, speaker) and `segments` (id, recording, start, end).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from feature_pipeline.rows import SPLIT_NAMES, AudioRef, Row, stamp
from feature_pipeline.settings import Language
from shared.errors import UserError

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
            audio = {key: home / _plain(value, home) for key, value in _pairs(_first(home, AUDIO_LISTS))}
            speakers = dict(_pairs(home / "utt2spk")) if (home / "utt2spk").is_file() else {}
            segments = dict(_pairs(home / "segments")) if (home / "segments").is_file() else None
            for key, text in _pairs(_first(home, TEXT_LISTS)):
                ref = _reference(key, audio, segments, home)
                yield Row(key, ref, text, self.language, speakers.get(key), split)

    def _homes(self) -> list[tuple[Path, str | None]]:
        root = Path(self.path).expanduser()
        if _has_lists(root):
            return [(root, None)]
        homes = [(root / name, split) for name, split in SPLIT_NAMES.items() if _has_lists(root / name)]
        if not homes:
            raise UserError("The folder holds no Kaldi lists", got=self.path,
                            hint=f"it, or its train, dev, test, needs {AUDIO_LISTS[0]} and {TEXT_LISTS[0]}")
        return homes


def _has_lists(folder: Path) -> bool:
    return all(any((folder / name).is_file() for name in names) for names in (AUDIO_LISTS, TEXT_LISTS))


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    return next(folder / name for name in names if (folder / name).is_file())


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.strip():
            key, _, rest = line.strip().partition(" ") if " " in line.strip() else line.strip().partition("\t")
            yield key, rest.strip()


def _plain(value: str, home: Path) -> str:
    if value.endswith("|"):
        raise UserError("A list names a command instead of a file", got=f"{home.name}: {value[:60]}",
                        hint="write the audio to files first; commands from a list are not run")
    return value


def _reference(key: str, audio: dict[str, Path], segments: dict[str, str] | None, home: Path) -> AudioRef:
    recording, times = key, []
    if segments is not None and key in segments:
        recording, *times = segments[key].split()
    if recording not in audio:
        raise UserError("A text has no audio", got=f"{key} in {home.name}",
                        hint="add it to the audio list or remove the text")
    return AudioRef.file(audio[recording], *map(float, times)) if times else AudioRef.file(audio[recording])
