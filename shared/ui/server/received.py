"""What visitors sent, and for how long it is kept.

A page's own visitor may use an upload again until they clear it, close the page, or leave it for an hour; what came
from a program is deleted when its call is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import gradio as gr

from shared.ui import UPLOADS

in_work: set[Path] = set()  # never swept
_kept: dict[tuple[str, str], set[Path]] = {}  # (page, field) → files that its visitor may use again
_lock = threading.Lock()


@contextmanager
def received(fields: Mapping[str, Sequence[str]], page: str | None = None) -> Iterator[None]:
    """While the block runs the files are safe from the sweep; afterwards they are kept for `page`, or deleted.

    Args:
        fields: paths by the name of the field that they came in. Files that are not uploads (examples) are left alone.
        page: the session of the page that sent them; None for a program's call.
    """
    own = {name: {Path(path) for path in paths if _is_upload(path)} for name, paths in fields.items()}
    every = set().union(*own.values())
    in_work.update(every)
    if page is not None:
        _keep(page, own)
    try:
        yield
    finally:
        in_work.difference_update(every)
        if page is None:
            _delete(every)
        else:
            _delete(path for path in every if not _is_kept(path))  # the page was closed meanwhile


def page_of(request: gr.Request | None) -> str | None:
    """The page's session; None for a call that no page made."""
    if request is None or request.headers.get("x-gradio-user") != "app":
        return None
    return request.session_hash


def keep(page: str | None, field: str, path: Path) -> bool:
    """Keep a file that was made here for a page's visitor, as one that they sent. False where there is no page."""
    if page is None:
        return False
    _keep(page, {field: {path}})
    return True


def forget(page: str | None, field: str | None = None) -> None:
    """The visitor cleared a field, or closed the page: delete what was kept for it. Running work keeps its files."""
    with _lock:
        gone = [key for key in _kept if key[0] == page and field in (None, key[1])]
        paths = set().union(*(_kept.pop(key) for key in gone))
    _delete(paths - in_work)


def _keep(page: str, own: Mapping[str, set[Path]]) -> None:
    """Another file in a field takes the place of the former one."""
    with _lock:
        former: set[Path] = set()
        for name, paths in own.items():
            former |= _kept.pop((page, name), set()) - paths
            if paths:
                _kept[page, name] = paths
    _delete(former - in_work)
    for path in set().union(*own.values()):
        with suppress(OSError):  # for another hour
            os.utime(path)


def _is_kept(path: Path) -> bool:
    with _lock:
        return any(path in paths for paths in _kept.values())


def _is_upload(path: str) -> bool:
    return Path(path).resolve().is_relative_to(UPLOADS.resolve())


def _delete(paths: Iterator[Path] | set[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another file may be in it
            path.parent.rmdir()
