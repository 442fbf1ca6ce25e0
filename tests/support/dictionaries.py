"""Small dictionaries of hunspell's, written where a test wants them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import regex
from speech import clips

PLURALS = "SFX S Y 1\nSFX S 0 s .\n"  # word/S: and with an s behind it


def write_dictionary(folder: Path, name: str, words: Iterable[str], encoding: str = "UTF-8") -> Path:
    """The .dic of a pair of files. words: as in a .dic, each with its flags."""
    words = list(words)
    (folder / f"{name}.aff").write_text(f"SET {encoding}\n{PLURALS}", encoding=encoding)
    path = folder / f"{name}.dic"
    path.write_text("\n".join([str(len(words)), *words]) + "\n", encoding=encoding)
    return path


def dictionary_of_clips(folder: Path, name: str, language: str) -> Path:
    """Every word of the texts of the clips in a language."""
    words = {word for clip in clips(language) for word in regex.findall(r"[\p{L}']+", clip.text)}
    return write_dictionary(folder, name, sorted(words | {word.lower() for word in words}))
