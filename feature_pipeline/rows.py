"""What a corpus gives: rows of audio and text, whatever its layout was.

A row refers to its audio without decoding it, so listing a corpus costs no more than reading its tables, and rows
may be handed to other processes. Knows nothing of any corpus, of cleaning or of Parquet.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared.errors import UserError

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {**{name: name for name in SPLITS}, "dev": "validation", "valid": "validation", "val": "validation",
               "training": "train", "eval": "test", "evaluation": "test", "testing": "test"}  # as corpora call them


@dataclass(frozen=True)
class AudioRef:
    """Where a row's audio is: a file, a member of a .zip, or bytes in memory; `start`, `end` (s) cut out a part."""

    name: str  # a file name; its suffix tells how to read what has no header
    path: Path | None = None
    member: str | None = None  # of the .zip at `path`
    data: bytes | None = None
    start: float = 0.0
    end: float | None = None

    @classmethod
    def file(cls, path: Path, start: float = 0.0, end: float | None = None) -> AudioRef:
        return cls(path.name, path=path, start=start, end=end)

    @classmethod
    def within_zip(cls, archive: Path, member: str) -> AudioRef:
        return cls(member.rsplit("/", 1)[-1], path=archive, member=member)

    @property
    def is_part(self) -> bool:
        return self.start > 0 or self.end is not None

    def read(self) -> bytes:
        """The file's bytes (the whole file's, also for a part). Raises OSError, or UserError for a damaged archive."""
        if self.data is not None:
            return self.data
        assert self.path is not None  # without data there is a file
        if self.member is None:
            return self.path.read_bytes()
        try:
            with zipfile.ZipFile(self.path) as bundle:
                return bundle.read(self.member)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError("A clip cannot be read from its archive", got=f"{self.path.name}: {error}",
                            hint="fetch the archive again") from None


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
    """What every file in `sources/` defines: a frozen dataclass of options with these methods."""

    def rows(self) -> Iterator[Row]:
        """The rows, in an order that is the same in every run. Raises UserError."""

    def provenance(self) -> dict[str, object]:
        """Where the rows come from: archives with their SHA-256, a revision, a licence. Changes when they do."""

    def stamp(self) -> str:
        """Changes when a file of the corpus does; never leaves this machine. A build goes on only with the same one."""


def stamp(paths: Iterable[Path]) -> str:
    """The `stamp` of a corpus that consists of files: their names, sizes and times."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
