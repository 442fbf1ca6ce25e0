"""The encoding of a text file, found from its bytes and the language of its text."""

from __future__ import annotations

import codecs
import io
import itertools
import re
from collections.abc import Callable
from typing import BinaryIO

from shared.errors import UserError

# The code page of Windows for each language that is not written in Windows-1252: what a table without Unicode is in.
CODE_PAGES = {
    **dict.fromkeys(("pl", "cs", "sk", "hu", "sl", "hr", "bs", "ro", "sq"), "cp1250"),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "sr", "kk", "ky", "mn", "tg", "tt", "ba"), "cp1251"),
    "el": "cp1253", **dict.fromkeys(("tr", "az"), "cp1254"), **dict.fromkeys(("he", "yi"), "cp1255"),
    **dict.fromkeys(("ar", "fa", "ur", "ug", "ckb"), "cp1256"), **dict.fromkeys(("et", "lv", "lt"), "cp1257"),
    "vi": "cp1258", "th": "cp874", "ja": "cp932", "zh": "gb18030", "ko": "cp949", "yue": "cp950",
}
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What the wrong code page shows: a sign inside a word, or a capital after a small letter that is beyond ASCII.
_SIGN_IN_WORD = re.compile(r"[^\W\d_](?:[¹²³]|[^\w\s\x00-\x7f’‘–—…·“”„«»\u00a0\u00ad])+[^\W\d_]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")


def decoded(data: bytes, name: str, language: str | None) -> str:
    """A small text file's content, its encoding found as a table's.

    Args:
        data: the file's bytes.
        name: what it is called in messages.
        language: ISO 639-1 code of the text, which tells the code page; None: only Unicode is read.

    Returns:
        The text, without a byte order mark.

    Raises:
        UserError: the encoding cannot be found; names the line.
    """
    encoding = find_encoding(lambda: io.BytesIO(data), name, language)
    return data.decode(encoding).removeprefix("\ufeff")


def find_encoding(source: Callable[[], BinaryIO], name: str, language: str | None) -> str:
    """The encoding of a file: by its mark, else UTF-8 if all of it is, else the language's code page of Windows.

    Raises:
        UserError: It is in none of them; names the first line that shows it.
    """
    with source() as file:
        start = file.read(1 << 12)
        for mark, encoding in _BOMS:
            if start.startswith(mark):
                return encoding
        if b"\0" in start:  # UTF-16 without its mark: every second byte of ASCII is 0
            return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"
        decoder, n_lines, block = codecs.getincrementaldecoder("utf-8")(), 1, start
        try:
            while block:
                decoder.decode(block)
                n_lines += block.count(b"\n")
                block = file.read(1 << 20)
            decoder.decode(b"", final=True)
            return "utf-8"
        except UnicodeDecodeError as error:
            line = n_lines + block[: error.start].count(b"\n")
    return _code_page(source, name, language, line)


def _code_page(source: Callable[[], BinaryIO], name: str, language: str | None, line: int) -> str:
    """The language's code page, if the text looks right in it."""
    where = f"{name}, line {line}"
    if language is None:
        raise UserError("The table is not in UTF-8", got=where, hint="save it as “CSV UTF-8”")
    encoding = CODE_PAGES.get(language, "cp1252")
    with source() as file:
        try:
            text = io.TextIOWrapper(file, encoding=encoding).read()
        except UnicodeDecodeError:
            text = "\ufffd"
    wrong = _CONTROL.search(text) or _SIGN_IN_WORD.search(text) or _wrong_case(text, encoding)
    if wrong:
        raise UserError("The text is neither in UTF-8 nor in the language's code page",
                        got=f"{where} (as {encoding}: “{wrong[0]}”)", hint="save it as UTF-8")
    return encoding


def _wrong_case(text: str, encoding: str) -> re.Match[str] | None:
    """A word as DOS, Macintosh or KOI8 text shows in a code page of Windows.

    It has a capital beyond ASCII after a small letter; or, in other scripts than Latin, capitals are the rule.
    """
    words = [word for word in re.finditer(r"[^\W\d_]{2,}", text) if not word[0].isascii()]
    for word in words:
        if any(a.islower() and b.isupper() and not b.isascii() for a, b in itertools.pairwise(word[0])):
            return word
    n_upper = sum(letter.isupper() for word in words for letter in word[0])
    n_lower = sum(letter.islower() for word in words for letter in word[0])
    return words[0] if encoding in ("cp1251", "cp1253") and n_upper > n_lower else None
