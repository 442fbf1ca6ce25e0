"""Which file a dictionary's name means, and which language a file is for.

Enters: a language ("ru"), a dictionary as hunspell names it ("ru_RU"), or a path. Leaves: the path of a file that is
there.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import regex

from shared.errors import UserError
from shared.languages import language_code, language_name
from shared.lexicon.text_files import SUFFIXES
from shared.lexicon.word_files import SUFFIX, is_hunspell

# Where systems keep dictionaries; DICPATH comes first, as hunspell has it.
FOLDERS = ("~/.local/share/hunspell", "/usr/local/share/hunspell", "/usr/share/hunspell", "/usr/share/myspell",
           "/usr/share/myspell/dicts", "~/Library/Spelling", "/Library/Spelling", "/opt/homebrew/share/hunspell")


def found(name: str) -> Path:
    """The file that a name means.

    Args:
        name: a language, a dictionary, or a path.

    Returns:
        Its absolute path; of several for one language that of its own country (`ru_RU`), else the shortest name.

    Raises:
        UserError: there is none.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() in (SUFFIX, ".aff", *SUFFIXES) or path.parent != Path():
        path = path.with_suffix(SUFFIX) if path.suffix.lower() in ("", ".aff") else path
        if not path.is_file():
            raise UserError("There is no such dictionary", got=name, hint="name a .dic file, or a text file of words")
        return path.absolute()
    folders = _folders()
    for folder in folders:
        exact = folder / f"{name}{SUFFIX}"
        if exact.is_file():
            return exact.absolute()
    short = name.lower()
    with suppress(UserError):
        short = language_code(name)
    fitting = [path for folder in folders for path in folder.glob(f"*{SUFFIX}") if language_of(str(path)) == short]
    if not fitting:
        raise UserError("No dictionary of that name is installed", got=name, limit=_installed(folders),
                        hint=f"for example: apt install hunspell-{short}; or name the path of its .dic file")
    own = f"{short}_{short}"
    return min(fitting, key=lambda path: (path.stem.lower() != own, len(path.stem), path.stem)).absolute()


def _folders() -> list[Path]:
    named = [Path(folder).expanduser() for folder in (*os.environ.get("DICPATH", "").split(os.pathsep), *FOLDERS)
             if folder]
    own = importlib.util.find_spec("hunspell")  # the library brings English along
    if own is not None and own.origin is not None:
        named.append(Path(own.origin).parent / "dictionaries")
    return [folder for folder in dict.fromkeys(named) if folder.is_dir()]


def _installed(folders: Sequence[Path]) -> str:
    languages = {language_of(str(path)) for folder in folders for path in folder.glob(f"*{SUFFIX}")}
    names = sorted(language_name(language) for language in languages if language)
    return ", ".join(names) if 0 < len(names) <= 12 else f"{len(names)} languages"


def language_of(path: str) -> str | None:
    """The language of a dictionary, by its name: ru_RU.dic, de_AT_frami.dic.

    Args:
        path: of a file of words.

    Returns:
        ISO 639-1 code; None for a list, and for a name that says nothing.
    """
    if not is_hunspell(path):
        return None
    try:
        return language_code(regex.split("[_-]", Path(path).stem)[0])
    except UserError:
        return None
