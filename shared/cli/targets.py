"""Where results go, worked out for all inputs before the first is read, so that no two ever share a file.

talk.mp3 becomes talk.srt, which is where players look. Where two inputs of a run would meet, the whole name stays
(talk.mp3.srt, talk.wav.srt); where that is not enough, so do the folders that tell them apart. What is there already is
never written over unasked: the next sound that is piped in gets stdin-2.srt.
"""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from shared.cli.inputs import Input, media_suffixes
from shared.errors import UserError
from shared.system.command import system_words
from shared.system.files import write_bytes
from shared.transcript import Transcript, as_bytes

PLAIN, WHOLE_NAME, FOLDERS, FOLDERS_AND_NAME, NUMBERED = range(5)  # how much of an input's name is kept


@dataclass(frozen=True)
class Job:
    """An input and the files to write for it, in the order of the formats; none if the text goes to the screen.

    kept: those of them that are there already and stay as they are.
    """

    input: Input
    targets: tuple[Path, ...]
    kept: frozenset[Path] = frozenset()

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has written them all."""
        return bool(self.targets) and self.kept == set(self.targets)

    @property
    def is_older(self) -> bool:
        """Whether what is kept was written before the recording, so that it may be another's."""
        path = self.input.path
        return path is not None and not self.input.is_stream and any(
            os.stat(one).st_mtime < os.stat(path).st_mtime for one in self.kept)


def planned(inputs: Sequence[Input], output: Path | None, formats: Sequence[str], overwrite: bool) -> list[Job]:
    """A job for each input; no two have a target in common, and none has an input for a target."""
    if not overwrite:
        inputs = [_unused(one, output, formats) for one in inputs]
    depth = [PLAIN if overwrite else _first_depth(one, output, formats) for one in inputs]
    taken = {_key(one.path) for one in inputs if one.path is not None}
    apart = _apart(inputs)
    while True:
        targets = [_targets(one, apart[i], output, formats, depth[i], i) for i, one in enumerate(inputs)]
        keys = [[_key(path) for path in paths] for paths in targets]
        counts = Counter(key for one in keys for key in one)
        meeting = [i for i, one in enumerate(keys)
                   if depth[i] < NUMBERED and any(counts[key] > 1 or key in taken for key in one)]
        if not meeting:
            return [Job(one, tuple(paths), frozenset() if overwrite else frozenset(filter(os.path.isfile, paths)))
                    for one, paths in zip(inputs, targets, strict=True)]
        for i in meeting:
            depth[i] += 1


def unwritable(job: Job) -> str | None:
    """Why a job's files cannot be written, asked of the system before any work; None if they can."""
    for path in job.targets:
        if path in job.kept:
            continue
        try:
            if os.path.isdir(path):
                return _reason(f"{path} is a folder")
            there = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
            if not there.is_dir():
                return _reason(f"{there} is a file, not a folder")
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            return _reason(system_words(error))
        try:
            os.lstat(path)  # the name itself: its length, its letters
        except FileNotFoundError:
            continue
        except OSError as error:
            return _reason(system_words(error))
    return None


def write(job: Job, transcript: Transcript, formats: Sequence[str]) -> None:
    """Each file appears whole or not at all; what is kept stays. Raises UserError."""
    for path, name in zip(job.targets, formats, strict=True):
        if path in job.kept:
            continue
        try:
            write_bytes(path, as_bytes(transcript, name))
        except OSError as error:
            raise UserError("The result cannot be written", got=system_words(error),
                            hint="choose another folder with --output") from error


def _reason(got: str) -> str:
    return str(UserError("The result could not be written there", got=got, hint="choose another folder with --output"))


def _targets(one: Input, apart: Path, output: Path | None, formats: Sequence[str], depth: int, number: int
             ) -> list[Path]:
    folder = one.folder if output is None else output / (apart if depth >= FOLDERS else one.below)
    name = one.stem if depth in (PLAIN, FOLDERS) else one.stem + one.suffix
    name += f"-{number + 1}" if depth == NUMBERED else ""
    return [folder / f"{name}.{form}" for form in formats]


def _unused(one: Input, output: Path | None, formats: Sequence[str]) -> Input:
    """A pipe or standard input under the first name that is free: an earlier run's was other sound."""
    if not one.is_stream or one.is_link:
        return one
    stems = (one.stem if n == 1 else f"{one.stem}-{n}" for n in count(1))
    return next(named for named in (replace(one, stem=stem) for stem in stems) if not any(
        os.path.lexists(path) for path in _targets(named, Path(), output, formats, PLAIN, 0)))


def _first_depth(one: Input, output: Path | None, formats: Sequence[str]) -> int:
    """The whole name from the start where the plain one is there already and may be another recording's.

    A recording of the same stem that is not part of this run lies beside this one: its result must not be taken for
    this one's.
    """
    if one.path is None or one.is_stream or not any(
            os.path.exists(path) for path in _targets(one, Path(), output, formats, PLAIN, 0)):
        return PLAIN
    suffixes = media_suffixes()
    siblings = [name for name in os.listdir(one.path.parent) if os.path.splitext(name)[0] == one.stem
                and name != one.path.name and os.path.splitext(name)[1].lower() in suffixes]
    return WHOLE_NAME if siblings else PLAIN


def _apart(inputs: Sequence[Input]) -> list[Path]:
    """For each input the folders below what the paths of all have in common."""
    parents = [None if one.path is None or one.is_stream else one.path.absolute().parent for one in inputs]
    known = [str(parent) for parent in parents if parent is not None]
    common = Path(os.path.commonpath(known)) if known and len({Path(name).anchor for name in known}) == 1 else Path("/")
    return [Path() if parent is None else parent.relative_to(common) for parent in parents]


def _key(path: Path) -> str:
    """Equal for names that some file system takes for one: case and the form of accents are ignored."""
    return unicodedata.normalize("NFC", os.path.abspath(path)).casefold()
