"""Hotwords as a prefix trie over tokens: which token continues an entry, and what a complete one is worth.

Enters: a vocabulary and the entries. Leaves: `HotwordTrie`, which `hotword_search` walks along. An entry counts only as
whole words: it must begin where a word begins, and what follows it must not continue its last word.

Ideas: shallow fusion over a trie, whose bonus is taken back where an entry breaks off, and looking ahead for entries
that cannot be completed (arXiv 2508.17796). Here the bonus is credited once, when the entry is complete.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shared.checkpoint.tokenizer import Tokens


@dataclass(frozen=True)
class Bonus:
    """What a complete entry adds to the log-probability of a text: so much, and so much for each of its tokens.

    In a list of more than `few` an entry adds 1 less with ten times as many: the more there are, the less says one's
    being listed, and the more often one sounds like what was said.
    """

    entry: float = 4.0
    token: float = 1.0
    few: int = 100

    def of(self, n_tokens: int, n_entries: int) -> float:
        """n_tokens: of the entry. n_entries: of the list."""
        return self.entry - math.log10(max(1.0, n_entries / self.few)) + self.token * n_tokens


BONUS = Bonus()


class Node:
    """A beginning of entries.

    children: by token. bonus: of the entry that ends here, 0 where none does. part: what the words up to here are worth
    where the audio is cut behind them. reach: the largest bonus of an entry that goes through here. ends_word: an entry
    goes on behind here with a new word.
    """

    __slots__ = ("bonus", "children", "ends_word", "part", "reach")

    def __init__(self) -> None:
        self.children: dict[int, Node] = {}
        self.bonus = self.part = self.reach = 0.0
        self.ends_word = False


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What the search must know of each token. All (n_tokens,) bool.

    goes_on: its text begins with a letter or a digit, so it continues the word before it. ends_in_letter: its text
    ends with one.
    """

    goes_on: np.ndarray
    ends_in_letter: np.ndarray


class HotwordTrie:
    """The entries of one list in the tokens of one vocabulary.

    Attributes:
        spaced: entries with a space before them, which may come anywhere.
        bare: entries without one, which may come where no letter is before them; in a language without spaces anywhere.
        rest: what is left of phrases whose first words were in the window before; at the beginning of a window only.
        vocabulary: of its tokens.
        has_spaces: the language parts words by spaces.
    """

    def __init__(self, tokens: Tokens, entries: Sequence[str], *, has_spaces: bool = True, bonus: Bonus | None = None
                 ) -> None:
        bonus = bonus or BONUS
        self.spaced, self.bare, self.rest = Node(), Node(), Node()
        self.vocabulary, self.has_spaces = vocabulary_of(tokens), has_spaces
        for entry in entries:
            for form in _forms(entry):
                for root, ids in (self.spaced, tokens.encode(f" {form}")), (self.bare, tokens.encode(form)):
                    self._insert(root, ids, bonus.of(len(ids), len(entries)))
            words = entry.split()
            whole = bonus.of(len(tokens.encode(f" {entry}")), len(entries))
            for i in range(1, len(words)):
                left = " ".join(words[i:])
                self._insert(self.rest, tokens.encode(f" {left}"), whole * len(left) / len(entry))

    def _insert(self, root: Node, ids: Sequence[int], bonus: float) -> None:
        node = root
        for n, token in enumerate(ids, 1):
            node = node.children.setdefault(token, Node())
            node.reach = max(node.reach, bonus)
            if n < len(ids) and not self.vocabulary.goes_on[ids[n]]:
                node.ends_word, node.part = True, max(node.part, bonus * n / len(ids))
        node.bonus = max(node.bonus, bonus)

    def tokens(self) -> set[int]:
        """Every token of an entry."""
        found: set[int] = set()
        opened = [self.spaced, self.bare, self.rest]
        while opened:
            node = opened.pop()
            found.update(node.children)
            opened += node.children.values()
        return found


@dataclass(frozen=True)
class Match:
    """An entry that a text is in the middle of, or at the end of. credit: what of its bonus the text has already."""

    node: Node
    credit: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far a text is in the entries. matches: those it is in. earned: the bonus of those that are complete.

    bare_next: no letter is before the next token. is_first: there is no text yet.
    """

    matches: tuple[Match, ...] = ()
    earned: float = 0.0
    bare_next: bool = True
    is_first: bool = True

    @property
    def due(self) -> float:
        """What is earned if the next token ends the word."""
        return max((match.node.bonus - match.credit for match in self.matches if match.node.bonus), default=0.0)

    @property
    def due_at_end(self) -> float:
        """What is earned if the text ends here: half a phrase counts as well, for its other half may be in the next
        window."""
        return max((max(match.node.bonus, match.node.part) - match.credit for match in self.matches), default=0.0)

    @property
    def reach(self) -> float:
        """What may still be earned by the entries it is in."""
        return max((match.node.reach - match.credit for match in self.matches), default=0.0)


class Walker:
    """Goes along the trie, token by token. end, first_stamp: of the vocabulary."""

    def __init__(self, trie: HotwordTrie, end: int, first_stamp: int) -> None:
        self._trie, self._end, self._first_stamp = trie, end, first_stamp

    def ends_word(self, token: int) -> bool:
        """Whether a word that comes before it is over."""
        return token >= self._end or not self._trie.has_spaces or not self._trie.vocabulary.goes_on[token]

    def roots(self, progress: Progress) -> Iterator[Node]:
        """Where the next token may begin an entry."""
        yield self._trie.spaced
        if progress.bare_next or not self._trie.has_spaces:
            yield self._trie.bare
        if progress.is_first:
            yield self._trie.rest

    def after(self, progress: Progress, token: int) -> Progress:
        """One token on: what has broken off is forgotten, what is complete is earned."""
        gain = progress.due_at_end if token == self._end else progress.due if self.ends_word(token) else 0.0
        gain = max(gain, 0.0)
        earned = progress.earned + gain
        if token >= self._first_stamp:  # a timestamp may stand between two words
            kept = (match for match in progress.matches if match.node.ends_word)
            return Progress(tuple(Match(match.node, match.credit + gain) for match in kept), earned, True,
                            progress.is_first)
        matches = [Match(child, match.credit + gain) for match in progress.matches
                   if (child := match.node.children.get(token)) is not None]
        matches += [Match(child) for root in self.roots(progress) if (child := root.children.get(token)) is not None]
        return Progress(tuple(matches), earned, token < self._end and not self._trie.vocabulary.ends_in_letter[token],
                        False)


@functools.lru_cache(maxsize=8)
def trie_of(tokens: Tokens, entries: tuple[str, ...], has_spaces: bool) -> HotwordTrie:
    """The trie of a list; the same object for the same list. Two thousand entries take some tenths of a second."""
    return HotwordTrie(tokens, entries, has_spaces=has_spaces)


@functools.lru_cache(maxsize=8)
def vocabulary_of(tokens: Tokens) -> Vocabulary:
    """What each token begins and ends with; a token that is a part of a character counts as a letter."""
    def mark(letter_of: Callable[[str], str]) -> np.ndarray:
        return np.array([bool(text) and _is_letter(letter_of(text)) for text in tokens.token_texts])

    return Vocabulary(mark(lambda text: text[0]), mark(lambda text: text[-1]))


def _is_letter(letter: str) -> bool:
    return letter.isalnum() or letter == "\ufffd" or unicodedata.category(letter).startswith("M")


def _forms(entry: str) -> list[str]:
    """As it is written, and as a sentence begins."""
    return list(dict.fromkeys((entry, entry[0].upper() + entry[1:])))
