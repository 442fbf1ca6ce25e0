"""Which words of a growing hypothesis can be relied on.

Enters: words of hypotheses about the same stretch of sound, each a little longer. Leaves: where the words
that are settled end in a new hypothesis, how many more two hypotheses agree on, and where a long one may be split.
After LocalAgreement-2 of Macháček, Dabre and Bojar 2023 (arXiv 2307.14743). Pure functions of values.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from shared.transcript import Word, ends_sentence

UNLIKE = 0.6  # of the settled letters differ: their times tell better where they end than their text

LETTERS_PER_SECOND = 6.0  # that text and times weigh against each other: times are sure to 0.1 s or so


def key(word: Word) -> str:
    """What two spellings of one word share: letters, marks and digits, whatever their case."""
    return "".join(c for c in word.text.casefold() if unicodedata.category(c)[0] in "LMN") or word.text.strip()


def settled_in(settled: Sequence[Word], found: Sequence[Word]) -> int:
    """How many of the words `found` are the settled ones over again.

    The beginning of `found` with the least edit distance to `settled`, by letters, so that a word split or joined
    counts little. Where it ends in time counts as well: a number may be written in digits now and in letters then.
    """
    wanted, names = "".join(map(key, settled)), [key(word) for word in found]
    if not wanted:
        return 0
    letters = np.array(list("".join(names)), dtype="<U1")
    steps = np.arange(len(letters) + 1)
    row = steps  # distance of what is settled so far to each beginning of what was found
    for n, letter in enumerate(wanted, 1):
        below = np.minimum(row + 1, np.concatenate([[n], row[:-1] + (letters != letter)]))
        row = np.minimum.accumulate(below - steps) + steps
    costs = row[np.cumsum([0, *map(len, names)])]  # at the ends of words
    last = settled[-1].end
    if costs.min() > UNLIKE * len(wanted):
        return sum((word.start + word.end) / 2 < last for word in found)
    ends = np.array([found[0].start if found else last, *(word.end for word in found)])
    return int(np.argmin(costs + LETTERS_PER_SECOND * np.abs(ends - last)))


def agreed(before: Sequence[Word], now: Sequence[Word], *, in_pause: bool = False) -> int:
    """How many words from the first on both hypotheses have.

    A last word with a mark after it waits unless the speaker pauses: where the sound ends, Whisper likes to end the
    sentence.
    """
    n_words = 0
    for one, other in zip(before, now, strict=False):
        if key(one) != key(other):
            break
        n_words += 1
    if n_words and n_words == len(now) and not in_pause and unicodedata.category(now[-1].text[-1])[0] == "P":
        n_words -= 1
    return n_words


def border(words: Sequence[Word], before: float, *, sentences_only: bool = False) -> int:
    """How many words to split off: up to the last sentence that ends before the second `before`, else the
    last word that does."""
    n_ended = sum(word.end <= before for word in words)
    for n_words in range(n_ended, 0, -1):
        if ends_sentence(words[n_words - 1].text):
            return n_words
    return 0 if sentences_only else n_ended
