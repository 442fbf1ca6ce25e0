"""Text while somebody is still speaking.

Enters: samples as they come. Leaves: `Update`s: words that stand for good, and text that may still change. A word is
committed when two hypotheses in a row agree on it (`local_agreement`), when a pause ends its utterance (`endpointer`),
or when the sound not yet committed grows too long. Committed sound is dropped, so memory and the cost of a second of
sound stay as they are for hours; without new speech no model is asked at all.

A LiveTranscriber belongs to one stream and holds all that is remembered of it; the model is the Transcriber's, and may
be shared by any number of streams. This module knows nothing of microphones, terminals or pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.audio.windows import Window
from shared.inference import Transcriber
from shared.live import local_agreement
from shared.live.committed_text import CommittedText, Update
from shared.live.endpointer import Endpointer, Utterance
from shared.live.inbox import Inbox
from shared.live.partial_decoder import PartialDecoder
from shared.options import Options
from shared.transcript import Word
from shared.whisper_constants import WINDOW_SAMPLES

SOFT_SECONDS = 10.0  # of uncommitted sound: from here on it is split at the best border there is
HARD_SECONDS = 27.0  # and here in any case; with what follows a clip it must stay under the encoder's 30 s
STEP_SECONDS = 0.5  # of new speech before it is decoded again: sooner, two hypotheses agree on the same mistake
EARLY_SILENCE = 0.2  # decoded this early in a pause, the result is there when the pause has lasted long enough
MIN_TRAILING_SECONDS = 0.3  # between a word's end and the end of the sound, for two hypotheses to be believed about it
KEPT_CONTEXT = 1.5  # seconds of committed sound left before what is not committed
UNSETTLED_SECONDS = 2.0  # words nearer than this to the end of the sound are not committed without agreement


@dataclass
class _Hypothesis:
    """words: the uncommitted ones. until: sample of the stream up to which it holds."""

    words: list[Word]
    until: int


@dataclass
class _Current:
    """The utterance that is being transcribed.

    committed: its words that stand and are still in the sound. last: its last hypothesis. decoded_until: sample up to
    which it was decoded, whether the result was believed or not.
    """

    at: Utterance | None = None
    committed: list[Word] = field(default_factory=list)
    last: _Hypothesis | None = None
    decoded_until: int = 0


class LiveTranscriber:
    """The live transcription of one speaker. `insert` may be called from one thread while another calls `process`."""

    def __init__(
        self, transcriber: Transcriber, options: Options | None = None, *, pause: float = 0.5,
        soft_seconds: float = SOFT_SECONDS, step: float | None = None, share: float = 1.0,
        choose: Callable[[str], Transcriber] | None = None,
    ) -> None:
        """One stream, from its beginning.

        Args:
            transcriber: what decodes; any number of streams may share it.
            options: as for `Transcriber.transcribe`; word times are always there.
            pause: seconds of silence that end an utterance.
            soft_seconds: uncommitted sound, in seconds, beyond which it is split at the best border there is.
            step: seconds of new speech after which it is decoded again; None: as often as the last decoding's cost
                allows.
            share: the part of the time that may be spent on decoding, 0 … 1, where `step` is None.
            choose: which Transcriber goes on once a language (its code) is known, and whenever it changes.

        Raises:
            UserError: the checkpoint cannot do what the options ask.
        """
        self._decoder = PartialDecoder(transcriber, options or Options(), choose)
        self._soft = soft_seconds
        self._step, self._share = step, share
        self._endpointer = Endpointer(self._decoder.options.vad_onset, pause)
        self._turn = threading.Lock()
        self._inbox = Inbox()
        self._current = _Current()
        self._text = CommittedText()

    def insert(self, samples: np.ndarray) -> None:
        """More sound. Costs nothing; `process` does the work.

        Args:
            samples: float32 (n_samples,) in [-1, 1] at 16 kHz.
        """
        self._inbox.put(samples)

    @property
    def waiting(self) -> float:
        """Seconds of sound inserted and not taken in yet. A source faster than real time should wait."""
        return (self._inbox.n_inserted - self._endpointer.n_samples) / SAMPLE_RATE

    @property
    def language(self) -> str | None:
        """Which is spoken now: ISO 639-1, None as long as it is not known."""
        return self._decoder.options.language

    @property
    def transcriber(self) -> Transcriber:
        """The one in use now; another than at first where `choose` gave it."""
        return self._decoder.transcriber

    def process(self) -> Update:
        """Take in what was inserted; decode it if it is time. Takes as long as one decoding at most."""
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
            self._endpointer.finish()
            while self._work():
                pass
            self._text.close_segment()
            return self._update()

    # what to do next

    def _take_in(self) -> None:
        """From the inbox to the endpointer; a backlog comes piece by piece, so that memory stays bounded."""
        if not self._is_behind:
            samples = self._inbox.take()
            if samples is not None:
                self._endpointer.push(samples)

    @property
    def _is_behind(self) -> bool:
        """More than two windows came in and are not committed: work those off first."""
        utterances = self._endpointer.utterances
        return bool(utterances) and self._endpointer.n_samples - utterances[0].start > 2 * WINDOW_SAMPLES

    def _work(self) -> bool:
        """Decode once at most; whether there was something to do."""
        endpointer = self._endpointer
        if not endpointer.utterances:
            self._leave_utterance()
            endpointer.forget()
            return False
        at = endpointer.utterances[0]
        if at is not self._current.at:
            self._leave_utterance()
            self._current.at = at
        length = (at.end - at.start) / SAMPLE_RATE
        if length > HARD_SECONDS:
            self._part(at, forced=True)
        elif at.ended:
            self._end(at)
        elif self._is_time(at):
            self._decode(at)
            if length > self._soft:
                self._part(at)
        else:
            return False
        endpointer.forget()
        return True

    def _is_time(self, at: Utterance) -> bool:
        new = (at.end - max(self._current.decoded_until, at.start)) / SAMPLE_RATE
        if new <= 0:
            return False
        wanted = self._step if self._step is not None else max(STEP_SECONDS, self._decoder.cost / self._share)
        return new >= wanted or self._endpointer.silence >= EARLY_SILENCE

    # decoding

    def _decode(self, at: Utterance) -> None:
        """One more hypothesis about an utterance that goes on; commit what it shares with the one before."""
        new = (at.end - max(self._current.decoded_until, at.start)) / SAMPLE_RATE
        self._current.decoded_until = at.end
        if not self._knows_language(at):
            return
        in_pause = self._endpointer.silence >= EARLY_SILENCE
        window = self._endpointer.window(at, HARD_SECONDS)
        words = self._decoder.decode(window, new)
        if words is None:
            return
        before = self._current.last.words if self._current.last else []
        now = words[local_agreement.settled_in(self._current.committed, words) :]
        n_settled = len(now) if in_pause else sum(word.end <= window.end - MIN_TRAILING_SECONDS for word in now)
        n_agreed = min(n_settled, local_agreement.agreed(before, now, in_pause=in_pause))
        if not self._decoder.is_sure_of_language:
            n_agreed = 0
        self._commit(now[:n_agreed])
        self._current.last = _Hypothesis(now[n_agreed:], at.end)

    def _end(self, at: Utterance) -> None:
        """The utterance is over: its last hypothesis stands if it covers all of it; else it is decoded once more."""
        if not self._knows_language(at):
            return
        if self._current.last is None or self._current.last.until < at.end:
            window = self._endpointer.window(at, HARD_SECONDS)
            words = self._decoder.decode(window)
            if words is None:
                words = self._decoder.decode_fully(window)
            self._commit(words[local_agreement.settled_in(self._current.committed, words) :])
        else:
            self._commit(self._current.last.words)
        self._endpointer.utterances.popleft()
        self._leave_utterance()

    def _part(self, at: Utterance, *, forced: bool = False) -> None:
        """Too much sound is kept: commit what is far enough from its end, and drop sound up to a committed word."""
        window = self._endpointer.window(at, HARD_SECONDS)
        if forced:
            if not self._knows_language(at):
                return
            words = self._decoder.decode(window)
            words = self._decoder.decode_fully(window) if words is None else words
            now = words[local_agreement.settled_in(self._current.committed, words) :]
            n_words = sum(word.end <= window.end - UNSETTLED_SECONDS for word in now)
            self._commit(now[:n_words])
            self._current.last = None
        elif (last := self._current.last) and last.words and not self._current.committed:
            before = window.end - UNSETTLED_SECONDS
            n_words = local_agreement.border(last.words, before, sentences_only=self._translates)
            self._commit(last.words[:n_words])
            last.words = last.words[n_words:]
        self._drop(at, window, forced)

    def _drop(self, at: Utterance, window: Window, forced: bool) -> None:
        """Move the utterance's start to after a committed word, a sentence's last if there is one."""
        committed = self._current.committed
        last = committed[-1].end if committed else 0.0
        n_words = local_agreement.border(committed, last - KEPT_CONTEXT, sentences_only=self._translates)
        n_words = n_words or (len(committed) if forced or not self._translates else 0)
        if n_words:
            after = committed[n_words].start if n_words < len(committed) else committed[n_words - 1].end
            cut = int((committed[n_words - 1].end + after) / 2 * SAMPLE_RATE)
            del committed[:n_words]
        elif forced:
            cut = int((window.end - UNSETTLED_SECONDS) * SAMPLE_RATE)  # no words in it: it was no speech
        else:
            return
        if forced and at.end - cut > HARD_SECONDS * SAMPLE_RATE:
            cut = max(cut, int((window.end - 2 * UNSETTLED_SECONDS) * SAMPLE_RATE))
            committed.clear()
        at.start = max(at.start, cut)

    @property
    def _translates(self) -> bool:
        """A translation's words stand in another order than the speech; only sentences keep their place."""
        return self._decoder.options.task == "translate"

    def _knows_language(self, at: Utterance) -> bool:
        """Whether it can be decoded. A hypothesis in a language that it turns out not to be in is forgotten."""
        before = self.language
        known = self._decoder.knows_language(self._endpointer.window(at, HARD_SECONDS), is_last=at.ended)
        if before not in (None, self.language):
            self._current.last = None
        return known

    # committed text

    def _commit(self, words: list[Word]) -> None:
        self._current.committed += [self._text.add(word) for word in words]

    def _leave_utterance(self) -> None:
        if self._current.at is not None:
            self._text.close_segment()
        self._current = _Current()
        self._decoder.forget()

    def _update(self) -> Update:
        last, utterances = self._current.last, self._endpointer.utterances
        tentative = "".join(word.text for word in last.words) if last else ""
        more = bool(self._inbox) or (bool(utterances) and utterances[0].ended)
        update = self._text.update(tentative, self.language or "en", self._endpointer.n_samples / SAMPLE_RATE, more)
        shortened = self._decoder.prompt_warning
        return replace(update, transcript=replace(update.transcript, warnings=(shortened,))) if shortened else update
