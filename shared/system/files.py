"""How files and folders appear: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.errors import UserError


def files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Files below a folder that others may be removing: what goes meanwhile is left out, where `rglob` would fail.

    Args:
        folder: need not exist.

    Yields:
        Each regular file, at any depth, with its state; links are not followed.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(FileNotFoundError):
                state = path.lstat()
                if stat.S_ISREG(state.st_mode):
                    yield path, state


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
