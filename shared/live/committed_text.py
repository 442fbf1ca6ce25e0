"""The text that stands: committed words, gathered into segments.

Enters: words in order of time. Leaves: `Update`s. Knows nothing of sound and hypotheses.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shared.transcript import Segment, Transcript, Word, ends_sentence

SEGMENT_SECONDS = 20.0  # a segment without the end of a sentence ends at the next word after so long


@dataclass(frozen=True)
class Update:
    """What changed and what there is.

    Attributes:
        words: committed since the last update.
        finished: segments that will not grow any more, since the last update.
        tentative: text that may still change.
        transcript: all that is committed so far.
        more: there is work left that needs no new sound; call `process` again at once.
    """

    words: tuple[Word, ...]
    finished: tuple[Segment, ...]
    tentative: str
    transcript: Transcript
    more: bool = False


@dataclass
class CommittedText:
    """finished: segments that will not grow. open: words of the one that grows. new: words since the last update."""

    finished: list[Segment] = field(default_factory=list)
    open: list[Word] = field(default_factory=list)
    new: list[Word] = field(default_factory=list)
    n_reported: int = 0  # finished segments in earlier updates

    def add(self, word: Word) -> Word:
        """Commit a word; it never begins before the one before it ends. Returns it as it stands now."""
        last = self.open[-1].end if self.open else self.finished[-1].end if self.finished else 0.0
        word = replace(word, start=max(word.start, last), end=max(word.end, word.start, last))
        if self.open and (ends_sentence(self.open[-1].text) or word.end - self.open[0].start > SEGMENT_SECONDS):
            self.close_segment()
        self.open.append(word)
        self.new.append(word)
        return word

    def close_segment(self) -> None:
        """What comes next belongs to another segment."""
        if self.open:
            self.finished.append(_segment(self.open))
            self.open = []

    def update(self, tentative: str, language: str, duration: float, more: bool) -> Update:
        """What is new since the last call."""
        new, self.new = tuple(self.new), []
        finished, self.n_reported = tuple(self.finished[self.n_reported :]), len(self.finished)
        segments = (*self.finished, *([_segment(self.open)] if self.open else []))
        return Update(new, finished, tentative, Transcript(segments, language, duration), more)


def _segment(words: list[Word]) -> Segment:
    text = "".join(word.text for word in words).strip()
    return Segment(text, words[0].start, words[-1].end, tuple(words))
