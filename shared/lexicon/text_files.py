"""A text file of a person's, read and refused in one way."""

from __future__ import annotations

from pathlib import Path

from shared.errors import UserError
from shared.units import megabytes

SUFFIXES = (".txt", ".csv", ".lst", ".list")  # of word lists


def text_of(path: Path, what: str, max_bytes: int) -> str:
    """The text of a file.

    Args:
        path: of the file.
        what: as messages call it, such as "file of hotwords".
        max_bytes: the largest that is read.

    Returns:
        Its text, without a byte order mark.

    Raises:
        UserError: it cannot be read, is too large, or is no UTF-8 text.
    """
    try:
        data = path.open("rb").read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"The {what} cannot be read", got=f"{path.name}: {error.strerror}",
                        hint="check its rights") from error
    if len(data) > max_bytes:
        raise UserError(f"The {what} is too large", got=path.name, limit=megabytes(max_bytes),
                        hint="is it the right file? It has one word or phrase a line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UserError(f"The {what} is not UTF-8 text", got=path.name,
                        hint="save it as UTF-8, one word or phrase a line")
    return text
