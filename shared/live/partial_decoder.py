"""What a model makes of a clip that may not be over yet.

Enters: a Window, again and again as it grows. Leaves: words on the stream's clock, and the language. Decoding is
greedy, without timestamps, on no more of the encoder's context than the checkpoint needs, and the result is thrown away
when it looks wrong; `decode_fully` treats the clip as a recording. Knows nothing of what is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from shared.audio.windows import Window
from shared.inference import Transcriber, quality
from shared.inference.context import ROOM_SECONDS
from shared.inference.language_detection import PROBE_SILENCE
from shared.inference.spoken_languages import best_of
from shared.inference.window_decoder import TOKENS_PER_SECOND
from shared.inference.word_times import Row
from shared.options import Options
from shared.transcript import Word

# Speech to tell the first language by, how sure to be, and when to take the best guess.
DETECT_SECONDS, SURE, DETECT_AT_MOST = 1.5, 0.5, 6.0
# After a pause somebody else may speak: how sure to be of another language by so little speech, and by so much.
CHANGE_SURE, CHANGE_SECONDS, CHANGE_SURE_THEN = 0.95, 3.0, 0.8


class PartialDecoder:
    """One Transcriber in the service of one stream."""

    def __init__(self, transcriber: Transcriber, options: Options,
                 choose: Callable[[str], Transcriber] | None = None) -> None:
        """choose: which Transcriber goes on once the language is known. Raises UserError, see `Transcriber.check`."""
        transcriber.check(options)
        self.transcriber, self.options = transcriber, options
        self._choose = choose
        self._detector = transcriber if options.language is None else None  # None: the language is given
        self._detected: str | None = None
        self._is_asked = False  # whether the language of this utterance is settled
        self.prompt_warning = transcriber.tokens.prompt_warning(options.initial_prompt)
        self.cost = 0.0  # seconds that the last decoding took
        self._n_tokens = 0  # in the last result that was believed
        self._votes: dict[str, float] = {}
        if options.language is not None:
            self._settle(options.language)

    def decode(self, window: Window, new: float | None = None) -> list[Word] | None:
        """The words in a clip; none if it is no speech. None if they cannot be believed.

        new: seconds that the last hypothesis did not cover. A runaway decoding ends soon: it would only be thrown away.
        """
        begun = time.perf_counter()
        decoder, tokens, options = self.transcriber.window_decoder, self.transcriber.tokens, self.options
        states = decoder.encode([window], room=ROOM_SECONDS)
        prompt = tokens.prompt(options.language, options.task, timestamps=False, initial_prompt=options.initial_prompt)
        fill = window.duration if new is None else min(window.duration, self._n_tokens / TOKENS_PER_SECOND + new)
        decoded = decoder.decode(states, prompt, fill, **decoder.search(options))[0]
        text = tokens.text(decoded.tokens)
        words: list[Word] | None = []
        if quality.looks_wrong(decoded, text):
            words = [] if quality.is_silent(decoded) else None
        elif text.strip():
            ids = [i for i in decoded.tokens if i < tokens.end]
            self._n_tokens = len(ids)
            timed = decoder.align(Row(states, 0, prompt), [ids], window, options)[0]
            words = [_moved(word, window.start) for word in timed] or None
        self.cost = time.perf_counter() - begun
        return words

    def decode_fully(self, window: Window) -> list[Word]:
        """As a recording: at full context if need be, with every second try there is."""
        found = [new for _, _, new in self.transcriber.recognise([window], self.options, lambda done, reached: None)]
        words: list[Word] = []
        for segment in (segment for transcript in found for segment in transcript.segments):
            words += segment.words or [Word(f" {text}", segment.start, segment.end, 0.0)
                                       for text in segment.text.split()]
        return words

    def forget(self) -> None:
        """What comes next has nothing to do with what came before."""
        self._n_tokens = 0
        self._is_asked = False

    @property
    def is_sure_of_language(self) -> bool:
        """Whether this utterance will not turn out to be in another language."""
        return self._detector is None or self._is_asked

    def knows_language(self, window: Window, *, is_last: bool) -> bool:
        """Tell the language by the first speech that is long and clear enough, and ask again in each utterance.

        is_last: there will be no more of this clip, so that the best guess must do.
        """
        if self._detector is None or self._is_asked or (window.duration < DETECT_SECONDS and not is_last):
            return self.options.language is not None
        served = self._detector.languages
        if served is not None and len(served) == 1:
            self._settle(served[0])
        elif self.options.language is None:
            self._ask_first(self._weights(self._detector, window), window, is_last)
        elif window.duration >= DETECT_SECONDS:
            self._ask_again(self._weights(self._detector, window), window)
        self._is_asked |= self.options.language is not None and is_last
        return self.options.language is not None

    def _ask_first(self, weights: dict[str, float], window: Window, is_last: bool) -> None:
        for code, weight in weights.items():
            self._votes[code] = self._votes.get(code, 0.0) + weight
        best = best_of(self._votes)
        if self._votes[best] >= SURE * sum(self._votes.values()) or is_last or window.duration >= DETECT_AT_MOST:
            self._settle(best)

    def _ask_again(self, weights: dict[str, float], window: Window) -> None:
        """Stay with the language, change it, or wait for more speech."""
        best = best_of(weights)
        wanted = CHANGE_SURE_THEN if window.duration >= CHANGE_SECONDS else CHANGE_SURE
        if best == self._detected or weights[best] >= wanted * sum(weights.values()):
            self._settle(best)
        self._is_asked |= window.duration >= CHANGE_SECONDS

    @staticmethod
    def _weights(detector: Transcriber, window: Window) -> dict[str, float]:
        """Seconds of a window for each language that is served."""
        found, _ = detector.window_decoder.detect(window, silence=PROBE_SILENCE)
        return {code: p * window.duration for code, p in found.items()
                if detector.languages is None or code in detector.languages}

    def _settle(self, language: str) -> None:
        self._is_asked = True
        if language == self._detected:
            return
        self._detected = language
        self.options = replace(self.options, language=language, words=True)
        if self._choose is not None:
            self.transcriber = self._choose(language)


def _moved(word: Word, seconds: float) -> Word:
    return replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))
