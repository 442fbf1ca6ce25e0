"""Where made things are kept (joined and converted weights), and how they appear there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from shared.errors import UserError

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


def made_once(name: str, build: Callable[[Path], None], root: Path | None = None) -> Path:
    """The cache's folder `name`, filled by `build` if it is not there or not whole any more.

    It appears whole or not at all, and a list of its files, their sizes and their ends is kept beside it: a folder that
    lost a file, or a part of one, or that a power cut left full of zeros, is made again. A lock, which dies with its
    process, keeps a second process waiting.

    Args:
        name: of the folder, within the cache.
        build: fills the empty folder it is given.
        root: where the folder lies, in place of the cache: for what only one visitor may have.

    Raises:
        UserError: the cache cannot be written, or the disk is full; and what `build` raises.
    """
    folder = (root or cache_folder()) / name
    if _is_whole(folder):
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
    return folder


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


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A path to make a folder at; it takes the place of `folder` only when the block ends well."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; the file gets its own name, on disk for good, only when the block ends well.

    A full disk becomes a UserError; nothing half-written stays.
    """
    # Not longer than the name itself may be: a name of 255 bytes is allowed.
    draft = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.{os.getpid()}.draft")
    try:
        with full_disk_as_user_error(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(draft, path)
            _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_as_user_error(what: str) -> Iterator[None]:
    """Turns a full disk, here, under a database or in a library's own words, into a UserError that names `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        elif isinstance(error, sqlite3.OperationalError):
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
        else:
            full = os.strerror(errno.ENOSPC) in str(error)
        if not full:
            raise
        raise UserError("The disk is full", got=f"{error} while working on {what}",
                        hint="make room and run the same command again: it goes on where it stopped") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises UserError for a full disk, OSError."""
    with whole_file(path) as draft:
        draft.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Raises UserError for a full disk, OSError."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the content of each file, by its name."""
    found = {}
    for path in paths:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its rename is durable enough
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
