"""The cache: where folders are kept that are made once (joined and converted weights, unpacked corpora).

Enters: a name and what fills the folder. Leaves: the folder, whole; a list of what is kept, with what may go. Only
folders that were made here are ever removed: beside each lies the list of its files, and it holds no other file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from shared.errors import UserError
from shared.system.cache_locks import alone, keep, use_of
from shared.system.files import files_below, full_disk_as_user_error, whole_folder, write_text

END_BYTES = 1 << 14


def cache_folder() -> Path:
    """Where made folders are kept: $WHISPER_SPACES_CACHE, or `whisper-spaces` in the user's cache.

    Raises UserError for a user without a home.
    """
    chosen = os.environ.get("WHISPER_SPACES_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    try:
        if sys.platform == "win32":
            home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            home = Path.home() / "Library" / "Caches"
        else:
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:  # neither HOME nor an entry in the list of users
        raise _no_cache(error) from None
    return home / "whisper-spaces"


def _no_cache(got: object) -> UserError:
    return UserError("The cache cannot be written", got=got,
                     hint="set WHISPER_SPACES_CACHE to a folder that can be written")


def made_once(name: str, build: Callable[[Path], None], root: Path | None = None, *, of: Sequence[Path] = ()) -> Path:
    """The cache's folder `name`, filled by `build` if it is not there or not whole any more.

    It appears whole or not at all, and a list of its files, their sizes and their ends is kept beside it: a folder that
    lost a file, or a part of one, or that a power cut left full of zeros, is made again. A lock, which dies with its
    process, keeps a second process waiting. While this process lives nobody removes the folder (`remove`).

    Args:
        name: of the folder, within the cache: what it is, a hyphen, and which.
        build: fills the empty folder it is given.
        root: where the folder lies, in place of the cache: for what only one visitor may have.
        of: the folders it is made of. What was made of them before under another name is removed, since they are not
            any more what they were, or are converted in another way now.

    Raises:
        UserError: the cache cannot be written, or the disk is full; and what `build` raises.
    """
    folder = (root or cache_folder()) / name
    if root is None:
        keep(folder)
    if _is_whole(folder):
        _note_sources(folder, of if root is None else ())
        return folder
    with contextlib.ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder.parent / f"{name}.lock"))
        except OSError as error:
            raise _no_cache(error) from error
        if _is_whole(folder):
            return folder
        with full_disk_as_user_error(name), whole_folder(folder) as unfinished:
            try:
                unfinished.mkdir()
            except OSError as error:
                raise _no_cache(error) from error
            build(unfinished)
            for kind, mark in MARKS.items():
                write_text(_list_of(folder, kind), json.dumps(_marks(unfinished, mark)))
    if root is None:
        keep(folder)  # again: the cache may have been made only now
        _note_sources(folder, of)
        _remove_replaced(name)
    return folder


def _remove_replaced(name: str) -> None:
    """What this folder took the place of. What is in use stays; the next to be made removes it, or a person."""
    for entry in entries():
        if entry.replaced_by == name:
            remove(entry)


def _size(path: Path) -> int:
    return path.stat().st_size


def _ends(path: Path) -> str:
    """A digest of a file's first and last bytes: what a power cut spoils is seen without reading gigabytes."""
    with path.open("rb") as file:
        ends = file.read(END_BYTES)
        file.seek(max(0, _size(path) - END_BYTES))
        ends += file.read(END_BYTES)
    return hashlib.sha256(ends).hexdigest()[:16]


# Lists that are kept beside a folder. Earlier versions know the first only, and the same cache may serve both.
MARKS: dict[str, Callable[[Path], int | str]] = {"files": _size, "ends": _ends}


def _list_of(folder: Path, kind: str) -> Path:
    return folder.parent / f"{folder.name}.{kind}.json"


def _marks(folder: Path, mark: Callable[[Path], int | str]) -> dict[str, int | str]:
    return {path.relative_to(folder).as_posix(): mark(path) for path in folder.rglob("*") if path.is_file()}


def _is_whole(folder: Path) -> bool:
    """Whether every file that was made is there as it was made."""
    try:
        for kind, mark in MARKS.items():
            path = _list_of(folder, kind)
            if kind != "files" and not path.exists():
                continue
            listed = json.loads(path.read_text(encoding="utf-8"))
            if not listed or any(mark(folder / name) != found for name, found in listed.items()):
                return False
        return True
    except (OSError, ValueError, AttributeError):  # not there, or the list itself is damaged
        return False


VERSION = re.compile(r"(.+-v)(\d+)")


@dataclass(frozen=True)
class Entry:
    """A folder of the cache that was made here, or what a process left that ended while it made one.

    Attributes:
        folder: where it lies.
        n_bytes: of its files.
        used: when it was last asked for, in seconds since 1970; by versions before 0.2.0: when it was made.
        made_ns: when it was made, in nanoseconds since 1970.
        sources: the folders it was made of, as far as known.
        replaced_by: the name of the one that took its place.
        reason: why nothing makes use of it any more; None where something may.
    """

    folder: Path
    n_bytes: int
    used: float
    made_ns: int
    sources: tuple[str, ...] = ()
    replaced_by: str | None = None
    reason: str | None = None


def entries(root: Path | None = None) -> list[Entry]:
    """What is kept in the cache, by name.

    Args:
        root: in place of the cache.

    Returns:
        Folders that were made here, and unfinished ones; nothing that somebody else put there.
    """
    root = root or cache_folder()
    made, unfinished = [], []
    for folder in sorted(root.glob("*")):
        with contextlib.suppress(FileNotFoundError):  # another process removes it just now, or has finished it
            if folder.name.startswith(".") and folder.name.endswith(".unfinished") and folder.is_dir():
                reason, state = "left by a process that was ended", folder.stat()
                unfinished.append(Entry(folder, _n_bytes(folder), state.st_mtime, state.st_mtime_ns, reason=reason))
            elif folder.is_dir() and not folder.is_symlink() and _list_of(folder, "files").is_file():
                made.append(_entry(folder))
    return [*_judged(made), *unfinished]


def remove(entry: Entry) -> str | None:
    """Remove a folder of the cache with all that lies beside it for it; at once or, where it is used, not at all.

    Args:
        entry: one of `entries`.

    Returns:
        Why it stays, as the end of a sentence; None where it is gone.
    """
    folder = entry.folder
    name = folder.name.removeprefix(".").removesuffix(".unfinished") if folder.name.startswith(".") else folder.name
    try:
        with FileLock(folder.parent / f"{name}.lock", timeout=0), alone(folder) as is_alone:
            if not is_alone:
                return "a running program may read it"
            strange = [] if folder.name.startswith(".") else _not_made_here(folder)
            if strange:
                return f"it holds files that were not made here, such as {strange[0]}"
            gone = folder.parent / f".{name}.unfinished"  # so that half of it is never taken for the whole
            if gone != folder:
                os.replace(folder, gone)
            shutil.rmtree(gone)
            if gone != folder:
                for kind in (*MARKS, "of"):
                    _list_of(folder, kind).unlink(missing_ok=True)
                use_of(folder).unlink(missing_ok=True)
    except Timeout:
        return "a running program is making it"
    except OSError as error:
        return error.strerror or str(error)
    return None  # its empty .lock stays: somebody may be waiting for it


def _entry(folder: Path) -> Entry:
    try:
        sources = tuple(json.loads(_list_of(folder, "of").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        sources = ()
    use, made = use_of(folder), _list_of(folder, "files").stat()
    used = use.stat().st_mtime if use.exists() else made.st_mtime
    return Entry(folder, _n_bytes(folder), used, made.st_mtime_ns, sources)


def _judged(found: Sequence[Entry]) -> list[Entry]:
    """Each with the reason for which nothing makes use of it, if there is one."""
    judged = []
    for one in found:
        newer = max((other for other in found if _replaces(other, one)), key=_age, default=None)
        gone = next((source for source in one.sources if not Path(source).exists()), None)
        if newer is not None:
            one = replace(one, replaced_by=newer.folder.name, reason=f"{newer.folder.name} took its place")
        elif gone is not None:
            one = replace(one, reason=f"what it was made of is gone: {gone}")
        judged.append(one)
    return judged


def _replaces(new: Entry, old: Entry) -> bool:
    """Whether one is what the present program makes in the place of the other."""
    versions = VERSION.fullmatch(new.folder.name), VERSION.fullmatch(old.folder.name)
    if versions[0] is not None and versions[1] is not None:
        return versions[0][1] == versions[1][1] and int(versions[0][2]) > int(versions[1][2])
    kinds = [one.folder.name.rpartition("-")[0] for one in (new, old)]
    return bool(old.sources) and new.sources == old.sources and kinds[0] == kinds[1] and _age(new) > _age(old)


def _age(entry: Entry) -> tuple[int, int]:
    """More for what is newer: its version, and when it was made."""
    version = VERSION.fullmatch(entry.folder.name)
    return 0 if version is None else int(version[2]), entry.made_ns


def _note_sources(folder: Path, of: Sequence[Path]) -> None:
    path, text = _list_of(folder, "of"), json.dumps([str(source.absolute()) for source in of])
    with contextlib.suppress(OSError, UserError):  # a cache that can only be read serves as it is
        if of and not (path.is_file() and path.read_text(encoding="utf-8") == text):
            write_text(path, text)


def _not_made_here(folder: Path) -> list[str]:
    try:
        listed = json.loads(_list_of(folder, "files").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        listed = {}
    return sorted(name for name in _marks(folder, lambda path: 0) if name not in listed)


def _n_bytes(folder: Path) -> int:
    return sum(state.st_size for _, state in files_below(folder))
