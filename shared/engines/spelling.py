"""What a word that no dictionary knows costs a text while it is searched for.

Enters: a vocabulary and who knows which words. Leaves: `Spelling`, which a search asks after every token. A word is
judged when it is complete, so the texts beside each other in a beam are what is chosen from: with a dictionary the
search needs a beam. The price is one for all unknown words, so a name that no dictionary has is still written where the
model is sure of it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from shared.checkpoint.tokenizer import Tokens
from shared.engines.hotword_trie import vocabulary_of
from shared.lexicon import Dictionary, words_in

PENALTY = 2.0  # of an unknown word, in log-probability
CANDIDATES = 6  # for each text of a beam, so many times the beam's width are judged before some are dropped
MAX_REMEMBERED = 100_000  # words in tokens whose cost is known
JOINERS = ("'", "’", "-", "‐")


@dataclass(frozen=True)
class Spelled:
    """How far a text is. cost: of its complete words. open: the tokens of the word that may go on."""

    cost: float = 0.0
    open: tuple[int, ...] = ()


BEGUN = Spelled()


class Spelling:
    """The words of one language in the tokens of one vocabulary."""

    def __init__(self, tokens: Tokens, dictionary: Dictionary, penalty: float = PENALTY) -> None:
        self._tokens, self._dictionary, self._penalty = tokens, dictionary, penalty
        joins = np.array([text.startswith(JOINERS) for text in tokens.token_texts])
        self._goes_on = vocabulary_of(tokens).goes_on | joins
        self._costs: dict[tuple[int, ...], float] = {}

    def after(self, spelled: Spelled, token: int) -> Spelled:
        """One token on; the end of the text and timestamps end a word too."""
        if token >= self._tokens.end:
            return Spelled(spelled.cost + self._cost(spelled.open))
        if spelled.open and self._goes_on[token]:
            return Spelled(spelled.cost, (*spelled.open, token))
        return Spelled(spelled.cost + self._cost(spelled.open), (token,))

    def _cost(self, ids: tuple[int, ...]) -> float:
        cost = self._costs.get(ids)
        if cost is None:
            if len(self._costs) >= MAX_REMEMBERED:
                self._costs.clear()
            words = words_in(self._tokens.text(ids)) if ids else []
            cost = self._costs[ids] = self._penalty * sum(not self._dictionary.knows(word) for word in words)
        return cost


@functools.lru_cache(maxsize=8)
def spelling_of(tokens: Tokens, dictionary: Dictionary) -> Spelling:
    """The same object for the same words."""
    return Spelling(tokens, dictionary)
