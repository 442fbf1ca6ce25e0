"""What a test set is made of: clips with references, read one at a time.

Plain values and the search for the columns that hold audio and text. Knows nothing of where clips come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from shared.audio import MEDIA_SUFFIXES
from shared.errors import UserError

AUDIO_COLUMNS = ("audio", "path", "file", "file_name", "filename", "clip", "wav")
TEXT_COLUMNS = ("text", "sentence", "transcript", "transcription", "reference", "raw_transcription", "normalized_text")
MAX_CLIP_BYTES = 50_000_000
MAX_FAILED = 200  # rows that are listed one by one; the rest is counted


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip of a test set.

    Attributes:
        id: its name for a person.
        reference: its text.
        read: gives the encoded audio, or raises UserError.
        suffix: of its file; formats without a header need it.
    """

    id: str
    reference: str
    read: Callable[[], bytes]
    suffix: str = ""


@dataclass(frozen=True)
class FailedClip:
    """A clip that could not be scored.

    Attributes:
        id: its name for a person.
        message: why, as a sentence.
    """

    id: str
    message: str


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips and what was wrong with the source.

    Attributes:
        origin: where they are from, for a person.
        clips: read one at a time, once.
        n_clips: None where the source does not say how many.
        failed: rows that hold no clip or no text, MAX_FAILED at most and a last one that counts the rest.
        warnings: sentences about the source as a whole.
    """

    origin: str
    clips: Iterable[Clip]
    n_clips: int | None = None
    failed: tuple[FailedClip, ...] = ()
    warnings: tuple[str, ...] = ()


def find_column(columns: Sequence[str], usual: Sequence[str], named: str | None, what: str) -> str:
    """The column named, or the first usual name there is, whatever its case.

    Raises:
        UserError: there is no such column, or more than one; it lists what there is.
    """
    folded = [column.strip().lower() for column in columns]
    for name in [named] if named else usual:
        wanted = name.strip().lower()
        if folded.count(wanted) > 1:
            raise UserError(f"The {what} column is there more than once", got=f"{folded.count(wanted)} columns "
                            f"“{short(name)}”", limit="one", hint="leave one, or name another column")
        if wanted in folded:
            return columns[folded.index(wanted)]
    looked_for = f"“{short(named)}”" if named else f"one of {', '.join(usual)}"
    raise UserError(f"There is no {what} column", got=f"the columns {some(columns, 12)}", limit=looked_for,
                    hint=f"name the {what} column")


def capped(failed: Sequence[FailedClip]) -> tuple[FailedClip, ...]:
    """At most MAX_FAILED of them, and one that says how many more there are."""
    if len(failed) <= MAX_FAILED:
        return tuple(failed)
    more = len(failed) - MAX_FAILED
    return (*failed[:MAX_FAILED], FailedClip(f"{more} more rows", "They failed as well and are not listed."))


def audio_suffix(path: str) -> str:
    """The ending of a path if it is one of sound or video, else ''."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix if suffix in MEDIA_SUFFIXES else ""


def short(text: str) -> str:
    """A text for a message: one line of at most 60 characters."""
    text = re.sub(r"\s+", " ", text[:1000]).strip()
    return text if len(text) <= 60 else text[:59] + "…"


def some(names: Iterable[str], n: int = 4) -> str:
    """The first `n` names for a message, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - n} more" if len(names) > n else ""
    return (", ".join(map(short, names[:n])) or "nothing") + rest
