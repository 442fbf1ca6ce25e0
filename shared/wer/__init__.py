from shared.wer.bootstrap import MIN_UTTERANCES, Comparison, Interval, Rate, Score, compare, interval, score
from shared.wer.counts import (
    Aligned,
    UtteranceErrors,
    WordErrors,
    character_errors,
    pooled,
    utterance_errors,
    word_errors,
)
from shared.wer.normaliser import normalise, unit, without_accents
from shared.wer.trn import write_trn

__all__ = [
    "MIN_UTTERANCES",
    "Aligned",
    "Comparison",
    "Interval",
    "Rate",
    "Score",
    "UtteranceErrors",
    "WordErrors",
    "character_errors",
    "compare",
    "interval",
    "normalise",
    "pooled",
    "score",
    "unit",
    "utterance_errors",
    "without_accents",
    "word_errors",
    "write_trn",
]
