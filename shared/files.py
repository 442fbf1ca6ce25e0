"""Where made things are kept (joined and converted weights), and how they appear there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from shared.errors import UserError


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


def made_once(name: str, build: Callable[[Path], None]) -> Path:
    """The cache's folder `name`, filled by `build` if it is not there.

    It appears whole or not at all: it is filled under another name, then renamed. The lock, which dies with its
    process, keeps a second process waiting; what a killed one left is cleared away. Raises UserError for a cache that
    cannot be written, and what `build` raises.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    lock, unfinished = FileLock(folder.parent / f"{name}.lock"), folder.parent / f"{name}.unfinished"
    with contextlib.ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        except OSError as error:
            raise _no_cache(error) from error
        if folder.is_dir():
            return folder
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir()
        except OSError as error:
            raise _no_cache(error) from error
        try:
            build(unfinished)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; the file gets its own name, on disk for good, only when the block ends well.

    A full disk becomes a UserError; nothing half-written stays.
    """
    # Not longer than the name itself may be: a name of 255 bytes is allowed.
    draft = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.{os.getpid()}.draft")
    try:
        with full_disk_said(path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(draft, path)
            _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_said(what: str) -> Iterator[None]:
    """Turns a full disk, here or under a database, into a UserError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        full = (error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if isinstance(error, OSError)
                else error.sqlite_errorcode == sqlite3.SQLITE_FULL)
        if not full:
            raise
        raise UserError("The disk is full", got=f"{error} while working on {what}",
                        hint="make room and run the same command again: it goes on where it stopped") from error


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its rename is durable enough
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
