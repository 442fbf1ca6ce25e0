"""Where utterances begin and end while the sound is still coming in.

Enters: blocks of 16 kHz mono samples of any size, as they come. Leaves: `Utterance`s, the last of which may still be
open, and the samples they need; everything else is forgotten at once. The detector is that of `shared.audio.vad`, its
state carried from block to block, so silence costs 2 % of a core at most and no model is asked. Knows nothing of text.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from shared.audio import SAMPLE_RATE
from shared.audio.vad import FRAME, MIN_SPEECH, OFFSET_BELOW_ONSET, SpeechDetector
from shared.audio.windows import PADDING, Window

PAD = int(PADDING * SAMPLE_RATE)


@dataclass
class Utterance:
    """Speech from sample `start` (padded); `end`: after the last speech so far (not padded).

    ended: a pause came after it, nothing will be added. `LiveTranscriber` moves `start` on.
    """

    start: int
    end: int
    ended: bool = False


class Endpointer:
    """Cuts a stream into utterances. Not for use by two threads at once."""

    def __init__(self, onset: float = 0.5, pause: float = 0.5) -> None:
        """onset: speech threshold, 0 … 1. pause: seconds of silence that end an utterance."""
        self.utterances: deque[Utterance] = deque()
        self.n_samples = 0  # samples that came in
        self._onset, self._pause = onset, int(pause * SAMPLE_RATE)
        self._detector = SpeechDetector()
        self._rest = np.zeros(0, dtype=np.float32)  # less than a frame, not judged yet
        self._judged = 0  # samples
        self._spoken = 0  # samples of speech in the open utterance
        self._audio = np.zeros(0, dtype=np.float32)
        self._first = 0  # sample of the stream at which `_audio` begins

    def push(self, samples: np.ndarray) -> None:
        """Judge what came in."""
        self._audio = np.concatenate([self._audio, samples])
        self.n_samples += len(samples)
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // FRAME * FRAME
        self._rest = waiting[whole:]
        self._judge(waiting[:whole])

    def finish(self) -> None:
        """Nothing more will come: judge what is left and end the open utterance."""
        rest, self._rest = self._rest, self._rest[:0]
        self._judge(rest)
        if self.utterances and not self.utterances[-1].ended:
            self._end(self.utterances[-1])

    @property
    def silence(self) -> float:
        """Seconds since the last speech in the open utterance."""
        return (self._judged - self.utterances[-1].end) / SAMPLE_RATE if self.utterances else 0.0

    def window(self, utterance: Utterance, max_seconds: float) -> Window:
        """The utterance so far, with up to the usual padding after it."""
        end = min(utterance.end + PAD, self.n_samples, utterance.start + int(max_seconds * SAMPLE_RATE))
        samples = self._audio[utterance.start - self._first : end - self._first].copy()
        return Window(samples, ((0, utterance.start, len(samples)),))

    def forget(self) -> None:
        """Drop the audio that nothing can need any more."""
        keep = min(self.utterances[0].start if self.utterances else self.n_samples, self._judged - PAD)
        n_samples = max(0, keep - self._first)
        self._audio = self._audio[n_samples:].copy()
        self._first += n_samples

    def _judge(self, frames: np.ndarray) -> None:
        for probability in self._detector.probabilities(frames):
            begin = self._judged
            self._judged = min(begin + FRAME, self.n_samples)
            opened = self.utterances[-1] if self.utterances and not self.utterances[-1].ended else None
            if opened is None and probability >= self._onset:
                after = self.utterances[-1].end + PAD if self.utterances else 0
                opened = Utterance(max(begin - PAD, self._first, after), begin)
                self.utterances.append(opened)
                self._spoken = 0
            if opened is not None and probability >= self._onset - OFFSET_BELOW_ONSET:
                opened.end = self._judged
                self._spoken += FRAME
            elif opened is not None and self._judged - opened.end >= self._pause:
                self._end(opened)

    def _end(self, utterance: Utterance) -> None:
        if self._spoken < MIN_SPEECH * SAMPLE_RATE:
            self.utterances.remove(utterance)  # a click
        else:
            utterance.ended = True
