"""What was made for visitors, for an hour at most: who finds it again, and its removal.

Each thing is a `Kept` with a folder of its own, whose name only its owner's page knows. A visitor finds it by the
secret of their browser, and may have it deleted at once. Knows nothing of what the things are.
"""

from __future__ import annotations

import functools
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import gradio as gr

from shared.errors import UserError
from shared.ui import RESULTS, UPLOADS
from shared.ui.server.received import in_work

KEPT_SECONDS = 3300  # swept every SWEEP_SECONDS, so that nothing is older than an hour
SWEEP_SECONDS = 300
N_LETTERS = 80  # of a file's name that are kept; 255 bytes are the limit of common file systems
MAX_EACH = 100  # things of one visitor; the oldest are forgotten


@dataclass(frozen=True, kw_only=True)
class Kept:
    """name: of what it was made from, without suffix. owner: the visitor's secret; None for a program's call.

    made: seconds since the epoch. KIND: which pages can show it.
    """

    KIND: ClassVar[str] = ""

    name: str
    folder: Path
    owner: str | None = None
    made: float = field(default_factory=time.time)

    @property
    def id(self) -> str:
        """A name that nobody can guess."""
        return self.folder.name

    @property
    def duration(self) -> float:
        """Seconds of sound that it was made from."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """What a list says of it."""
        raise NotImplementedError

    def dropped(self) -> None:
        """It was deleted: what belongs to it elsewhere goes too."""


Thing = TypeVar("Thing", bound=Kept)
_kept: dict[str, Kept] = {}  # by id, the oldest first
lock = threading.RLock()  # held while what is kept is changed


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder for a new thing; gone again if the block fails."""
    folder = RESULTS / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def keep(one: Thing) -> Thing:
    """From now on its owner finds it, or finds it changed."""
    with lock:
        for gone in [found for found in _kept.values() if not found.folder.exists()]:
            _drop(gone)
        if one.owner is not None and one.id not in _kept:
            for old in recent(one.owner)[MAX_EACH - 1 :]:
                forget(old)
        _kept[one.id] = one
    return one


def get(kept_id: str, owner: str | None, kind: type[Thing]) -> Thing:
    """What this visitor made, as it is now. Raises UserError for what is gone, somebody else's, or of another kind."""
    found = _kept.get(kept_id)
    if not isinstance(found, kind) or found.owner != owner or not found.folder.exists():
        raise UserError("This result is not here any more", hint="start again; results stay an hour at most")
    return found


def recent(owner: str) -> list[Kept]:
    """What this visitor made and is still here, the newest first."""
    with lock:
        mine = [one for one in _kept.values() if one.owner == owner]
    return [one for one in reversed(mine) if one.folder.exists()]


def forget(one: Kept) -> None:
    """Delete its files now."""
    with lock:
        _drop(one)


def _drop(one: Kept) -> None:
    _kept.pop(one.id, None)
    shutil.rmtree(one.folder, ignore_errors=True)
    one.dropped()


def safe_name(name: str) -> str:
    """A file name without suffix that every system takes, as near to the visitor's as may be.

    >>> safe_name('Möte 3: "Привет" / 日本.mp3')
    'Möte 3 Привет 日本'
    """
    stem = re.sub(r"\.\w{1,5}$", "", re.sub(r"[/\\]", " ", name))
    stem = re.sub(r'[<>:"|?*\x00-\x1f\x7f]', "", stem)
    return " ".join(stem.split())[:N_LETTERS].strip(" .") or "transcript"


def sweep(older_than: float = KEPT_SECONDS) -> None:
    """Remove uploads and what was made that was last touched more than `older_than` seconds ago."""
    now = time.time()
    busy = {path.parent for path in list(in_work)}  # hours of audio may take more than an hour to read
    for path in [*UPLOADS.glob("*"), *RESULTS.glob("*")]:
        with suppress(FileNotFoundError):
            # Gradio hands the same download out again under its old folder, and touches the file.
            touched = max(one.stat().st_mtime for one in (path, *path.glob("*")))
            if path not in busy and now - touched > older_than:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()  # Gradio's File makes an empty one for each upload


@functools.cache
def open_folders() -> None:
    """Make this process's folders, which go with it, and start sweeping."""
    for folder in (UPLOADS, RESULTS):
        folder.mkdir(parents=True, exist_ok=True)
    gr.set_static_paths([RESULTS])  # served from where they lie: a copy would outlive what a visitor forgets

    def run() -> None:
        while True:
            time.sleep(SWEEP_SECONDS)
            sweep()

    threading.Thread(target=run, name="sweep", daemon=True).start()
