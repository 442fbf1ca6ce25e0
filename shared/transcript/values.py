"""What was spoken, by whom and when: plain frozen values, which cross process borders and compare in tests."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

# The scripts of NO_SPACES: Thai and Lao, Burmese, Khmer, East Asian marks and brackets, kana, ideographs, full width.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u303f\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
                      "\u4e00-\u9fff\uf900-\ufaff\uff01-\uff9f\U00020000-\U0003134f]")


@dataclass(frozen=True)
class Word:
    """A word with its time.

    Attributes:
        text: as written, with its leading space.
        start, end: seconds from the start of the audio.
        probability: how sure the model is, 0 … 1.
        speaker: who says it, as in "Speaker 1"; None where nobody asked.
    """

    text: str
    start: float
    end: float
    probability: float
    speaker: str | None = None


@dataclass(frozen=True)
class Segment:
    """A sentence or so.

    Attributes:
        text: without the space before it.
        start, end: seconds from the start of the audio.
        words: empty unless they were asked for.
        speaker: who says it, as in "Speaker 1"; None where nobody asked.
        no_speech_prob: probability that there is no speech, 0 … 1.
        avg_logprob: mean log-probability of its tokens (≤ 0).
    """

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0


@dataclass(frozen=True)
class Transcript:
    """What was spoken in one recording.

    Attributes:
        segments: in order of time.
        language: ISO 639-1.
        duration: seconds of audio.
        warnings: sentences for the reader, such as that the file is cut off.
    """

    segments: tuple[Segment, ...]
    language: str
    duration: float
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All segments as one text."""
        return joined(segment.text for segment in self.segments)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments; empty unless they were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict:
        """Plain values for JSON: the text and every field."""
        return {"text": self.text, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict) -> Transcript:
        """The transcript that `to_dict` wrote.

        Args:
            data: what `to_dict` gave, read back from JSON; its "text" is not needed.

        Returns:
            An equal transcript.
        """
        segments = tuple(
            Segment(**{**segment, "words": tuple(Word(**word) for word in segment.get("words", ()))})
            for segment in data["segments"]
        )
        return cls(segments, data["language"], data["duration"], tuple(data.get("warnings", ())))


def joined(texts: Iterable[str]) -> str:
    """Pieces of text as one: with a space between, unless what follows is written in a script without spaces.

    Args:
        texts: in order, without spaces at their ends.

    Returns:
        One text; "" for none.
    """
    text = ""
    for piece in texts:
        text += separator(piece) + piece if text else piece
    return text


def separator(text: str) -> str:
    """What parts a text from the text before it.

    Args:
        text: the one that follows.

    Returns:
        "" if it begins in a script that is written without spaces, else " ".
    """
    return "" if text and UNSPACED.match(text) else " "


def sentences(segment: Segment) -> list[Segment]:
    """A long segment cut after each sentence, by its word times.

    Args:
        segment: with words; one without is left whole.

    Returns:
        One segment for each sentence, in order.
    """
    cuts = [i for i, word in enumerate(segment.words, 1) if ends_sentence(word.text)]
    cuts = sorted({0, *cuts, len(segment.words)})
    if len(cuts) <= 2:
        return [segment]
    parts = []
    for first, last in pairwise(cuts):
        words = segment.words[first:last]
        text = "".join(word.text for word in words).strip()
        parts.append(replace(segment, text=text, start=words[0].start, end=words[-1].end, words=words))
    return parts


def ends_sentence(text: str) -> bool:
    """Whether a sentence ends here.

    Args:
        text: a word or more; white space at its end does not count.

    Returns:
        True where its last character ends sentences in some script.
    """
    return text.rstrip().endswith((".", "!", "?", "…", "。", "！", "？", "।", "؟"))
