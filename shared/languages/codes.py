"""Codes and names of languages: whichever way a person or a file names one, the code that Whisper uses."""

from __future__ import annotations

import difflib
import functools
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from shared.errors import UserError
from shared.languages.names import OTHERS, SPOKEN_BY_WHISPER
from shared.languages.whisper import LANGUAGES

# What tables, tags and ISO 639-2 write where a language is not known, or where there are several.
NO_LANGUAGES = frozenset({
    "all", "any", "art", "detect", "auto", "empty", "i-default", "language", "mis", "misc", "mixed", "mul", "multi",
    "multilingual", "multiple", "n/a", "nil", "none", "not applicable", "not specified", "null", "other", "tbd",
    "und", "undefined", "undetermined", "unk", "unknown", "unspecified", "various", "xx", "zxx"})
# By pandas and R. "nan" and "na" are codes of languages, Min Nan and Nauru, so case matters.
EMPTY_CELLS = frozenset({"NaN", "NAN", "NA", "<NA>"})


class Names(NamedTuple):
    """What a language is called besides its English name.

    Attributes:
        codes: its own first, then others of ISO 639.
        names: the language's own first.
    """

    codes: tuple[str, ...]
    names: tuple[str, ...]


def names_of(code: str) -> Names:
    """Other codes and names of a language.

    Args:
        code: as `language_code` returns it.

    Returns:
        For those that Whisper has a token for, what its speakers call it first.
    """
    found = _spoken().get(code)
    if found is not None:
        return found
    return Names((code,), () if code not in _other_names() else (_other_names()[code],))


@functools.cache
def _spoken() -> dict[str, Names]:
    lines = (line.partition(" | ") for line in SPOKEN_BY_WHISPER.splitlines())
    return {codes.split()[0]: Names(tuple(codes.split()), tuple(name.strip() for name in names.split(",")))
            for codes, _, names in lines}


def iso_639(code: str) -> str:
    """The code by which others list a language, such as the Hub.

    Args:
        code: as `language_code` returns it.

    Returns:
        ISO 639-1 where there is one, else ISO 639-3: the same, but for Whisper's "jw", which is "jv".
    """
    return "jv" if code == "jw" else code


def language_name(code: str) -> str:
    """The English name of a language.

    Args:
        code: as `language_code` returns it.

    Returns:
        The name, or the code itself where it is no known language's.
    """
    return LANGUAGES.get(code) or _other_names().get(code, code)


@functools.cache
def _other_names() -> dict[str, str]:
    """English names of the languages that Whisper has no token for, by code."""
    lines = (line.partition(" | ") for line in OTHERS.splitlines())
    return {codes.split()[0]: names.split(",")[0] for codes, _, names in lines}


def language_code(text: str | bool, *, also: Iterable[str] = ()) -> str:
    """The code of a language that a person or a file names, whichever way they name it.

    Args:
        text: a code of ISO 639-1, 639-2 or 639-3 ("fr", "fra", "fre"), a tag ("fr-FR", "zh_CN", "sr-Latn"), an English
            name ("French") or the language's own ("français"). False: what YAML makes of the text `no`.
        also: further codes that are right, such as those of a checkpoint's added tokens.

    Returns:
        ISO 639-1 where there is one, else ISO 639-3; "jw" for Javanese, as Whisper writes it. It may be a language that
        Whisper has no token for; whether a checkpoint serves it, `Transcriber.check` says.

    Raises:
        UserError: no language is called so (the nearest names are in the message), or it stands for none (und, mul).

    >>> [language_code(text) for text in ("French", "fr-FR", "fra", "français", "zh_CN", "no")]
    ['fr', 'fr', 'fr', 'fr', 'zh', 'no']
    """
    text = "no" if text is False else str(text)
    name = _folded(text)
    known = _names()
    if _is_no_language(text, also):
        raise UserError("That names no single language", got=text.strip(),
                        hint="name the language that is spoken: a code such as en, sv, hi, or a name such as French")
    # Marks within a code make it something else: n/a is not "na".
    is_code_like = len(name) > 3 or not name.isascii() or name == text.strip().lower()
    for code in (*([name] if is_code_like else []), *_subtags(text)):
        if code in also:
            return code
        if code in known:
            return known[code]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    hint = f"did you mean {' or '.join(dict.fromkeys(f'{language_name(known[one])} ({known[one]})' for one in near))}?"
    raise UserError("There is no such language", got=text or "nothing",
                    hint=f"{hint if near else ''} Use a code such as en, sv, hi, or a name such as French".strip())


def _is_no_language(text: str, also: Iterable[str]) -> bool:
    plain = text.strip()
    first = plain.lower().replace("_", "-").partition("-")[0]  # und-Latn
    return plain not in also and (plain in EMPTY_CELLS or not NO_LANGUAGES.isdisjoint({plain.lower(), first}))


def _subtags(text: str) -> list[str]:
    """The parts of a BCP-47 tag (or a locale such as fr_FR.UTF-8) that may be a language, the likeliest first."""
    parts = text.strip().lower().partition(".")[0].partition("@")[0].replace("_", "-").split("-")
    if len(parts) < 2 or not all(part.isascii() and part.isalnum() and len(part) <= 8 for part in parts):
        return []
    extended = [part for part in parts[1:2] if parts[0] in ("zh", "ar") and len(part) == 3]  # zh-yue is yue
    return [part for part in (*extended, parts[0]) if 2 <= len(part) <= 3]


@functools.cache
def _names() -> dict[str, str]:
    """Every name and code of a language, folded, with the code it stands for."""
    found = {_folded(name): code for code, name in LANGUAGES.items()}
    for line in (*SPOKEN_BY_WHISPER.splitlines(), *OTHERS.splitlines()):
        codes, _, names = line.partition(" | ")
        code, *others = codes.split()
        found |= {_folded(one): code for one in (code, *others, *names.split(","))}
    return found


def _folded(text: str) -> str:
    """Without case, accents and punctuation, so that "Francais" and "FRANÇAIS" are one."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(c for c in letters if not unicodedata.combining(c) and unicodedata.category(c)[0] in "LMNZ")
    return " ".join(letters.split())
