"""Word and character error rate: the only definition of either in this project, counted by jiwer.

Enters: references and hypotheses. Leaves: counts and alignments of one utterance, and pooled counts of many; rates
are never averaged. What makes two words the same is in `shared.wer.normaliser`, intervals in `shared.wer.bootstrap`.

An empty reference and an empty hypothesis agree: 0. Words found where the reference has none count one whole each: the
rate is then their number, as jiwer 4 has it, and pooled they add to the errors only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal, NamedTuple

import jiwer

from shared.wer.normaliser import normalise, unit

Kind = Literal["hit", "substitution", "deletion", "insertion"]
_KINDS: dict[str, Kind] = {
    "equal": "hit", "substitute": "substitution", "delete": "deletion", "insert": "insertion",
}


class Aligned(NamedTuple):
    """One step of an alignment.

    Attributes:
        kind: "hit", "substitution", "deletion" or "insertion".
        reference, hypothesis: the word (or character) of each side; the side that has none there holds "".
    """

    kind: Kind
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class WordErrors:
    """Counts of one utterance, or of many pooled by `+`.

    The units are words, or characters where `character_errors` or the language says so.

    Attributes:
        hits, substitutions, deletions, insertions: numbers of units, from 0.
        alignment: that of one utterance; empty where counts were pooled.
    """

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    alignment: tuple[Aligned, ...] = ()

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Units of the reference: hits, substitutions and deletions."""
        return self.hits + self.substitutions + self.deletions

    @property
    def wer(self) -> float:
        """Errors per unit of the reference: 0 is perfect, above 1 means more errors than words."""
        return self.errors / max(self.reference_length, 1)

    def __add__(self, other: WordErrors) -> WordErrors:
        if not isinstance(other, WordErrors):
            return NotImplemented
        return WordErrors(self.hits + other.hits, self.substitutions + other.substitutions,
                          self.deletions + other.deletions, self.insertions + other.insertions)


@dataclass(frozen=True)
class UtteranceErrors:
    """One utterance counted four ways.

    Attributes:
        words: normalised; characters where `unit` of the language says so. The only one that keeps its alignment.
        characters: normalised, by code points.
        raw_words, raw_characters: the texts as they are, case and punctuation included.
    """

    words: WordErrors
    characters: WordErrors
    raw_words: WordErrors
    raw_characters: WordErrors


def word_errors(reference: str, hypothesis: str, language: str | None = None, *, raw: bool = False) -> WordErrors:
    """Align two texts word by word, or character by character where `unit(language)` says so.

    Args:
        reference, hypothesis: what was spoken, and what was recognised.
        language: ISO 639-1, or a tag that starts with it; None where it is not known.
        raw: the texts as they are, split at white space only; case and punctuation count.

    Returns:
        Counts, with their alignment.
    """
    by_character = unit(language) == "character"
    if not raw:
        reference, hypothesis = normalise(reference, language), normalise(hypothesis, language)
    if by_character:
        return _aligned(list("".join(reference.split())), list("".join(hypothesis.split())))
    return _aligned(reference.split(), hypothesis.split())


def character_errors(reference: str, hypothesis: str, language: str | None = None, *, raw: bool = False) -> WordErrors:
    """Align two texts by code points; `.wer` of the result is the CER.

    A space between words is a character, except in the languages written without.

    Args:
        reference, hypothesis: what was spoken, and what was recognised.
        language: ISO 639-1, or a tag that starts with it; None where it is not known.
        raw: the texts as they are; case and punctuation count.

    Returns:
        Counts of characters, with their alignment.
    """
    if unit(language) == "character":
        return word_errors(reference, hypothesis, language, raw=raw)
    if not raw:
        reference, hypothesis = normalise(reference, language), normalise(hypothesis, language)
    return _aligned(list(" ".join(reference.split())), list(" ".join(hypothesis.split())))


def utterance_errors(reference: str, hypothesis: str, language: str | None = None) -> UtteranceErrors:
    """Words and characters, normalised and raw, of one utterance: what `score` pools.

    Args:
        reference, hypothesis: what was spoken, and what was recognised.
        language: ISO 639-1, or a tag that starts with it; None where it is not known.

    Returns:
        The counts, four ways.
    """

    def bare(errors: WordErrors) -> WordErrors:
        return replace(errors, alignment=())

    return UtteranceErrors(
        words=word_errors(reference, hypothesis, language),
        characters=bare(character_errors(reference, hypothesis, language)),
        raw_words=bare(word_errors(reference, hypothesis, language, raw=True)),
        raw_characters=bare(character_errors(reference, hypothesis, language, raw=True)),
    )


def pooled(errors: Iterable[WordErrors]) -> WordErrors:
    """The sum of the counts.

    Args:
        errors: of one utterance each.

    Returns:
        Counts without an alignment; all 0 where there is no utterance.
    """
    return sum(errors, WordErrors())


def _aligned(reference: list[str], hypothesis: list[str]) -> WordErrors:
    """Levenshtein alignment of two lists of units; a unit may be a space."""
    done = jiwer.process_words([reference], [hypothesis], list, list)  # type: ignore[list-item,arg-type]  # split already
    return WordErrors(done.hits, done.substitutions, done.deletions, done.insertions,
                      tuple(_steps(done.alignments[0], reference, hypothesis)))


def _steps(chunks: list[jiwer.AlignmentChunk], reference: list[str], hypothesis: list[str]) -> Iterator[Aligned]:
    for chunk in chunks:
        wanted = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        found = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for one, other in zip_longest(wanted, found, fillvalue=""):
            yield Aligned(_KINDS[chunk.type], one, other)


