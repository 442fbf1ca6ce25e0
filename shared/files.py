"""Where made things are kept (joined and converted weights), and how they appear there whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def cache_folder() -> Path:
    """Where made folders are kept: $WHISPER_SPACES_CACHE, or `whisper-spaces` in the user's cache."""
    chosen = os.environ.get("WHISPER_SPACES_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "whisper-spaces"


def made_once(name: str, build: Callable[[Path], None]) -> Path:
    """The cache's folder `name`, filled by `build` if it is not there.

    It appears whole or not at all: it is filled under another name, then renamed. The lock, which dies with its
    process, keeps a second process waiting; what a killed one left is cleared away.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{name}.lock"):
        if folder.is_dir():
            return folder
        unfinished = folder.parent / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            build(unfinished)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder
