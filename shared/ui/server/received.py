"""What visitors sent, and for how long it is kept.

A visitor may use an upload again until they clear it, send another in its place, have left (LEFT_SECONDS after their
last page was closed), or for an hour. A page that is opened again, or reloaded, gets its field's files back. What came
from a program is deleted when its call is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from shared.ui import UPLOADS
from shared.ui.server import visitors
from shared.ui.server.owners import owner_of, sessions_of

in_work: set[Path] = set()  # never swept


@dataclass
class _Field:
    """What a page holds in one of its fields. is_open: whether the page still is."""

    paths: tuple[Path, ...]
    owner: str | None
    is_open: bool = True


_kept: dict[tuple[str, str], _Field] = {}  # by (session of the page, field), the one used last at the end
_lock = threading.Lock()


@contextmanager
def received(fields: Mapping[str, Sequence[str]], page: str | None = None) -> Iterator[None]:
    """While the block runs the files are safe from the sweep; afterwards they are kept for `page`, or deleted.

    Args:
        fields: paths by the name of the field that they came in. Files that are not uploads (examples) are left alone.
        page: the session of the page that sent them; None for a program's call.
    """
    own = {name: tuple(Path(path) for path in paths if _is_upload(path)) for name, paths in fields.items()}
    every = {path for paths in own.values() for path in paths}
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
            _delete(path for path in every if not _is_kept(path))  # the visitor has left meanwhile


def page_of(request: gr.Request | None) -> str | None:
    """The page's session; None for a call that no page made."""
    if request is None or request.headers.get("x-gradio-user") != "app":
        return None
    return request.session_hash


def keep(page: str | None, field: str, path: Path) -> bool:
    """Keep a file that was made here for a page's visitor, as one that they sent. False where there is no page."""
    if page is None:
        return False
    _keep(page, {field: (path,)})
    return True


def given_back(page: str | None, field: str) -> list[str]:
    """For a page that was opened: the files that its visitor used last in this field, which are its own now too."""
    owner = owner_of(page)
    if page is None or owner is None:
        return []
    with _lock:
        mine = [(key, one) for key, one in _kept.items() if one.owner == owner and key[1] == field]
        if not mine:
            return []
        key, last = mine[-1]
        if not last.is_open:
            del _kept[key]
        paths = tuple(path for path in last.paths if path.is_file())
        if paths:
            _kept[page, field] = _Field(paths, owner)
    return [str(path) for path in paths]


def holds(page: str | None, field: str) -> bool:
    """Whether something is kept for this page's field."""
    with _lock:
        return (page or "", field) in _kept


def forget(page: str | None, field: str) -> None:
    """The visitor cleared a field: delete what was kept for it, there and on their closed pages. Running work keeps its
    files."""
    owner = owner_of(page)
    with _lock:
        _drop_now([key for key, one in _kept.items() if key[1] == field and (
            key[0] == page or (owner is not None and one.owner == owner and not one.is_open))])


def leave(page: str | None) -> None:
    """A page was closed. Its files go once its visitor has no page any more; a reload is far shorter."""
    with _lock:
        mine = {key: one for key, one in _kept.items() if key[0] == page}
        for one in mine.values():
            one.is_open = False
        owner = owner_of(page)
        elsewhere = {one.paths for one in _kept.values() if one.is_open}  # a reloaded page may come before this
        _drop_now([key for key, one in mine.items() if owner is None or one.paths in elsewhere])
        is_held = owner is not None and any(one.owner == owner for one in _kept.values())
    if owner is not None and is_held:
        _look_again(owner, visitors.LEFT_SECONDS)


def _look_again(owner: str, seconds: float) -> None:
    later = threading.Timer(seconds + 0.5, _drop_of, [owner])
    later.daemon = True
    later.start()


def _drop_of(owner: str) -> None:
    """Delete what a visitor's closed pages held, once the visitor has left."""
    absent = visitors.presence.absent_seconds([f"page {one}" for one in sessions_of(owner)], 0.0)
    with _lock:
        if absent >= visitors.LEFT_SECONDS:
            _drop_now([key for key, one in _kept.items() if one.owner == owner])
        elif any(one.owner == owner and not one.is_open for one in _kept.values()):
            _look_again(owner, visitors.LEFT_SECONDS - absent)  # on another page, or the last has only just closed


def _keep(page: str, own: Mapping[str, tuple[Path, ...]]) -> None:
    """Another file in a field takes the place of the former one, and of those of this visitor's closed pages."""
    owner = owner_of(page)
    with _lock:
        for name, paths in own.items():
            gone = [key for key, one in _kept.items() if key[1] == name and (
                key[0] == page or (owner is not None and one.owner == owner and not one.is_open))]
            _drop_now(gone, but=paths)
            if paths:
                _kept[page, name] = _Field(paths, owner)
    for path in (path for paths in own.values() for path in paths):
        with suppress(OSError):  # for another hour
            os.utime(path)


def _drop_now(keys: Iterable[tuple[str, str]], but: Iterable[Path] = ()) -> None:
    """Forget fields, and delete what nobody needs then. The lock is held."""
    gone = {path for key in keys for path in _kept.pop(key).paths}
    _delete(gone - in_work - set(but) - {path for one in _kept.values() for path in one.paths})


def _is_kept(path: Path) -> bool:
    with _lock:
        return any(path in one.paths for one in _kept.values())


def _is_upload(path: str) -> bool:
    return Path(path).resolve().is_relative_to(UPLOADS.resolve())


def _delete(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # another file may be in it
            path.parent.rmdir()
