"""A corpus's text in, the text that was spoken out, and what can be judged by the text alone.

Punctuation and case stay: a model learns to write what its labels write. Knows no audio and no model.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from shared.languages import LANGUAGES
from shared.wer import normalise

JAPANESE = ("HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA")
# Scripts of languages not written in Latin letters, as the first word of a letter's Unicode name.
SCRIPTS = {
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "kk", "mn", "tg", "tt", "ba"), ("CYRILLIC",)),
    **dict.fromkeys(("sr", "uz", "az"), ("CYRILLIC", "LATIN")),
    **dict.fromkeys(("ar", "fa", "ur", "ps", "sd"), ("ARABIC",)),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), ("DEVANAGARI",)),
    **dict.fromkeys(("he", "yi"), ("HEBREW",)),
    **dict.fromkeys(("zh", "yue"), ("CJK",)),
    "ja": JAPANESE, "ko": ("HANGUL",), "th": ("THAI",), "lo": ("LAO",),
    "el": ("GREEK",), "bn": ("BENGALI",), "as": ("BENGALI",), "ta": ("TAMIL",), "te": ("TELUGU",), "kn": ("KANNADA",),
    "ml": ("MALAYALAM",), "gu": ("GUJARATI",), "pa": ("GURMUKHI",), "si": ("SINHALA",), "my": ("MYANMAR",),
    "km": ("KHMER",), "bo": ("TIBETAN",), "ka": ("GEORGIAN",), "hy": ("ARMENIAN",), "am": ("ETHIOPIC",),
}
# One letter of these stands for a syllable or a word, so far fewer are spoken in a second.
DENSE_SCRIPTS = frozenset(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"))
_TAG = re.compile(r"</?[^\W\d_][^<>]{0,200}>|<[|/][^<>]{0,40}>")  # not 5 < 6
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]|[\x00-\x08\x0b-\x1f\x7f]")  # not the joiners: spelling
_SPACE = re.compile(r"\s+")
# Programs set the apostrophe in many ways, Whisper writes "'". U+02BB and U+02BC are letters: they stay (Uzbek).
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])[\u2018\u2019\u00b4`](?=[^\W\d_])")
_BEFORE_STOP = re.compile(r"\s+([,.!?;:…](?:\s|$))")


def clean_text(text: str, brackets: Sequence[str] = ()) -> str:
    """Unicode NFC, no markup, no stage directions, single spaces, one form of apostrophe within words.

    brackets: pairs such as "[]"; what stands between two of them goes, with them, if they close again.
    """
    # Entities may hide tags, and text that passed through two exports is escaped twice.
    text = html.unescape(html.unescape(text))
    text = _TAG.sub(" ", text)
    bare = _bracketed(tuple(brackets)).sub(" ", text) if brackets else text
    bare = unicodedata.normalize("NFC", _INVISIBLE.sub("", bare.replace("\n", " ")))
    bare = _APOSTROPHE.sub("'", bare)
    if bare != text:  # the gap a removed part leaves before a stop, not the space French sets there
        bare = _BEFORE_STOP.sub(r"\1", bare) if len(bare) < len(text) else bare
    return _SPACE.sub(" ", bare).strip()


def sentence_key(text: str, language: str | None = None) -> str:
    """What makes two sentences the same: letters, marks and digits, without case or punctuation.

    Coarser than the normalisation of `shared.wer`: what is one sentence there is one here.
    """
    folded = unicodedata.normalize("NFKC", normalise(text, language)).casefold()
    return " ".join("".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split())


def n_letters(text: str) -> int:
    """Letters and digits; marks and punctuation take no time of their own."""
    return sum(character.isalnum() for character in text)


def scripts(text: str) -> dict[str, int]:
    """How many letters of each script a text has, by the first word of the letters' Unicode names."""
    return dict(Counter(_script(character) for character in text if character.isalpha()))


def script_share(found: Mapping[str, int], expected: Collection[str]) -> float:
    """Share of the letters that belong to the expected scripts; 1.0 for a text without letters."""
    n_letters = sum(found.values())
    return sum(found.get(script, 0) for script in expected) / n_letters if n_letters else 1.0


def usual_scripts(language: str) -> tuple[str, ...] | None:
    """The scripts that a language is written in; None where this project does not know."""
    return SCRIPTS.get(language) or (("LATIN",) if language in LANGUAGES else None)


def own_scripts(found: Mapping[str, int], language: str) -> tuple[str, ...]:
    """The scripts of a corpus, from its letters: the language's usual ones if most letters are in them, else those in
    which at least a fifth of the letters are. Japanese's scripts count as one.
    """
    usual = usual_scripts(language)
    if usual and script_share(found, usual) >= 0.5:
        return usual
    n_letters = sum(found.values())
    main = [script for script, count in found.items() if count >= 0.2 * n_letters]
    return tuple(main) + (JAPANESE if set(main) & set(JAPANESE) else ())


def is_dense(text: str) -> bool:
    """Whether most letters each stand for a syllable or a word."""
    found = scripts(text)
    return script_share(found, DENSE_SCRIPTS) > 0.5 if found else False


def style_warnings(n_rows: int, n_punctuated: int, n_cased: int, has_case: bool) -> Iterable[str]:
    """What a model would unlearn from these labels."""
    if n_rows and n_punctuated < 0.05 * n_rows:
        yield (f"{n_punctuated} of {n_rows} texts have any punctuation: "
               "a model trained on them learns to leave it out")
    if n_rows and has_case and n_cased < 0.05 * n_rows:
        yield f"{n_cased} of {n_rows} texts have any capitals: a model trained on them learns to leave them out"


@functools.lru_cache(maxsize=65536)
def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split(" ")[0]


@functools.cache
def _bracketed(pairs: tuple[str, ...]) -> re.Pattern[str]:
    parts = []
    for pair in pairs:
        left, right = pair[: len(pair) // 2], pair[len(pair) // 2 :]
        parts.append(rf"{re.escape(left)}[^{re.escape(left + right)}]*{re.escape(right)}")
    return re.compile("|".join(parts))
