"""Files that a program names: a path, an address, a data URL, or what it uploaded before. Each becomes a path here.

A path of this machine is read only where the server is its user's own: it listens to this machine alone, is no Space,
answers to no other names (a proxy would make it everybody's), and LOCAL_FILES does not say 0.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from shared import link as links
from shared.api import MODEL, lane_for
from shared.errors import UserError
from shared.options import LOOPBACK
from shared.serving import Limits
from shared.system.temporary import temporary_folder
from shared.ui import UPLOADS
from shared.ui.server.jobs import Job
from shared.ui.server.received import received
from shared.units import megabytes

MAX_SECONDS, MAX_BYTES = 12 * 3600.0, 4_000_000_000  # of what an address gives, where the app has no limits of its own


def reads_own_files(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the server is its user's own, so that a path of this machine may be named."""
    server_name = environment.get("GRADIO_SERVER_NAME") or LOOPBACK[0]
    return (server_name in LOOPBACK and not environment.get("SPACE_ID") and not environment.get("ALLOWED_ORIGINS")
            and environment.get("LOCAL_FILES") != "0")


@dataclass(frozen=True)
class Files:
    """Opens what a call names. own: whether paths of this machine are read."""

    limits: Limits
    own: bool

    @contextmanager
    def opened(self, given: str, work: Job, *, archive: bool = False) -> Iterator[Path]:
        """The file, for as long as the block lasts. What was uploaded or fetched is deleted afterwards.

        Args:
            given: see `arguments.SOUND`.
            work: says what goes on, and when to stop.
            archive: a zip or a table is wanted, not sound.

        Raises:
            UserError: there is no such file, or it may not be had.
            Cancelled: the work was stopped.
        """
        given = given.strip()
        with temporary_folder("tool-") as folder:
            if given[:5].lower() == "data:":
                yield _written(given, folder, self.limits.max_bytes)
            elif re.match(r"https?://", given, re.IGNORECASE):
                work.says("fetching the file")
                yield (self._archive(given, folder, work) if archive else self._sound(given, folder, work))
            else:
                path = self._path(given)
                with received({"file": [str(path)]}):
                    yield path

    @contextmanager
    def fetched(self, link: str, work: Job, *, start: float | None, end: float | None) -> Iterator[Path]:
        """The sound behind a link, of which start … end (seconds) is wanted. Raises UserError, Cancelled."""
        with temporary_folder("tool-") as folder:
            work.says("fetching the sound")
            yield self._sound(link, folder, work, start, end)

    def lane(self, given: str) -> str:
        """Where work on a sound waits in the queue; what is not on this machine yet waits as the long ones do."""
        try:
            return lane_for([self._path(given.strip())])
        except UserError:  # told when it is opened
            return MODEL

    def _sound(self, link: str, folder: Path, work: Job, start: float | None = None, end: float | None = None) -> Path:
        return links.download(link, folder, part=links.Part(start, end),
                              max_seconds=self.limits.max_seconds or MAX_SECONDS,
                              max_bytes=self.limits.max_bytes or MAX_BYTES, cancel=work.cancel,
                              progress=lambda fraction, text: work.says(text, fraction))

    def _archive(self, link: str, folder: Path, work: Job) -> Path:
        return links.download_archive(link, folder, max_bytes=self.limits.max_bytes or MAX_BYTES, cancel=work.cancel)

    def _path(self, given: str) -> Path:
        if given.lower().startswith("file:"):
            given = unquote(urlsplit(given).path)
        path = Path(os.path.expanduser(given)) if self.own else Path(given)
        if "\0" not in given and path.is_absolute() and path.resolve().is_relative_to(UPLOADS.resolve()):
            if path.is_file():
                return path
            raise UserError("There is no such upload", got=path.name[:80],
                            hint="upload the file again: it is deleted once it was read, and after an hour")
        if not self.own:
            raise UserError("A path of your machine means nothing to this server", got=Path(given).name[:80],
                            hint="give an http(s) address or a data URL, or upload the file to /gradio_api/upload and "
                                 "give the path that this returns")
        if "\0" in given or not path.is_absolute():
            raise UserError("This is no full path", got=given[:80], hint="begin it with / (or a drive), or with ~")
        if not path.is_file():
            raise UserError("There is no such file", got=path.name[:80], hint="check the path")
        return path


def _written(url: str, folder: Path, max_bytes: int | None) -> Path:
    """The content of a data URL as a file. Raises UserError."""
    head, comma, body = url[5:].partition(",")
    kind, *settings = head.split(";")
    try:
        data = base64.b64decode(body, validate=True) if "base64" in settings else unquote_to_bytes(body)
    except (binascii.Error, ValueError):
        comma = ""
    if not comma:
        raise UserError("This data URL cannot be read", got=url[:40], hint="write data:audio/mpeg;base64, and then the "
                        "file in base64, without spaces and line breaks")
    if max_bytes is not None and len(data) > max_bytes:
        raise UserError("The file is too large", got=megabytes(len(data)), limit=megabytes(max_bytes),
                        hint="send its sound only (MP3 or M4A), or a shorter part")
    path = folder / f"file{mimetypes.guess_extension(kind.strip().lower()) or '.media'}"
    path.write_bytes(data)
    return path
