"""Which recordings a person means: files, folders, globs, links, pipes and standard input, each once, in order.

Opens none of them but what must be copied or fetched first (`as_file`).
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.errors import UserError
from shared.system.command import system_words
from shared.system.temporary import temporary_folder
from shared.transcript import FORMATS

MAX_STREAM_BYTES = 4_000_000_000  # from a pipe or standard input, on disk while it is read
LINK_MAX_SECONDS, LINK_MAX_BYTES = 6 * 3600, 2_000_000_000
COPY_BYTES = 1 << 20
MAX_STEM = 80  # letters of a link's address in the name of its result
LOST_LINK = "The link names a file that is not there"


@dataclass(frozen=True)
class Input:
    """One recording.

    shown: as messages name it. path: None for a link and for standard input. is_stream: no file that can be read
    twice. folder: where results go if no other is named. below: folders between the folder that was named and the
    file. stem, suffix: the name in two parts.
    """

    shown: str
    path: Path | None
    is_stream: bool
    folder: Path
    below: Path
    stem: str
    suffix: str

    @property
    def is_link(self) -> bool:
        return self.path is None and self.shown != "-"


@dataclass(frozen=True)
class Failure:
    """An input that could not be done, and why."""

    shown: str
    reason: str


def find_inputs(named: Sequence[str]) -> tuple[list[Input], list[Failure]]:
    """Every recording meant, and the folders and links that could not be read.

    A file that two links name is two recordings: each gets its own result. Folders are followed once.

    Raises UserError for a path that is not there, and for a folder or glob without recordings.
    """
    found: dict[str, Input] = {}
    failures: list[Failure] = []
    for name in named:
        for one in _named(name, failures):
            found.setdefault(one.shown if one.path is None or one.is_stream else
                             str(one.path.parent.resolve() / one.path.name), one)
    return list(found.values()), failures


def as_file(one: Input, stack: ExitStack, progress: Callable[[float | None, str], None] | None = None) -> Path:
    """A file with the sound of an input: itself, or a copy of a stream or link that goes when the stack closes.

    Raises UserError.
    """
    if one.path is not None and not one.is_stream:
        return one.path
    folder = stack.enter_context(temporary_folder("transcribe-"))
    if one.is_link:
        from shared.link import download

        return download(one.shown, folder, max_seconds=LINK_MAX_SECONDS, max_bytes=LINK_MAX_BYTES, progress=progress)
    if one.shown == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UserError("Nothing is piped into standard input", hint="pipe a recording into it, or name a file")
    copy, n_bytes = folder / "stream", 0
    source = sys.stdin.buffer if one.path is None else stack.enter_context(one.path.open("rb"))
    with copy.open("wb") as file:
        while block := source.read(COPY_BYTES):
            n_bytes += len(block)
            if n_bytes > MAX_STREAM_BYTES:
                raise UserError("The stream is too long", got=f"more than {MAX_STREAM_BYTES // 10**9} GB",
                                limit=f"{MAX_STREAM_BYTES // 10**9} GB", hint="save it as a file and name that")
            file.write(block)
    return copy


def media_suffixes() -> frozenset[str]:
    """Endings of the files that ffmpeg reads, as in ".mp3"."""
    from shared.audio import MEDIA_SUFFIXES  # half a second: NumPy

    return MEDIA_SUFFIXES


def _named(name: str, failures: list[Failure]) -> Iterator[Input]:
    if name == "-":
        yield Input("-", None, True, Path(), Path(), "stdin", "")
        return
    if name.startswith(("http://", "https://")):
        stem = re.sub(r"\W+", "-", name.split("//", 1)[1]).strip("-")
        if len(stem) > MAX_STEM:  # cut, it could be another address's
            stem = f"{stem[:MAX_STEM]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        yield Input(name, None, True, Path(), Path(), stem, "")
        return
    _check_name(name)
    path = Path(name)
    if _is_stream(path):
        number = re.search(r"/fd/(\d+)$", name)
        stem = "stdin" if name == "/dev/stdin" or (number and number[1] == "0") else (
            f"pipe-{number[1]}" if number else path.name)
        yield Input(name, path, True, Path() if number or name == "/dev/stdin" else path.parent, Path(), stem, "")
        return
    roots = [path] if os.path.exists(path) else [Path(match) for match in sorted(glob.glob(name, recursive=True))]
    if not roots:
        raise UserError("There is no such file or folder", got=name, hint="check the path" if name not in FORMATS else
                        "formats are joined by a comma, as in --format srt,txt")
    n_before, n_found = len(failures), 0
    for root in roots:
        for file in [root] if root.is_file() else _recordings(root, failures):
            n_found += 1
            below = file.parent.relative_to(root) if root.is_dir() else Path()
            yield Input(str(file), file, False, file.parent, below, *_split(file.name))
    if not n_found and len(failures) == n_before:
        endings = " ".join(sorted(media_suffixes()))
        raise UserError("No recordings were found", got=name, limit=f"files that end in {endings}",
                        hint="check the folder, or name a file with another ending by itself")


def _check_name(name: str) -> None:
    if not name.strip():  # as a path it would be the folder one is in, with all that is below it
        raise UserError("An empty name was given for a recording", hint="a variable of the shell may not be set")
    if os.path.islink(name) and not os.path.exists(name):
        raise UserError(LOST_LINK, got=f"{name} → {os.readlink(name)}", hint="get the file that it names")


def _is_stream(path: Path) -> bool:
    """A pipe or device: `<(…)`, a FIFO, /dev/stdin whatever it is redirected from."""
    try:
        return path.is_fifo() or path.is_char_device() or path.is_socket() or ((
            str(path) == "/dev/stdin" or bool(re.fullmatch(r"/(dev|proc/(self|\d+))/fd/\d+", str(path)))
        ) and path.exists())
    except OSError:  # a name that the system cannot look up; it is reported as missing
        return False


def _recordings(root: Path, failures: list[Failure]) -> list[Path]:
    """Files that look like recordings, at any depth; hidden ones are somebody's drafts and indexes."""
    found, suffixes = [], media_suffixes()

    def unreadable(error: OSError) -> None:
        failures.append(Failure(str(error.filename), str(UserError(
            "The folder cannot be read", got=system_words(error), hint="check its rights"))))

    seen = {os.path.realpath(root)}
    for folder, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        kept = []
        for name in sorted(folders, key=lambda name: (os.path.islink(os.path.join(folder, name)), name)):
            real = os.path.realpath(os.path.join(folder, name))
            if not name.startswith(".") and real not in seen:
                kept.append(name)
                seen.add(real)
        folders[:] = kept
        found += [Path(folder, name) for name in names
                  if not name.startswith(".") and Path(name).suffix.lower() in suffixes]
    for path in found:
        if path.is_symlink() and not path.exists():
            failures.append(Failure(str(path), str(UserError(LOST_LINK, got=f"→ {os.readlink(path)}",
                                                             hint="get the file that it names"))))
    return sorted(path for path in found if path.is_file())


def _split(name: str) -> tuple[str, str]:
    """talk.mp3 → talk, .mp3; but "notes of 26.11" has no suffix."""
    stem, suffix = os.path.splitext(name)
    is_suffix = suffix.lower() in media_suffixes() or re.fullmatch(r"\.[A-Za-z][A-Za-z0-9]{0,4}", suffix)
    return (stem, suffix) if is_suffix else (name, "")
