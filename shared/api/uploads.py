"""A form sent to the API, read with a limit, and its file on disk for as long as work uses it."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from shared.audio import MEDIA_SUFFIXES
from shared.errors import Cancelled, UserError
from shared.system.temporary import temporary_folder
from shared.units import megabytes

FORM_BYTES = 1_000_000  # of everything but the file


class TooLarge(UserError):
    """The body is larger than the server takes."""


class _Limited(Request):
    """A request whose body ends with an error once it is longer than `limit` bytes."""

    limit: int | None = None

    async def stream(self) -> AsyncGenerator[bytes, None]:
        n_bytes = 0
        async for part in super().stream():
            n_bytes += len(part)
            _check(n_bytes, self.limit)
            yield part


async def read_form(request: Request, max_bytes: int | None) -> FormData:
    """The fields and the file of a multipart form.

    Args:
        request: nothing of its body has been read yet.
        max_bytes: of the file; None for any.

    Raises:
        TooLarge: more than that, raised before the body is read where its length is given.
        UserError: no multipart form.
        Cancelled: the client left while sending.
    """
    limit = None if max_bytes is None else max_bytes + FORM_BYTES
    length = request.headers.get("content-length", "")
    _check(int(length) if length.isdecimal() else 0, limit)
    limited = _Limited(request.scope, request.receive)
    limited.limit = limit
    try:
        return await limited.form(max_files=1, max_fields=50, max_part_size=FORM_BYTES)
    except MultiPartException as error:
        raise UserError("The form cannot be read", got=error.message, hint="send multipart/form-data") from error
    except ClientDisconnect as error:
        raise Cancelled from error


class FileOfForm:
    """A form's file under a name of ours on disk, copied when it is first used.

    It goes once it is closed and nobody uses it: work may still read it when its client has left.
    """

    def __init__(self, upload: UploadFile) -> None:
        self._upload, self._opened, self._path = upload, contextlib.ExitStack(), Path()
        self._copying = threading.Lock()
        self._lock = threading.Lock()  # of what follows
        self._closed, self._n_users = False, 0

    @property
    def size(self) -> int:
        """Bytes."""
        return self._upload.size or 0

    @contextlib.contextmanager
    def used(self) -> Iterator[Path]:
        """While the block runs the file is there.

        Yields:
            Its path, with the ending of the client's own name where that is one of sound or video.

        Raises:
            Cancelled: it was closed before, because the client left as the work began.
        """
        with self._lock:
            if self._closed:
                raise Cancelled
            self._n_users += 1
        try:
            with self._copying:
                if not self._path.name:
                    self._path = self._copied()
            yield self._path
        finally:
            with self._lock:
                self._n_users -= 1
                self._go_if_over()

    def _copied(self) -> Path:
        suffix = Path(self._upload.filename or "").suffix.lower()
        folder = self._opened.enter_context(temporary_folder("api-"))
        path = folder / f"audio{suffix if suffix in MEDIA_SUFFIXES else '.media'}"
        with path.open("wb") as out:
            self._upload.file.seek(0)
            shutil.copyfileobj(self._upload.file, out)
        return path

    def close(self) -> None:
        """Nobody may begin to use it any more. Waits for nothing, so that no cancelled task can leave it undone."""
        with self._lock:
            self._closed = True
            self._go_if_over()

    def _go_if_over(self) -> None:
        if self._closed and not self._n_users:
            self._opened.close()
            self._upload.file.close()


def _check(n_bytes: int, limit: int | None) -> None:
    if limit is not None and n_bytes > limit:
        raise TooLarge("The file is too large", got=megabytes(n_bytes), limit=megabytes(limit - FORM_BYTES),
                       hint="send its sound only (MP3 or M4A), or a shorter part")
