"""One file of words, opened: a dictionary of hunspell's, or a text.

Enters: a path. Leaves: `Words`, which say whether a word is among them.
"""

from __future__ import annotations

import codecs
import functools
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import regex

from shared.errors import UserError
from shared.lexicon.text_files import text_of

SUFFIX = ".dic"  # of hunspell's dictionaries; beside each lies its .aff
MAX_LIST_BYTES = 100_000_000
N_TRIED = 50_000  # words of a dictionary's own, of which it must know one
WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’\-‐][\p{L}\p{M}\p{N}]+)*")
ENCODING = regex.compile(rb"^(?:\xef\xbb\xbf)?\s*SET\s+(\S+)", regex.MULTILINE)
FLAGS = regex.compile(r"(?<!\\)/|\t")  # what follows a word in a .dic


class Words(Protocol):
    """The words of one file."""

    def spell(self, word: str) -> bool: ...


def words_in(text: str) -> list[str]:
    """The words of a text, as a dictionary is asked for them.

    Args:
        text: in any script.

    Returns:
        Letters, marks and digits in a row, with the hyphens and apostrophes between them.
    """
    return WORD.findall(text)


class WordList:
    """The words of a text, whatever their case."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(word.casefold() for word in words)

    def spell(self, word: str) -> bool:
        return word.casefold() in self.words


class _Hunspell:
    """A dictionary of hunspell's. Its older ones are in 8 bits: what these cannot write they do not know."""

    def __init__(self, path: Path) -> None:
        from hunspell import Hunspell  # the library is needed only where a dictionary is

        self.encoding = _encoding(path.with_suffix(".aff"))
        self._opened = Hunspell(path.stem, hunspell_data_dir=str(path.parent))
        self._opened._dic_encoding = self.encoding  # it takes a name that Python does not know for ASCII

    def spell(self, word: str) -> bool:
        try:
            return self._opened.spell(word)
        except UnicodeEncodeError:
            return False


def opened(path: str) -> Words:
    """The words of a file as it is now: a list may be edited while a server runs.

    Args:
        path: of a .dic or of a text.

    Returns:
        The same object as long as the file does not change.

    Raises:
        UserError: it is gone, cannot be read, or is no such file.
    """
    return _opened(path, *stamp(path))


def stamp(path: str) -> tuple[int, int]:
    """What changes with a file: its time in nanoseconds and its size. Raises UserError where it is gone."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise UserError("The dictionary is gone", got=path, hint="put it back, or leave it out") from error
    return found.st_mtime_ns, found.st_size


def is_hunspell(path: str) -> bool:
    """Whether a file is a dictionary of hunspell's, by its name."""
    return path.lower().endswith(SUFFIX)


@functools.lru_cache(maxsize=16)
def _opened(path: str, changed: int, size: int) -> Words:
    if is_hunspell(path):
        return _hunspell(Path(path))
    return WordList(words_in(text_of(Path(path), "list of words", MAX_LIST_BYTES)))


def _hunspell(path: Path) -> _Hunspell:
    if not path.with_suffix(".aff").is_file():
        raise UserError("A dictionary of hunspell has two files, and one is missing", got=path.with_suffix(".aff"),
                        hint="put both into one folder; a list of words alone is a .txt file")
    try:
        opened = _Hunspell(path)
    except OSError as error:
        raise UserError("The dictionary cannot be opened", got=path.name, hint=f"check it: {error}") from error
    if not any(opened.spell(word) for word in _some(path, opened.encoding)):
        raise UserError("The dictionary knows none of its own words", got=path.name,
                        hint="is it hunspell's? Its first line is a number, its other lines are words")
    return opened


def _encoding(path: Path) -> str:
    """Of both files, as the .aff says; by hunspell's rule that of Western Europe where it does not."""
    said = ENCODING.search(path.read_bytes())
    name = said.group(1).decode("ascii", "replace") if said else "ISO8859-1"
    try:
        return codecs.lookup(name.lower().removeprefix("microsoft-").replace("tis620-2533", "tis-620")).name
    except LookupError as error:
        raise UserError("The dictionary is in an encoding that is not known here", got=f"{path.name}: {name}",
                        hint="save both files as UTF-8, with SET UTF-8 in the .aff") from error


def _some(path: Path, encoding: str) -> Iterator[str]:
    """The first words as the .dic lists them, without their flags."""
    with path.open(encoding=encoding, errors="ignore") as file:
        for line in islice(file, 1, N_TRIED):
            if word := FLAGS.split(line.strip())[0]:
                yield word
