"""A transcript that a page hands back: its text in every format, and a small copy of the sound for the player.

Enters: an Answer and the audio it was read from. Leaves: a Result, which its owner finds again (`server.kept`) and may
change. Knows nothing of components.
"""

from __future__ import annotations

import shutil
import threading
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from shared.audio import write_mp3
from shared.errors import UserError
from shared.serving import Answer
from shared.system.files import write_bytes
from shared.transcript import FORMATS, Transcript, as_bytes
from shared.ui.server import kept
from shared.ui.server.kept import Kept, new_folder, safe_name
from shared.ui.server.messages import without_paths

MAX_UNDO = 30  # changes that can be taken back
_former: dict[str, list[Transcript]] = {}  # by id: what can be brought back, the newest last
_zips: dict[Path, set[str]] = {}  # which results are in a zip's folder


@dataclass(frozen=True, kw_only=True)
class Result(Kept):
    """answer: the transcript, and how it came about. files: one per format. version: counts changes.

    task: "translate" where the text is not in the language that is spoken.
    """

    KIND: ClassVar[str] = "transcript"

    answer: Answer
    files: tuple[Path, ...]
    player: Path | None  # MP3
    version: int = 0
    task: str = "transcribe"

    @property
    def duration(self) -> float:
        return self.answer.transcript.duration

    @property
    def text(self) -> str:
        return self.answer.transcript.text

    @property
    def subtitles(self) -> Path:
        return next(path for path in self.files if path.suffix == ".vtt")

    def dropped(self) -> None:
        """Every zip with its files in it goes too."""
        _former.pop(self.id, None)
        for folder in [folder for folder, ids in _zips.items() if self.id in ids]:
            del _zips[folder]
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Recording:
    """What was read: a file from start to end (seconds; None for its end), and the task that was asked for."""

    path: str | Path
    start: float = 0.0
    end: float | None = None
    task: str = "transcribe"


def make(answer: Answer, source: Recording, name: str | None = None, *, cancel: threading.Event | None = None,
         owner: str | None = None) -> Result:
    """Write an answer's files, and what was read as an MP3 for the player.

    name: what the files are called, else as the source. owner: who finds it again. Raises UserError, Cancelled.
    """
    warnings = tuple(map(without_paths, answer.transcript.warnings))
    answer = replace(answer, transcript=replace(answer.transcript, warnings=warnings))
    with new_folder() as folder:
        mp3 = folder / "player.mp3"
        player = mp3 if write_mp3(source.path, mp3, start=source.start, end=source.end, cancel=cancel) else None
        stem = safe_name(name or Path(source.path).name)
        return kept.keep(Result(name=stem, folder=folder, owner=owner, answer=answer, player=player, task=source.task,
                                files=write_formats(answer, folder, stem)))


def write_formats(answer: Answer, folder: Path, stem: str) -> tuple[Path, ...]:
    """The transcript in every format, as stem.txt and so on."""
    paths = []
    for kind in FORMATS:
        paths.append(folder / f"{stem}.{kind}")
        write_bytes(paths[-1], as_bytes(answer.transcript, kind))
    return tuple(paths)


def now(result: Result) -> Result:
    """A result with all changes since. Raises UserError for one that is gone."""
    return kept.get(result.id, result.owner, Result)


def change(result: Result, transcript: Transcript) -> Result:
    """Put another transcript in a result's place, in all of its files. Raises UserError if it changed meanwhile."""
    with kept.lock:
        if now(result).version != result.version:
            raise UserError("The text was changed in another window meanwhile", hint="look at it, and change it again")
        former = _former.setdefault(result.id, [])
        former.append(result.answer.transcript)
        del former[:-MAX_UNDO]
        return _written(result, transcript)


def undo(result: Result) -> Result:
    """Take the last change back. Raises UserError if there is none."""
    with kept.lock:
        former = _former.get(result.id)
        if not former:
            raise UserError("There is nothing to take back", hint="go on")
        return _written(now(result), former.pop())


def can_undo(result: Result) -> bool:
    return bool(_former.get(result.id))


def zip_of(made: list[Result]) -> Path:
    """Every file of several results in one zip; equal names are told apart by a number."""
    taken: set[str] = set()
    with new_folder() as folder, zipfile.ZipFile(folder / "transcripts.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for result in made:
            stem, number = result.name, 2
            while stem.casefold() in taken:
                stem, number = f"{result.name} ({number})", number + 1
            taken.add(stem.casefold())
            for path in result.files:
                archive.write(path, f"{stem}{path.suffix}")
    with kept.lock:
        _zips[folder] = {result.id for result in made}
    return folder / "transcripts.zip"


def _written(result: Result, transcript: Transcript) -> Result:
    answer = replace(result.answer, transcript=transcript)
    files = write_formats(answer, result.folder, result.name)
    return kept.keep(replace(result, answer=answer, files=files, version=result.version + 1))
