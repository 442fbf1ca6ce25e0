"""Words and names that a recording may hold and the model cannot know: a list of them, read and checked.

Enters: a text, a file or a list. Leaves: a tuple of entries, each one word or phrase as it is to be spelled. Knows
nothing of how they are looked for (`shared.engines.hotword_trie`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from shared.errors import UserError
from shared.lexicon.text_files import SUFFIXES, text_of

MAX_ENTRIES = 2000
MAX_LETTERS = 100  # of one entry
MAX_FILE_BYTES = 1_000_000  # far above MAX_ENTRIES entries of MAX_LETTERS letters as people write them
MAX_TEXT = 40_000  # letters of a list in a field: MAX_ENTRIES words of usual length
SEPARATORS = re.compile(r"[,;\n\r，、；]+")  # Chinese and Japanese commas too


def hotwords_of(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """A list of words as it is used.

    Args:
        given: entries; or a text in which commas, semicolons or line ends part them and lines that begin with # are
            comments; None for no list.

    Returns:
        The entries in their order, each once, spaces in them made single; empty for None.

    Raises:
        UserError: the list is empty or too long, or an entry is too long or holds no letter.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        lines = [line for line in given.splitlines() if not line.lstrip().startswith("#")]
        given = SEPARATORS.split("\n".join(lines))
    entries = tuple(dict.fromkeys(entry for text in given if (entry := " ".join(text.split()))))
    if not entries:
        raise UserError("The list of hotwords is empty", hint="name at least one word, or leave the list out")
    check_hotwords(entries)
    return entries


def check_hotwords(entries: tuple[str, ...]) -> None:
    """Refuse a list that cannot be used.

    Args:
        entries: one word or phrase each; none at all is allowed.

    Raises:
        UserError: there are too many, or one is too long or holds no letter.
    """
    if len(entries) > MAX_ENTRIES:
        raise UserError("There are too many hotwords", got=len(entries), limit=MAX_ENTRIES,
                        hint="keep the names and terms that are likely in this recording")
    for entry in entries:
        if len(entry) > MAX_LETTERS:
            raise UserError("A hotword is too long", got=f"{entry[:40]}… ({len(entry)} letters)",
                            limit=f"{MAX_LETTERS} letters", hint="list words and short phrases, one entry each")
        if not any(letter.isalpha() for letter in entry):
            raise UserError("A hotword has no letter", got=repr(entry), hint="write it as it is to be read in the text")


def read_hotwords(given: str) -> tuple[str, ...]:
    """A list as the command line names it.

    Args:
        given: the path of a text file with one word or phrase a line, or the entries themselves, parted by commas.

    Returns:
        As `hotwords_of`.

    Raises:
        UserError: as `hotwords_of`, and if it names a file that is not there or holds no text.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL
        is_file = False
    if is_file:
        return hotwords_of(text_of(path, "file of hotwords", MAX_FILE_BYTES))
    if path.suffix.lower() in SUFFIXES or (path.parent != Path() and path.parent.is_dir()):
        raise UserError("There is no such file of hotwords", got=given[:200],
                        hint="name a text file, or write the words parted by commas")
    return hotwords_of(given)
