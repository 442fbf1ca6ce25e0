"""Text in, the same text as it is compared: what counts as the same word, in every script.

Enters: a reference or a hypothesis, and its language. Leaves: words between single spaces, without case or
punctuation. Knows nothing of errors and counts; `shared.wer` is the door to both. Two texts that a reader of the
language would call the same words in the same spelling become equal, and nothing else does:

- Every letter and every mark stays. Whisper's basic normaliser drops combining marks, which turns the five words of
  हमने उस उम्मीदवार को चुना into eight pieces; its English one rewrites spellings, contractions and numbers, which
  hides errors and exists for one language only.
- Case goes (`lower`, not `casefold`: ß stays apart from ss), with the dotted and dotless i of Turkish and Azeri.
- Words are what lies between spaces. An apostrophe inside a word stays, in one form, and does not split it: l'ami,
  don't and dell'acqua are one word each, as in published results; splitting would lengthen the reference, and so
  lower the WER, of French and Italian alone.
- A hyphen splits (it has no sound): cold-hearted equals cold hearted. A soft hyphen joins.
- Numbers are as written: 1,000, 3.5 and -5 are one word each, and three is not 3.
- Symbols that are read aloud (%, €, +) are words of their own; other punctuation and symbols go, also from Hindi,
  Arabic, Ethiopic or Japanese.
- [music], 【音楽】, <unk> say what is in the recording, not what was spoken, and go; (words in parentheses) stay.
- Marks that a language may leave out in ordinary writing go in that language only: Arabic tashkeel, Hebrew niqqud,
  the dots of Russian ё, stress accents in Cyrillic. Without a language every mark counts.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from shared.languages import NO_SPACES

_DOTLESS_I = frozenset({"tr", "az"})
_TASHKEEL = re.compile(
    "[\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)
_NIQQUD = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]")
_STRESS = re.compile("[\u0300\u0301]")  # ѓ, ќ and ѝ are composed by then and stay
# Kashmiri, Uyghur and Yiddish use the same signs as full vowels, so they are not in this table.
_OPTIONAL_MARKS = {
    **dict.fromkeys(("ar", "fa", "ur", "ps", "sd"), _TASHKEEL),
    "he": _NIQQUD,
    **dict.fromkeys(("ru", "uk", "be", "bg"), _STRESS),
}

_ACCENTED = re.compile("([A-Za-z])[\u0300\u0301\u0302\u0308]+(?![\u0300-\u036f])")

# One letter, two code points in use: ё may be written е; Persian and Urdu with Arabic yeh and kaf; Romanian cedillas.
_SAME_LETTER = {
    "ru": str.maketrans("ё", "е"),
    **dict.fromkeys(("fa", "ur"), str.maketrans("يىك", "ییک")),
    "ro": str.maketrans("şţ", "șț"),
}

# Malayalam's bare consonants had no code points before Unicode 5.1; the joiner in them is part of the letter.
_CHILLU = {"ണ്\u200d": "ൺ", "ന്\u200d": "ൻ", "ര്\u200d": "ർ", "ല്\u200d": "ൽ", "ള്\u200d": "ൾ", "ക്\u200d": "ൿ"}

_ANNOTATION = re.compile(r"\[[^\[\]\n]{0,60}\]|［[^［］\n]{0,60}］|【[^【】\n]{0,60}】|</?[^\W\d_][^<>\s]{0,30}>")
_APOSTROPHES = "'’‘‛`´՚׳"
_SPOKEN = frozenset("%‰&@+=°§№×÷٪")
_WIDTH_OR_SHAPE = ("<wide>", "<narrow>", "<initial>", "<medial>", "<final>", "<isolated>", "<font>")
_LIGATURES = frozenset("ĳﬀﬁﬂﬃﬄﬅﬆﬓﬔﬕﬖﬗ")
_INVISIBLE_MARK = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u034f\u180b-\u180d\u180f]")  # they choose a glyph
_TATWEEL = "\u0640"  # stretches an Arabic word, says nothing
_NUMBER_SEPARATORS = ".,:/٫٬"
_LETTER_APOSTROPHES = "ʼʻ"  # letters of Ukrainian, Hawaiian, Uzbek: like an apostrophe inside a word, kept at its edge
_JOINER = re.compile(f"[-'\"{_NUMBER_SEPARATORS}{_LETTER_APOSTROPHES}]")


def unit(language: str | None) -> Literal["word", "character"]:
    """What an error rate of the language counts.

    Args:
        language: ISO 639-1, or a tag that starts with it; None where it is not known.

    Returns:
        "character" for Chinese, Japanese, Thai, Lao, Khmer and Burmese, else "word".
    """
    return "character" if _code(language) in NO_SPACES else "word"


def normalise(text: str, language: str | None = None) -> str:
    """The text as it is compared: lower case, no punctuation, one space between words; see the module for the rules.

    Args:
        text: of a reference or a hypothesis.
        language: ISO 639-1, or a tag that starts with it (pt-BR); None where it is not known.

    Returns:
        The text; normalising it again changes nothing.
    """
    code = _code(language)
    text = unicodedata.normalize("NFC", text)
    text = _ANNOTATION.sub(" ", text)
    if code in _DOTLESS_I:
        text = text.replace("I", "ı")
    text = text.replace("İ", "i").lower()
    if code in _OPTIONAL_MARKS:
        text = _OPTIONAL_MARKS[code].sub("", text)
    text = text.translate(_SAME_LETTER.get(code or "", {}))
    if "\u200d" in text:
        for old, new in _CHILLU.items():
            text = text.replace(old, new)
    text = text.translate(_SIGNS)
    text = unicodedata.normalize("NFC", text)  # a half-width kana and its voicing mark are now next to each other
    return " ".join(_JOINER.sub(_inside, text).split())


def without_accents(text: str) -> str:
    """The text without the accents of Latin letters, for references written without them: mas for más, ou for où.

    Acute, grave, circumflex and diaeresis go; letters of their own (ñ, ç, å, ő) and other scripts stay.

    Args:
        text: of a reference or a hypothesis; both must be treated alike.

    Returns:
        The text, composed (NFC).
    """
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", unicodedata.normalize("NFD", text)))


def _code(language: str | None) -> str | None:
    return re.split("[-_]", language)[0].lower() if language else None


class _Signs(dict):
    """What `str.translate` puts for each character; worked out when first met."""

    def __missing__(self, code: int) -> str:
        self[code] = put = _put(chr(code))
        return put


_SIGNS = _Signs()


def _put(char: str) -> str:
    """One character as compared. Joiners pass through: whether they stay depends on their neighbours."""
    if unicodedata.decomposition(char).startswith(_WIDTH_OR_SHAPE) or char in _LIGATURES:
        # Not NFKC for all: that would turn m² into m2, 1º into 1o, and take Thai's ำ apart.
        return "".join(_put(part) for part in unicodedata.normalize("NFKC", char).lower())
    if char in _APOSTROPHES:
        return "'"
    if char in "\"“”״":
        return '"'
    if char == "−":
        return "-"
    if _JOINER.match(char):
        return char
    if char == "\u200b":  # the zero-width space of Thai and Khmer is a space
        return " "
    category = unicodedata.category(char)
    if char in _SPOKEN or category == "Sc":
        return f" {char} "
    if category == "Cf" or char == _TATWEEL or _INVISIBLE_MARK.match(char):
        return ""  # joiners and non-joiners choose a shape, bidi marks a direction: same word
    return " " if category[0] in "PSZ" or category in ("Cc", "Cs") else char


def _inside(match: re.Match) -> str:
    """Keep an apostrophe inside a word, a separator inside a number, a minus before one; else a space."""
    text, start, sign = match.string, match.start(), match.group()
    before, after = text[start - 1 : start], text[start + 1 : start + 2]
    if sign == "'" or sign in _LETTER_APOSTROPHES:
        if _in_word(before) and _in_word(after):
            return "'"
        return " " if sign == "'" else sign
    if sign == '"':  # gershayim, in a Hebrew abbreviation; a quotation mark anywhere else
        return "״" if "א" <= before <= "ת" and "א" <= after <= "ת" else " "
    if sign == "-":
        return sign if after.isdecimal() and (not before or before.isspace()) else " "
    return sign if before.isdecimal() and after.isdecimal() else " "


def _in_word(char: str) -> bool:
    return bool(char) and char not in _LETTER_APOSTROPHES and unicodedata.category(char)[0] in "LMN"
