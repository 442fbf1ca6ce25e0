"""What a corpus gives: rows of audio and text, whatever its layout was.

A row refers to its audio without decoding it, so listing a corpus costs no more than reading its tables, and rows
may be handed to other processes. Knows nothing of any corpus, of cleaning or of Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

SPLITS = ("train", "validation", "test")
PERSONAL = ("age", "gender", "accent", "accents", "variant", "sex", "client_id")  # dropped unless asked for
AUDIO_SUFFIXES = frozenset(
    ".wav .mp3 .flac .ogg .oga .opus .m4a .mp4 .aac .webm .mkv .mov .wma .aiff .aif .g722 .gsm .amr .3gp .caf .au".split()
)


@dataclass(frozen=True)
class AudioRef:
    """Where a row's sound is: a file, or bytes already in hand; `start` and `end` (seconds) cut a part out of it."""

    name: str  # a file name; its suffix tells how to read what has no header
    path: Path | None = None
    data: bytes | None = None
    start: float = 0.0
    end: float | None = None

    @classmethod
    def file(cls, path: Path, start: float = 0.0, end: float | None = None) -> AudioRef:
        return cls(path.name, path=path, start=start, end=end)

    @property
    def is_part(self) -> bool:
        return self.start > 0 or self.end is not None

    def read(self) -> bytes:
        """The file's bytes (the whole file's, also for a part). Raises OSError."""
        return self.data if self.data is not None else self.path.read_bytes()


@dataclass(frozen=True)
class Row:
    """One utterance. `id` is unique within its corpus and the same in every run."""

    id: str
    audio: AudioRef
    text: str
    language: str  # ISO 639-1
    speaker: str | None = None  # None: not known
    split: str | None = None  # the corpus's own split, one of SPLITS; None: it has none
    extras: Mapping[str, object] = field(default_factory=dict)  # further columns by name


class Corpus(Protocol):
    """What every file in `sources/` defines: a frozen dataclass of options with these two methods."""

    def rows(self) -> Iterator[Row]:
        """The rows, in an order that is the same in every run. Raises UserError."""

    def provenance(self) -> dict[str, object]:
        """Where the rows come from: archives with their SHA-256, a revision, a licence. Changes when they do."""
