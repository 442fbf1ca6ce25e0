"""Text while somebody is still speaking.

Enters: samples as they come. Leaves: `Update`s: words that stand for good, and text that may still change. A word is
committed when two hypotheses in a row agree on it (`agreement`), when a pause ends its utterance (`endpoint`), or when
the sound not yet committed grows too long. Committed sound is dropped, so memory and the cost of a second of sound stay
as they are for hours; without new speech no model is asked at all.

A listener belongs to one speaker and holds all that is remembered of them; the model is the Transcriber's, and may be
shared by any number of listeners. This module knows nothing of microphones, terminals or pages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.audio.windows import Window
from shared.inference import Transcriber
from shared.live import local_agreement as agreement
from shared.live.endpointer import Endpointer, Utterance
from shared.live.partial_decoder import Looker
from shared.options import Options
from shared.transcript import Segment, Transcript, Word

SOFT_SECONDS = 10.0  # of uncommitted sound: from here on it is parted at the best border there is
HARD_SECONDS = 27.0  # and here at any price; with what follows a clip it must stay under the encoder's 30 s
STEP_SECONDS = 0.5  # of new speech before another look: sooner, two looks agree on the same mistake
EARLY_SILENCE = 0.2  # a look this early in a pause is there when the pause has lasted long enough
RIPE_SECONDS = 0.3  # between a word's end and the end of the sound, for two hypotheses to be believed about it
KEPT_CONTEXT = 1.5  # seconds of committed sound left before what is not committed
UNHEARD_END = 2.0  # words nearer than this to the end of the sound are not committed without agreement
SEGMENT_SECONDS = 20.0  # a segment without the end of a sentence ends at the next word after so long


@dataclass(frozen=True)
class Update:
    """What changed and what there is. words: committed since the last update. tentative: what may still change.

    finished: segments that will not grow any more, since the last update. transcript: all that is committed so far.
    more: there is work left that needs no new sound; call `process` again at once.
    """

    words: tuple[Word, ...]
    finished: tuple[Segment, ...]
    tentative: str
    transcript: Transcript
    more: bool = False


@dataclass
class _Hypothesis:
    """words: the uncommitted ones. until: sample up to which was listened."""

    words: list[Word]
    until: int


class LiveTranscriber:
    """One listener. `insert` may be called from one thread while another calls `process`."""

    def __init__(
        self, transcriber: Transcriber, options: Options | None = None, *, pause: float = 0.5,
        soft_seconds: float = SOFT_SECONDS, hard_seconds: float = HARD_SECONDS, step: float | None = None,
        share: float = 1.0, choose: Callable[[str], Transcriber] | None = None,
    ) -> None:
        """options: as for `Transcriber.transcribe`; word times are always there.

        pause: seconds of silence that end an utterance. soft_seconds, hard_seconds: limits of uncommitted sound.
        step: seconds of new speech between two looks; None: as often as the last look's cost allows, where share (0 …
        1) is the part of the time that may be spent. choose: which Transcriber goes on once the language is known.
        Raises UserError for what the checkpoint cannot do.
        """
        self._looker = Looker(transcriber, options or Options(), choose)
        self._soft, self._hard = soft_seconds, min(hard_seconds, HARD_SECONDS)
        self._step, self._share = step, share
        self._ear = Endpointer(self._looker.options.vad_onset, pause)
        self._turn, self._inbox_lock = threading.Lock(), threading.Lock()
        self._inbox: deque[np.ndarray] = deque()
        self._inserted = 0
        self._at: Utterance | None = None  # the utterance that the next three are about
        self._said: list[Word] = []  # its committed words that are still in the sound
        self._last: _Hypothesis | None = None
        self._looked = 0  # sample up to which it was looked at, believed or not
        self._segments: list[Segment] = []  # finished
        self._open: list[Word] = []  # committed words of the segment that grows
        self._new: list[Word] = []  # since the last update
        self._n_shown = 0  # finished segments in earlier updates

    def insert(self, samples: np.ndarray) -> None:
        """More sound: float32 (n_samples,) in [-1, 1] at 16 kHz. Costs nothing; `process` does the work."""
        with self._inbox_lock:
            self._inbox.append(np.array(samples, dtype=np.float32))
            self._inserted += len(samples)

    @property
    def waiting(self) -> float:
        """Seconds of sound inserted and not looked at yet. A source that is faster than life should hold back."""
        return (self._inserted - self._ear.heard) / SAMPLE_RATE

    @property
    def language(self) -> str | None:
        """ISO 639-1, None as long as it is not known."""
        return self._looker.options.language

    @property
    def transcriber(self) -> Transcriber:
        """The one that listens now; another than at first where `choose` said so."""
        return self._looker.transcriber

    def process(self) -> Update:
        """Hear what was inserted; look at it once if it is time. Takes as long as one decoding at most."""
        with self._turn:
            self._take_in()
            self._work()
            return self._update()

    def finish(self) -> Update:
        """Nothing more will be inserted: commit everything to the last sample."""
        with self._turn:
            while self._inbox:
                self._take_in()
                while self._work():
                    pass
            self._ear.finish()
            while self._work():
                pass
            self._close_segment()
            return self._update()

    # what to do next

    def _take_in(self) -> None:
        """Up to 30 s from the inbox to the ear; a backlog comes piece by piece, so that memory stays bounded."""
        blocks, n_samples = [], 0
        with self._inbox_lock:
            while self._inbox and n_samples < 30 * SAMPLE_RATE:
                block = self._inbox.popleft()
                if len(block) > 30 * SAMPLE_RATE:
                    self._inbox.appendleft(block[30 * SAMPLE_RATE :])
                    block = block[: 30 * SAMPLE_RATE]
                blocks.append(block)
                n_samples += len(block)
        if blocks and not self._is_behind:
            self._ear.push(np.concatenate(blocks))
        elif blocks:
            with self._inbox_lock:
                self._inbox.extendleft(reversed(blocks))

    @property
    def _is_behind(self) -> bool:
        """More than two windows are heard and not committed: first work those off."""
        utterances = self._ear.utterances
        return bool(utterances) and self._ear.heard - utterances[0].start > 60 * SAMPLE_RATE

    def _work(self) -> bool:
        """One look at most; whether there was something to do."""
        ear = self._ear
        if not ear.utterances:
            self._leave_utterance()
            ear.forget()
            return False
        at = ear.utterances[0]
        if at is not self._at:
            self._leave_utterance()
            self._at = at
        length = (at.end - at.start) / SAMPLE_RATE
        if length > self._hard:
            self._part(at, at_any_price=True)
        elif at.ended:
            self._end(at)
        elif self._is_time(at):
            self._look(at)
            if length > self._soft:
                self._part(at)
        else:
            return False
        ear.forget()
        return True

    def _is_time(self, at: Utterance) -> bool:
        new = (at.end - max(self._looked, at.start)) / SAMPLE_RATE
        if new <= 0:
            return False
        wanted = self._step if self._step is not None else max(STEP_SECONDS, self._looker.cost / self._share)
        return new >= wanted or self._ear.silence >= EARLY_SILENCE

    # looking

    def _look(self, at: Utterance) -> None:
        """One more hypothesis about an utterance that goes on; commit what it shares with the one before."""
        new = (at.end - max(self._looked, at.start)) / SAMPLE_RATE
        self._looked = at.end
        if not self._knows_language(at):
            return
        in_pause = self._ear.silence >= EARLY_SILENCE
        window = self._ear.window(at, self._hard)
        words = self._looker.look(window, new)
        if words is None:
            return
        before = self._last.words if self._last else []
        now = words[agreement.settled_in(self._said, words) :]
        n_ripe = len(now) if in_pause else sum(word.end <= window.end - RIPE_SECONDS for word in now)
        n_agreed = min(n_ripe, agreement.agreed(before, now, in_pause=in_pause))
        self._commit(now[:n_agreed])
        self._last = _Hypothesis(now[n_agreed:], at.end)

    def _end(self, at: Utterance) -> None:
        """The utterance is over: its last hypothesis stands, if it heard all of it; else it is heard once more."""
        if self._last is None or self._last.until < at.end:
            if not self._knows_language(at):
                return
            window = self._ear.window(at, self._hard)
            words = self._looker.look(window)
            if words is None:
                words = self._looker.again(window)
            self._commit(words[agreement.settled_in(self._said, words) :])
        else:
            self._commit(self._last.words)
        self._ear.utterances.popleft()
        self._leave_utterance()

    def _part(self, at: Utterance, *, at_any_price: bool = False) -> None:
        """Too much sound is kept: commit what is far enough from its end, and drop sound up to a committed word."""
        window = self._ear.window(at, self._hard)
        if at_any_price:
            if not self._knows_language(at):
                return
            words = self._looker.look(window)
            words = self._looker.again(window) if words is None else words
            now = words[agreement.settled_in(self._said, words) :]
            n_words = sum(word.end <= window.end - UNHEARD_END for word in now)
            self._commit(now[:n_words])
            self._last = None
        elif self._last and self._last.words and not self._said:
            n_words = agreement.border(self._last.words, window.end - UNHEARD_END, sentences_only=self._translates)
            self._commit(self._last.words[:n_words])
            self._last.words = self._last.words[n_words:]
        self._drop(at, window, at_any_price)

    def _drop(self, at: Utterance, window: Window, at_any_price: bool) -> None:
        """Move the utterance's start to after a committed word, a sentence's last if there is one."""
        said = self._said
        last = said[-1].end if said else 0.0
        n_words = agreement.border(said, last - KEPT_CONTEXT, sentences_only=self._translates)
        n_words = n_words or (len(said) if at_any_price or not self._translates else 0)
        if n_words:
            after = said[n_words].start if n_words < len(said) else said[n_words - 1].end
            cut = int((said[n_words - 1].end + after) / 2 * SAMPLE_RATE)
            del said[:n_words]
        elif at_any_price:
            cut = int((window.end - UNHEARD_END) * SAMPLE_RATE)  # no words in it: what sounded like speech was none
        else:
            return
        if at_any_price and at.end - cut > self._hard * SAMPLE_RATE:
            cut = max(cut, int((window.end - 2 * UNHEARD_END) * SAMPLE_RATE))
            said.clear()
        at.start = max(at.start, cut)

    @property
    def _translates(self) -> bool:
        """A translation's words stand in another order than what was said; only sentences keep their place."""
        return self._looker.options.task == "translate"

    def _knows_language(self, at: Utterance) -> bool:
        return self._looker.knows_language(self._ear.window(at, self._hard), is_last=at.ended)

    # what stands

    def _commit(self, words: list[Word]) -> None:
        for word in words:
            last = self._open[-1].end if self._open else self._segments[-1].end if self._segments else 0.0
            word = replace(word, start=max(word.start, last), end=max(word.end, word.start, last))
            if self._open and (agreement.ends_sentence(self._open[-1].text)
                               or word.end - self._open[0].start > SEGMENT_SECONDS):
                self._close_segment()
            self._open.append(word)
            self._said.append(word)
            self._new.append(word)

    def _close_segment(self) -> None:
        if self._open:
            self._segments.append(_segment(self._open))
            self._open = []

    def _leave_utterance(self) -> None:
        if self._at is not None:
            self._close_segment()
        self._at, self._said, self._last, self._looked = None, [], None, 0
        self._looker.forget()

    def _update(self) -> Update:
        new, self._new = tuple(self._new), []
        finished, self._n_shown = tuple(self._segments[self._n_shown :]), len(self._segments)
        segments = (*self._segments, *([_segment(self._open)] if self._open else []))
        tentative = "".join(word.text for word in self._last.words) if self._last else ""
        transcript = Transcript(segments, self.language or "en", self._ear.heard / SAMPLE_RATE)
        more = bool(self._inbox) or (bool(self._ear.utterances) and self._ear.utterances[0].ended)
        return Update(new, finished, tentative, transcript, more)


def _segment(words: list[Word]) -> Segment:
    text = "".join(word.text for word in words).strip()
    return Segment(text, words[0].start, words[-1].end, tuple(words))
