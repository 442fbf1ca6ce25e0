"""The audio files of a folder, found by the names that tables written elsewhere give them."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from shared.audio import MEDIA_SUFFIXES
from shared.errors import UserError


class AudioFiles:
    """Finds files below a folder whose names may be written with backslashes, in other case, with another or no ending,
    or with the folders of the machine they came from.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._guessed: dict[Path, str] = {}  # file → the name that it was found under, where that is not its own

    def find(self, written: str, where: str) -> Path:
        """The file that a table names.

        Args:
            written: Its name in the table.
            where: Table and line, for the message.

        Returns:
            The file; where there is none, the place at which it was looked for first.

        Raises:
            UserError: Several files fit, or another name has led to the same file.
        """
        address = re.match(r"[a-z]+://", written)  # in which a space is %20, and ?… asks for a form
        name = written.partition("?")[0] if address else written
        name = unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("file://")
        direct = self._root / name
        for path in (direct, self._root / written):
            if os.path.isfile(path):  # unlike Path.is_file, no error for a name that is too long
                return path
        found = self._nearest(name, written, where)
        if found is None and "%" in name:
            found = self._nearest(unicodedata.normalize("NFC", unquote(name)), written, where)
        return found or direct

    def _nearest(self, name: str, written: str, where: str) -> Path | None:
        bare = re.sub(r"^[A-Za-z]:", "", name)
        parts = [part for part in bare.split("/") if part not in ("", ".")]
        foreign = bare != name or name.startswith(("/", "../")) or not self._has_folder(parts)
        for tail in _tails(parts, foreign):
            stem = os.path.splitext(tail)[0]
            for index, key in ((self._by_path, tail), (self._by_stem, stem), (self._by_stem, tail)):
                if found := index.get(_folded(key)):
                    return self._only(found, written, where)
        if len(parts) == 1:
            for index, key in ((self._by_name, parts[0]), (self._by_name, os.path.splitext(parts[0])[0])):
                if found := index.get(_folded(key)):
                    return self._only(found, written, where)
        return None

    def _has_folder(self, parts: Sequence[str]) -> bool:
        return len(parts) > 1 and os.path.isdir(self._root / parts[0])

    def _only(self, found: list[Path], written: str, where: str) -> Path:
        if len(found) > 1:
            names = ", ".join(path.relative_to(self._root).as_posix() for path in found[:4])
            raise UserError("Several files fit one name", got=f"“{written[:80]}” in {where}: {names}",
                            hint="write the file's whole name, as it is in the folder")
        if self._guessed.setdefault(found[0], written) != written:
            raise UserError("Two names lead to one file", got=f"“{written[:80]}” in {where} and "
                            f"“{self._guessed[found[0]][:80]}”: {found[0].relative_to(self._root).as_posix()}",
                            hint="write the files' whole names, as they are in the folder")
        return found[0]

    @functools.cached_property
    def _files(self) -> list[Path]:
        return [path for path in sorted(self._root.rglob("*"))
                if path.suffix.lower() in MEDIA_SUFFIXES and path.is_file()]

    @functools.cached_property
    def _by_path(self) -> dict[str, list[Path]]:
        return _index((path.relative_to(self._root).as_posix(), path) for path in self._files)

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _index((path.relative_to(self._root).with_suffix("").as_posix(), path) for path in self._files)

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """By file name alone, with and without its ending, wherever the file lies."""
        return _index((name, path) for path in self._files for name in (path.name, path.stem))


def _index(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    index: dict[str, list[Path]] = defaultdict(list)
    for name, path in pairs:
        index[_folded(name)].append(path)
    return dict(index)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _tails(parts: Sequence[str], foreign: bool) -> Iterator[str]:
    """The name, then, where its folders are another machine's, what remains without the first of them."""
    for first in range(len(parts) if foreign else min(1, len(parts))):
        yield "/".join(parts[first:])
