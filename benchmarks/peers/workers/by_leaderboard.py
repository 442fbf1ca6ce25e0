"""WER by the rules of the Open ASR Leaderboard: runs in an environment of its own, imports nothing of ours.

Enters, on standard input: JSON [{"language", "pairs": [[reference, hypothesis], …]}, …]. Leaves, on standard output,
for each: words of the normalised references, errors, errors where a compound written apart is none, and the texts.

The rules, by huggingface/open_asr_leaderboard (normalizer/, read 2026-11): English by Whisper's own English normaliser,
other languages by its basic one without diacritics and with numbers spelled out; kaldialign counts, with
merge_compounds. One rule is left out, English abbreviations (A.B.C. is abc there): texts that have one are counted.
"""

import json
import re
import sys
from collections.abc import Callable

from kaldialign import batch_error_rate
from num2words import num2words
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

ABBREVIATED = re.compile(r"\b[a-z]\.\s*[a-z]\b", re.IGNORECASE)  # the leaderboard makes ab of A.B.


def normaliser(language: str) -> Callable[[str], str]:
    if language == "en":
        english = EnglishTextNormalizer()  # leaves a full stop of "..."; the leaderboard takes ellipses out before
        return lambda text: english(re.sub(r"\s*\.{3,}\s*", " ", text))
    basic = BasicTextNormalizer(remove_diacritics=True)

    def spelled(match: re.Match) -> str:
        try:
            return num2words(int(match.group()), lang=language)
        except (NotImplementedError, OverflowError):  # a language that it does not count in: digits stay, as there
            return match.group()

    def normalise(text: str) -> str:
        return re.sub(r"\d+", spelled, re.sub(r"(\d)\s+(\d{3})\b", r"\1\2", basic(text).strip()))

    return normalise


def counted(language: str, pairs: list[list[str]]) -> dict:
    normalise = normaliser(language)
    texts = [[normalise(text).strip() for text in pair] for pair in pairs]
    references, hypotheses = ([text.split() for text in side] for side in zip(*texts, strict=True))
    apart, merged = (batch_error_rate(references, hypotheses, merge_compounds=merge) for merge in (False, True))
    return {"words": apart["ref_len"], "errors": apart["total"], "errors_merged": merged["total"], "texts": texts,
            "abbreviated": sum(language == "en" and bool(ABBREVIATED.search(text)) for pair in pairs for text in pair)}


if __name__ == "__main__":
    print(json.dumps([counted(one["language"], one["pairs"]) for one in json.load(sys.stdin)]))
