"""Which language each window is in where none was given, from as little of its sound as tells.

Enters: windows in the order of the recording, as they come. Leaves: `Spoken`, each window with its language, parted
where two languages are in it. The first seconds of a window are asked; all of it only where they are unsure, or where
what follows is in another language. Knows nothing of text.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

from shared.audio import SAMPLE_RATE
from shared.audio.windows import Window, joined_windows, window_parts
from shared.inference.spoken_languages import MIN_SECONDS, best_of, is_sure, languages_of
from shared.inference.window_decoder import WindowDecoder

# Speech that is asked, and silence after it: on 14 clips each of English, Italian and Russian no sure answer was wrong
# with 3 to 6 s, nor did 5 s of silence in place of 1 find more of them.
PROBE_SECONDS, PROBE_SILENCE = 4.0, 1.0
N_AHEAD = 3  # windows that are looked at to decide on one that is unsure

Weights = Mapping[str, float]  # seconds of speech for each language


class Spoken(NamedTuple):
    """A window and its language. states: the encoder's, if it was encoded as the decoder wants it."""

    window: Window
    language: str
    states: Any = None


class LanguageDetector:
    """Finds the languages of one recording."""

    def __init__(self, decoder: WindowDecoder, served: Sequence[str] | None, cancel: threading.Event | None = None, *,
                 keeps_states: bool = False) -> None:
        """decoder: of a multilingual checkpoint. served: the codes to choose from; None for all that it knows.

        keeps_states: the same checkpoint decodes, so what is encoded for this is worth keeping.
        """
        self._decoder, self._served, self._cancel = decoder, served, cancel
        self._silence = None if keeps_states and decoder.engine.ragged else PROBE_SILENCE
        self._votes: dict[str, float] = {}  # of the recording so far

    def each(self, windows: Iterable[Window]) -> Iterator[Spoken]:
        """The windows with their languages. One that comes later is read only where it helps to decide."""
        coming = map(self._looked_at, windows)
        ahead: deque[_Window] = deque()
        before: Weights | None = None
        while True:
            _fill(ahead, coming, 1)
            if not ahead:
                return
            now = ahead.popleft()
            sides = [now.head]
            if before is not None:
                _fill(ahead, coming, 1)
                sides += [one.head for one in islice(ahead, 1)]
            at_end = before is None or not ahead
            if at_end:  # no window beside it shows what it ends with
                sides += [self._of_part(now, i) for i in {len(now.parts) // 2, len(now.parts) - 1} - {0}]
            if all(map(is_sure, sides)) and len(set(map(best_of, sides))) == 1:
                before = _scaled(now.head, now.window.duration)
                self._vote(before)
                yield Spoken(now.window, best_of(before), now.states)
                continue
            whole = self._whole(now)
            self._vote(whole)
            if not is_sure(whole):
                _fill(ahead, coming, N_AHEAD)
            yield from self._decided(now, whole, sides, before, [one.head for one in ahead], at_end=at_end)
            before = whole

    def main(self, windows: Sequence[Window]) -> str:
        """The language most probable over some windows together."""
        looked = [self._looked_at(window) for window in windows]
        for one in looked:
            self._vote(_scaled(one.head, one.window.duration))
        if not is_sure(self._votes):
            self._votes.clear()
            for one in looked:
                self._vote(self._whole(one))
        return best_of(self._votes)

    def _decided(self, now: _Window, whole: Weights, sides: Sequence[Weights], before: Weights | None,
                 after: Sequence[Weights], *, at_end: bool) -> Iterator[Spoken]:
        """A window that is unsure, or beside another language, piece by piece where it may hold two."""
        votes = dict(self._votes)
        for one in after:
            _add(votes, one)
        sure = {best_of(one) for one in (*sides, whole) if is_sure(one)}
        n_parts = len(now.parts) if at_end or len(sure) > 1 else 1
        inner = languages_of([self._of_part(now, i) for i in range(n_parts)], votes) if n_parts > 1 else []
        if len(set(inner)) < 2:
            near = [*([before] if before else []), whole, *after[:1]]
            yield Spoken(now.window, languages_of(near, votes)[1 if before else 0], now.states)
            return
        for language, group in groupby(range(n_parts), key=inner.__getitem__):
            places = list(group)
            yield Spoken(joined_windows(now.parts[places[0] : places[-1] + 1]), language)

    def _looked_at(self, window: Window) -> _Window:
        now = _Window(window)
        if len(now.parts) == 1 and window.duration <= PROBE_SECONDS:  # there is no less of it
            now.whole, now.states = self._weights(window, self._silence)
            now.part_weights[0] = now.whole
        else:
            self._of_part(now, 0)
        return now

    def _whole(self, now: _Window) -> Weights:
        if now.whole is None:
            now.whole, now.states = self._weights(now.window, self._silence)
        return now.whole

    def _of_part(self, now: _Window, i: int) -> Weights:
        """By the first seconds of a part, or the last of the last one, which may hold more than one language."""
        if i not in now.part_weights:
            n_samples = int(PROBE_SECONDS * SAMPLE_RATE)
            samples = now.parts[i].samples
            samples = samples[-n_samples:] if 0 < i == len(now.parts) - 1 else samples[:n_samples]
            now.part_weights[i] = self._weights(Window(samples, ((0, 0, len(samples)),)), PROBE_SILENCE)[0]
        return now.part_weights[i]

    def _weights(self, window: Window, silence: float | None) -> tuple[Weights, Any]:
        """Seconds of a window for each language that is served; and the encoder's states, if of use."""
        found, states = self._decoder.detect(window, self._cancel, silence=silence)
        served = {code: p for code, p in found.items() if self._served is None or code in self._served}
        every = sum(served.values()) or 1.0
        weights = {code: p / every * window.duration for code, p in served.items()}
        return weights, states if silence is None else None

    def _vote(self, weights: Weights) -> None:
        _add(self._votes, weights)


class _Window:
    """A window and what is known of it so far. parts: between pauses, of some seconds each. part_weights: by part."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.parts = window_parts(window, MIN_SECONDS)
        self.part_weights: dict[int, Weights] = {}
        self.whole: Weights | None = None
        self.states: Any = None

    @property
    def head(self) -> Weights:
        return self.part_weights[0]


def _fill(ahead: deque[_Window], coming: Iterator[_Window], n: int) -> None:
    ahead.extend(islice(coming, max(0, n - len(ahead))))


def _scaled(weights: Weights, seconds: float) -> dict[str, float]:
    """The same shares of so many seconds."""
    every = sum(weights.values()) or 1.0
    return {code: weight / every * seconds for code, weight in weights.items()}


def _add(votes: dict[str, float], weights: Weights) -> None:
    for code, weight in weights.items():
        votes[code] = votes.get(code, 0.0) + weight
