"""Names that fill a corpus: words rare in the language at large that a model would write everywhere after training.

Without a word list of the language two signs are used: the word is capitalised wherever it does not begin the
sentence, and Whisper's vocabulary, learned from text at large, needs several tokens to write it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from feature_pipeline.config import Clean
from feature_pipeline.text import sentence_key
from shared.checkpoint.embedded import embedded_base
from shared.checkpoint.tokenizer import tokens_of

MIN_TOKENS = 3  # "Stockholm" takes two, "Norrköping" four
MIN_SHARE = 0.9  # of its places inside sentences, capitalised


def over_frequent_names(texts: Iterable[str], rules: Clean) -> set[str]:
    """The names (as `sentence_key` writes words) that occur in more than `rules.max_same_name` of the texts."""
    capital: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    n_texts: Counter[str] = Counter()
    for text in texts:
        words = list(zip(text.split(), words_of(text), strict=True))
        for word, key in words[1:]:
            inside[key] += 1
            capital[key] += word.lstrip("\"'„“”«»‚‘’(¿¡-–—")[:1].isupper()
        n_texts.update({key for _, key in words})
    often = {key for key, count in n_texts.items() if key and count > rules.max_same_name}
    likely = {key for key in often if inside[key] and capital[key] >= MIN_SHARE * inside[key]}
    if not likely:
        return set()
    tokens = tokens_of(Path(rules.tokenizer) if rules.tokenizer else embedded_base())
    return {key for key in likely if len(tokens.encode(f" {key.capitalize()}")) >= MIN_TOKENS}


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared: one key for each piece between spaces."""
    return [sentence_key(word) for word in text.split()]
