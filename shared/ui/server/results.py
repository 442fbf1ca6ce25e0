"""What a page hands back, as files that live at most an hour, and the removal of what a visitor sent.

Enters: an Answer and the audio it was read from. Leaves: a Result, in a folder whose name only its owner's page knows:
the text in every format and a small copy of the sound for the player. A visitor finds it again by the secret of their
browser, changes its text, and may have it deleted at once. Knows nothing of components.
"""

from __future__ import annotations

import functools
import re
import secrets
import shutil
import threading
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import gradio as gr

from shared.audio import write_mp3
from shared.errors import UserError
from shared.serving import Answer
from shared.system.files import write_bytes
from shared.transcript import FORMATS, Transcript, as_bytes
from shared.ui import RESULTS, UPLOADS
from shared.ui.server.messages import without_paths
from shared.ui.server.received import in_work

KEPT_SECONDS = 3300  # swept every SWEEP_SECONDS, so that nothing is older than an hour
SWEEP_SECONDS = 300
N_LETTERS = 80  # of a file's name that are kept; 255 bytes are the limit of common file systems
MAX_EACH = 100  # results of one visitor; the oldest are forgotten
MAX_UNDO = 30  # changes that can be taken back


@dataclass(frozen=True)
class Result:
    """answer: the transcript, and how it came about. name: of the upload, without its suffix. files: one per format.

    owner: the visitor's secret; None for a program's call. made: seconds since the epoch. version: counts changes.
    """

    answer: Answer
    name: str
    folder: Path
    files: tuple[Path, ...]
    player: Path | None  # MP3
    owner: str | None = None
    made: float = field(default_factory=time.time)
    version: int = 0

    @property
    def id(self) -> str:
        """A name that nobody can guess."""
        return self.folder.name

    @property
    def subtitles(self) -> Path:
        return next(path for path in self.files if path.suffix == ".vtt")


def make(
    answer: Answer, source: str | Path, name: str | None = None, *, start: float = 0.0, end: float | None = None,
    cancel: threading.Event | None = None, owner: str | None = None,
) -> Result:
    """Write an answer's files, and the audio of `source` (start … end, seconds) as an MP3 for the player.

    name: what the files are called, else as `source`. owner: who finds it again. Raises UserError, Cancelled.
    """
    warnings = tuple(map(without_paths, answer.transcript.warnings))
    answer = replace(answer, transcript=replace(answer.transcript, warnings=warnings))
    folder = RESULTS / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    try:
        mp3 = folder / "player.mp3"
        player = mp3 if write_mp3(source, mp3, start=start, end=end, cancel=cancel) else None
        stem = safe_name(name or Path(source).name)
        return _keep(Result(answer, stem, folder, write_formats(answer, folder, stem), player, owner))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_formats(answer: Answer, folder: Path, stem: str) -> tuple[Path, ...]:
    """The transcript in every format, as stem.txt and so on."""
    paths = []
    for kind in FORMATS:
        paths.append(folder / f"{stem}.{kind}")
        write_bytes(paths[-1], as_bytes(answer.transcript, kind))
    return tuple(paths)


_kept: dict[str, Result] = {}  # by id, the oldest first
_former: dict[str, list[Transcript]] = {}  # by id: what can be brought back, the newest last
_lock = threading.RLock()


def get(result_id: str, owner: str | None) -> Result:
    """A result of this visitor's as it is now. Raises UserError for one that is gone, or somebody else's."""
    found = _kept.get(result_id)
    if found is None or found.owner != owner or not found.folder.exists():
        raise UserError("This result is not here any more", hint="transcribe again; results stay an hour at most")
    return found


def now(result: Result) -> Result:
    """A result with all changes since. Raises UserError for one that is gone."""
    return get(result.id, result.owner)


def recent(owner: str) -> list[Result]:
    """The visitor's results that are still here, the newest first."""
    with _lock:
        mine = [one for one in _kept.values() if one.owner == owner]
    return [one for one in reversed(mine) if one.folder.exists()]


def change(result: Result, transcript: Transcript) -> Result:
    """Put another transcript in a result's place, in all of its files. Raises UserError if it changed meanwhile."""
    with _lock:
        if now(result).version != result.version:
            raise UserError("The text was changed in another window meanwhile", hint="look at it, and change it again")
        former = _former.setdefault(result.id, [])
        former.append(result.answer.transcript)
        del former[:-MAX_UNDO]
        return _written(result, transcript)


def undo(result: Result) -> Result:
    """Take the last change back. Raises UserError if there is none."""
    with _lock:
        former = _former.get(result.id)
        if not former:
            raise UserError("There is nothing to take back", hint="go on")
        return _written(now(result), former.pop())


def can_undo(result: Result) -> bool:
    return bool(_former.get(result.id))


def forget(result: Result) -> None:
    """Delete its files now, and every zip with them in it."""
    with _lock:
        _drop(result.id)
        for folder in [folder for folder, ids in _zips.items() if result.id in ids]:
            del _zips[folder]
            shutil.rmtree(folder, ignore_errors=True)


def _keep(result: Result) -> Result:
    with _lock:
        for gone in [one for one, kept in _kept.items() if not kept.folder.exists()]:
            _drop(gone)
        if result.owner is not None:
            for old in recent(result.owner)[MAX_EACH - 1 :]:
                forget(old)
        _kept[result.id] = result
    return result


def _drop(result_id: str) -> None:
    found = _kept.pop(result_id, None)
    _former.pop(result_id, None)
    if found is not None:
        shutil.rmtree(found.folder, ignore_errors=True)


def _written(result: Result, transcript: Transcript) -> Result:
    answer = replace(result.answer, transcript=transcript)
    files = write_formats(answer, result.folder, result.name)
    _kept[result.id] = replace(result, answer=answer, files=files, version=result.version + 1)
    return _kept[result.id]


_zips: dict[Path, set[str]] = {}  # which results are in a zip's folder


def zip_of(made: list[Result]) -> Path:
    """Every file of several results in one zip; equal names are told apart by a number."""
    folder = RESULTS / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    taken: set[str] = set()
    with zipfile.ZipFile(folder / "transcripts.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for result in made:
            stem, number = result.name, 2
            while stem.casefold() in taken:
                stem, number = f"{result.name} ({number})", number + 1
            taken.add(stem.casefold())
            for path in result.files:
                archive.write(path, f"{stem}{path.suffix}")
    with _lock:
        _zips[folder] = {result.id for result in made}
    return folder / "transcripts.zip"


def safe_name(name: str) -> str:
    """A file name without suffix that every system takes, as near to the visitor's as may be.

    >>> safe_name('Möte 3: "Привет" / 日本.mp3')
    'Möte 3 Привет 日本'
    """
    stem = re.sub(r"\.\w{1,5}$", "", re.sub(r"[/\\]", " ", name))
    stem = re.sub(r'[<>:"|?*\x00-\x1f\x7f]', "", stem)
    return " ".join(stem.split())[:N_LETTERS].strip(" .") or "transcript"


def sweep(older_than: float = KEPT_SECONDS) -> None:
    """Remove uploads and results last touched more than `older_than` seconds ago."""
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
