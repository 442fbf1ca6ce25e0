"""Which words a language has: hunspell's dictionaries, as text editors use them, and word lists of one's own.

Enters: names as a person gives them: a language ("ru"), a dictionary ("ru_RU"), or the path of a file. Leaves: paths
that are there, and a `Dictionary` of those that are for a language, which says whether it knows a word. Knows nothing
of how a text is searched for (`shared.engines.spelling`).
"""

from __future__ import annotations

import codecs
import functools
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import regex

from shared.errors import UserError
from shared.languages import language_code, language_name

# Where systems keep dictionaries; DICPATH comes first, as hunspell has it.
FOLDERS = ("~/.local/share/hunspell", "/usr/local/share/hunspell", "/usr/share/hunspell", "/usr/share/myspell",
           "/usr/share/myspell/dicts", "~/Library/Spelling", "/Library/Spelling", "/opt/homebrew/share/hunspell")
LIST_SUFFIXES = (".txt", ".csv", ".lst", ".list")
MAX_LIST_BYTES = 100_000_000
MIN_WORDS = 5000  # of a list that stands alone: some 90 % of running text, as its most frequent words
N_TRIED = 50_000  # words of a dictionary's own, of which it must know one
MAX_REMEMBERED = 500_000  # words of which it is known whether they are known
WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’\-‐][\p{L}\p{M}\p{N}]+)*")
ENCODING = regex.compile(rb"^(?:\xef\xbb\xbf)?\s*SET\s+(\S+)", regex.MULTILINE)
FLAGS = regex.compile(r"(?<!\\)/|\t")  # what follows a word in a .dic
HYPHENS, APOSTROPHES = regex.compile("[-‐]"), regex.compile("['’]")


class _Words(Protocol):
    """One opened file."""

    def spell(self, word: str) -> bool: ...


class Dictionary:
    """The words of one language.

    Args:
        parts: the opened files; a word that one of them has is known.
    """

    def __init__(self, parts: Sequence[_Words]) -> None:
        self._parts = tuple(parts)
        self._remembered: dict[str, bool] = {}

    def knows(self, word: str) -> bool:
        """Whether a word is spelled as one of the language.

        Args:
            word: as it stands in a text, without punctuation before or behind it.

        Returns:
            True as well for what no dictionary can list: single letters and what holds a digit. A word with hyphens
            or apostrophes counts if each of its parts does.
        """
        known = self._remembered.get(word)
        if known is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[word] = self._is_known(word)
        return known

    def _is_known(self, word: str) -> bool:
        if len(word) == 1 or any(letter.isdigit() for letter in word):
            return True
        straight = word.replace("’", "'")
        if self._is_listed(straight):
            return True
        if len(parts := HYPHENS.split(word)) > 1:
            return all(self.knows(part) for part in parts if part)
        head, *rest = APOSTROPHES.split(word, maxsplit=1)  # dell'utente, l'homme
        return bool(rest) and (self._is_listed(f"{head}'") or self.knows(head)) and self.knows(rest[0])

    def _is_listed(self, word: str) -> bool:
        return any(part.spell(word) for part in self._parts)


class _List:
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


def dictionary_of(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Dictionaries as they are used.

    Args:
        given: names or paths; or a text in which commas part them; None for none.

    Returns:
        Absolute paths in their order, each once; empty for None.

    Raises:
        UserError: none is named, one is not there or cannot be read, or only a short list is named.
    """
    if given is None:
        return ()
    names = given.split(",") if isinstance(given, str) else given
    paths = tuple(dict.fromkeys(str(_found(name)) for text in names if (name := text.strip())))
    if not paths:
        raise UserError("No dictionary is named", hint="name a language, for example ru, or leave it out")
    lists = [part for path in paths if isinstance(part := _opened_now(path), _List)]
    n_words = len(frozenset().union(*(part.words for part in lists)))
    if len(lists) == len(paths) and n_words < MIN_WORDS:
        raise UserError("The list of words is too short to stand alone", limit=f"{MIN_WORDS} words", got=n_words,
                        hint="every other word would count as wrong: name the dictionary of the language too, or "
                             "give the list as hotwords")
    return paths


def languages_of(paths: Sequence[str]) -> frozenset[str]:
    """The languages whose dictionaries are among these.

    Args:
        paths: as `dictionary_of` gives them.

    Returns:
        ISO 639-1 codes; a word list belongs to any language and adds none.
    """
    return frozenset(filter(None, map(_language, paths)))


def dictionary_for(paths: Sequence[str], language: str) -> Dictionary | None:
    """What is known of a language.

    Args:
        paths: as `dictionary_of` gives them.
        language: ISO 639-1 code of the text.

    Returns:
        Its dictionaries and the lists, as one; None where there are dictionaries, but none of this language.

    Raises:
        UserError: a file is gone, or cannot be read any more.
    """
    languages = languages_of(paths)
    if languages and language not in languages:
        return None
    return _together(tuple((path, *_stamp(path)) for path in paths if _language(path) in (None, language)))


@functools.lru_cache(maxsize=8)
def _together(stamped: tuple[tuple[str, int, int], ...]) -> Dictionary:
    return Dictionary([_opened(*one) for one in stamped])


def _opened_now(path: str) -> _Words:
    return _opened(path, *_stamp(path))


@functools.lru_cache(maxsize=16)
def _opened(path: str, changed: int, size: int) -> _Words:
    """The file as it is now: a list may be edited while a server runs."""
    return _hunspell(Path(path)) if _is_hunspell(path) else _List(_words_of(Path(path)))


def _is_hunspell(path: str) -> bool:
    return path.lower().endswith(".dic")


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise UserError("The dictionary is gone", got=path, hint="put it back, or leave it out") from error
    return found.st_mtime_ns, found.st_size


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


def _words_of(path: Path) -> list[str]:
    try:
        data = path.open("rb").read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise UserError("The list of words cannot be read", got=f"{path.name}: {error.strerror}",
                        hint="check its rights") from error
    if len(data) > MAX_LIST_BYTES:
        raise UserError("The list of words is too large", got=path.name, limit=f"{MAX_LIST_BYTES // 10**6} MB",
                        hint="is it the right file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError("The list of words is not UTF-8 text", got=path.name, hint="save it as UTF-8")
    return WORD.findall(text)


def _language(path: str) -> str | None:
    """Of a dictionary, by its name: ru_RU.dic, de_AT_frami.dic. None for a list, and for a name that says nothing."""
    if not _is_hunspell(path):
        return None
    try:
        return language_code(regex.split("[_-]", Path(path).stem)[0])
    except UserError:
        return None


def _found(name: str) -> Path:
    """The file that a name means."""
    path = Path(name).expanduser()
    if path.suffix.lower() in (".dic", ".aff", *LIST_SUFFIXES) or path.parent != Path():
        path = path.with_suffix(".dic") if path.suffix.lower() in ("", ".aff") else path
        if not path.is_file():
            raise UserError("There is no such dictionary", got=name, hint="name a .dic file, or a text file of words")
        return path.absolute()
    folders = _folders()
    for folder in folders:
        exact = folder / f"{name}.dic"
        if exact.is_file():
            return exact.absolute()
    short = name.lower()
    with suppress(UserError):
        short = language_code(name)
    found = sorted((other for folder in folders for other in folder.glob("*.dic") if _language(str(other)) == short),
                   key=lambda other: (other.stem.lower() != f"{short}_{short}", len(other.stem), other.stem))
    if not found:
        raise UserError("No dictionary of that name is installed", got=name, limit=_installed(folders),
                        hint=f"for example: apt install hunspell-{short}; or name the path of its .dic file")
    return found[0].absolute()


def _folders() -> list[Path]:
    named = [Path(folder).expanduser() for folder in (*os.environ.get("DICPATH", "").split(os.pathsep), *FOLDERS)
             if folder]
    own = importlib.util.find_spec("hunspell")  # the library brings English along
    if own is not None and own.origin is not None:
        named.append(Path(own.origin).parent / "dictionaries")
    return [folder for folder in dict.fromkeys(named) if folder.is_dir()]


def _installed(folders: Sequence[Path]) -> str:
    languages = languages_of([str(path) for folder in folders for path in folder.glob("*.dic")])
    names = sorted(map(language_name, languages))
    return ", ".join(names) if 0 < len(names) <= 12 else f"{len(names)} languages"


@dataclass(frozen=True)
class Known:
    """A dictionary and words of one request that count as known beside it.

    Attributes:
        dictionary: of the language.
        also: words in any case, such as those of the hotwords.
    """

    dictionary: Dictionary
    also: frozenset[str] = frozenset()

    def knows(self, word: str) -> bool:
        """As `Dictionary.knows`."""
        return word.casefold() in self.also or self.dictionary.knows(word)
