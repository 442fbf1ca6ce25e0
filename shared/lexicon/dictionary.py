"""Which words a language has: hunspell's dictionaries, as text editors use them, and word lists of one's own.

Enters: names as a person gives them: a language ("ru"), a dictionary ("ru_RU"), or the path of a file. Leaves: paths
that are there, and a `Dictionary` of those that are for a language, which says whether it knows a word. Knows nothing
of how a text is searched for (`shared.engines.spelling`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import regex

from shared.errors import UserError
from shared.languages import NO_SPACES
from shared.lexicon.installed import found, language_of
from shared.lexicon.word_files import WordList, Words, opened, stamp, words_in

MIN_WORDS = 5000  # of a list that stands alone: some 90 % of running text, as its most frequent words
MAX_REMEMBERED = 500_000  # words of which it is known whether they are known
HYPHENS, APOSTROPHES = regex.compile("[-‐]"), regex.compile("['’]")


class Dictionary:
    """The words of one language.

    Args:
        parts: the opened files; a word that one of them has is known.
    """

    def __init__(self, parts: Sequence[Words]) -> None:
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
    paths = tuple(dict.fromkeys(str(found(name)) for text in names if (name := text.strip())))
    if not paths:
        raise UserError("No dictionary is named", hint="name a language, for example ru, or leave it out")
    lists = [part for path in paths if isinstance(part := opened(path), WordList)]
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
    return frozenset(filter(None, map(language_of, paths)))


def serves(paths: Sequence[str], language: str) -> bool:
    """Whether dictionaries are followed in a language.

    Args:
        paths: as `dictionary_of` gives them.
        language: ISO 639-1 code of the text.

    Returns:
        False where they are of others, where there are none, and where no spaces part the words.
    """
    return bool(paths) and language not in NO_SPACES and language in (languages_of(paths) or {language})


def dictionary_for(paths: Sequence[str], language: str, hotwords: Sequence[str] = ()) -> Dictionary | None:
    """What is known of a language.

    Args:
        paths: as `dictionary_of` gives them.
        language: ISO 639-1 code of the text.
        hotwords: entries whose words are known as well.

    Returns:
        Its dictionaries and the lists, as one, the same object for the same files; None where they do not
        serve it (`serves`).

    Raises:
        UserError: a file is gone, or cannot be read any more.
    """
    if not serves(paths, language):
        return None
    return _together(tuple((path, *stamp(path)) for path in paths if language_of(path) in (None, language)),
                     tuple(hotwords))


@functools.lru_cache(maxsize=8)
def _together(stamped: tuple[tuple[str, int, int], ...], hotwords: tuple[str, ...]) -> Dictionary:
    also = WordList(word for entry in hotwords for word in words_in(entry))
    return Dictionary([*(opened(path) for path, *_ in stamped), also])
