"""What a page hands back, as files that live at most an hour, and the removal of what a visitor sent.

Enters: an Answer and the audio it was read from. Leaves: a Result, in a folder whose name only its owner's page knows:
the text in every format and a small copy of the sound for the player. Knows nothing of components.
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
from dataclasses import dataclass, replace
from pathlib import Path

from shared.audio import write_mp3
from shared.serving import Answer
from shared.transcript import FORMATS
from shared.ui import RESULTS, UPLOADS
from shared.ui.server.messages import without_paths
from shared.ui.server.received import in_work

KEPT_SECONDS = 3300  # swept every SWEEP_SECONDS, so that nothing is older than an hour
SWEEP_SECONDS = 300
N_LETTERS = 80  # of a file's name that are kept; 255 bytes are the limit of common file systems



@dataclass(frozen=True)
class Result:
    """answer: the transcript, and how it came about. name: of the upload, without its suffix. files: one per format."""

    answer: Answer
    name: str
    folder: Path
    files: tuple[Path, ...]
    player: Path | None  # MP3

    @property
    def subtitles(self) -> Path:
        return next(path for path in self.files if path.suffix == ".vtt")


def make(
    answer: Answer, source: str | Path, name: str | None = None, *, start: float = 0.0, end: float | None = None,
    cancel: threading.Event | None = None,
) -> Result:
    """Write an answer's files, and the audio of `source` (start … end, seconds) as an MP3 for the player.

    name: what the files are called, else as `source`. Raises UserError, Cancelled.
    """
    warnings = tuple(map(without_paths, answer.transcript.warnings))
    answer = replace(answer, transcript=replace(answer.transcript, warnings=warnings))
    folder = RESULTS / secrets.token_urlsafe(16)
    folder.mkdir(parents=True)
    try:
        mp3 = folder / "player.mp3"
        player = mp3 if write_mp3(source, mp3, start=start, end=end, cancel=cancel) else None
        stem = safe_name(name or Path(source).name)
        return Result(answer, stem, folder, write_formats(answer, folder, stem), player)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_formats(answer: Answer, folder: Path, stem: str) -> tuple[Path, ...]:
    """The transcript in every format, as stem.txt and so on."""
    paths = []
    for kind, write in FORMATS.items():
        paths.append(folder / f"{stem}.{kind}")
        paths[-1].write_text(write(answer.transcript), encoding="utf-8")
    return tuple(paths)


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
    def run() -> None:
        while True:
            time.sleep(SWEEP_SECONDS)
            sweep()

    threading.Thread(target=run, name="sweep", daemon=True).start()
