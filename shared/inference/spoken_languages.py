"""Which language each part of a recording is in, where it was not given.

Enters: how probable each language is for each window. Leaves: one language a window; and, of a whole recording, the
main one and a warning that names the parts if there are several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.languages import language_name
from shared.transcript import Transcript
from shared.units import short_clock

# A window is in another language than the rest of the recording only if it lasts so long and is so sure. Detection by
# Whisper errs on short windows.
SURE, MIN_SECONDS = 0.8, 3.0


def best_of(weights: Mapping[str, float]) -> str:
    """The language of most seconds."""
    return max(weights, key=lambda code: weights[code])


def is_sure(weights: Mapping[str, float]) -> bool:
    """Whether these seconds suffice to say which language they are in."""
    seconds = sum(weights.values())
    return seconds >= MIN_SECONDS and weights[best_of(weights)] >= SURE * seconds


def languages_of(weights: Sequence[Mapping[str, float]], votes: Mapping[str, float]) -> list[str]:
    """weights: of each window in order, seconds of it for each language. votes: those of the whole recording so far."""
    main = best_of(votes)
    found = []
    for i, weight in enumerate(weights):
        if is_sure(weight):
            found.append(best_of(weight))
            continue
        near = dict(weight)  # with half of what its neighbours say
        for other in (*weights[max(i - 1, 0) : i], *weights[i + 1 : i + 2]):
            for code, more in other.items():
                near[code] = near.get(code, 0.0) + more / 2
        best = best_of(near)
        found.append(best if near[best] >= SURE * sum(near.values()) else main)
    return found


class Languages:
    """The languages of a recording, collected as its text comes."""

    def __init__(self) -> None:
        self._spans: list[tuple[str, float, float]] = []  # (language, start, end in seconds), in order
        self._last: str | None = None

    def add(self, new: Transcript) -> None:
        """new: text in one language."""
        self._last = new.language
        if not new.segments:
            return
        start, end = new.segments[0].start, new.segments[-1].end
        if self._spans and self._spans[-1][0] == new.language:
            self._spans[-1] = (new.language, self._spans[-1][1], end)
        else:
            self._spans.append((new.language, start, end))

    @property
    def main(self) -> str | None:
        """The one that is spoken longest; None before anything came."""
        seconds: dict[str, float] = {}
        for language, start, end in self._spans:
            seconds[language] = seconds.get(language, 0.0) + end - start
        return max(seconds, key=lambda code: seconds[code]) if seconds else self._last

    def warnings(self) -> list[str]:
        """One that names the parts, if there are several languages."""
        if len({language for language, _, _ in self._spans}) < 2:
            return []
        parts = ", ".join(f"{language_name(language)} {short_clock(start)}–{short_clock(end)}"
                          for language, start, end in self._spans)
        return [f"More than one language was found: {parts}. To have all of it in one, give the language."]
