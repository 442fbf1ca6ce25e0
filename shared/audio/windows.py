"""Speech packed into windows of at most 30 s that the model can read.

Enters: blocks of 16 kHz mono samples. Leaves: `Window`s that hold speech, each knowing where its samples came from.
Works on a stream: only audio that may still belong to an open window is kept, so hours cost no more memory than
minutes. Knows nothing of text or Whisper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shared.audio.padded_speech import Padding, Speech, padded_speech
from shared.audio.waveform import SAMPLE_RATE
from shared.errors import UserError
from shared.whisper_constants import WINDOW_SECONDS

PADDING = 0.25  # seconds on either side of speech: Whisper needs the onset of the first sound and the end of the last
# Speech unbroken for a whole window is cut; both sides get so much beyond the cut, and each keeps its own words.
# No longer than the shortest span and the silence after it, so that windows do not depend on how audio arrives.
OVERLAP = 0.4


@dataclass(frozen=True, eq=False)
class Window:
    """Up to 30 s of speech cut from the audio.

    samples: float32 (n_samples,). pieces: (offset in the window, sample in the audio, n_samples), in order and
    without overlap; silence between two pieces was left out. since, until: seconds of the audio; speech before or after
    belongs to the window beside, where unbroken speech had to be cut.
    """

    samples: np.ndarray
    pieces: tuple[tuple[int, int, int], ...]
    since: float | None = None
    until: float | None = None

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def start(self) -> float:
        """Seconds from the start of the audio."""
        return self.pieces[0][1] / SAMPLE_RATE

    @property
    def end(self) -> float:
        _, start, n_samples = self.pieces[-1]
        return (start + n_samples) / SAMPLE_RATE

    def in_audio(self, seconds: float, *, is_end: bool = False) -> float:
        """A time within the window as a time in the audio.

        At a seam the end of what came before and the start of what follows are different moments: `is_end`
        says which one is meant.
        """
        sample = min(max(seconds * SAMPLE_RATE, 0), len(self.samples))
        for offset, start, n_samples in self.pieces:
            inside = sample - offset
            if inside < n_samples or (is_end and inside <= n_samples):
                return round((start + max(inside, 0)) / SAMPLE_RATE, 3)
        return self.end


def window_parts(window: Window, min_seconds: float) -> list[Window]:
    """A window cut between its pieces, in parts of at least so many seconds; a shorter rest joins the last."""
    groups: list[list[tuple[int, int, int]]] = []
    for piece in window.pieces:
        if groups and sum(n for _, _, n in groups[-1]) < min_seconds * SAMPLE_RATE:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    if len(groups) > 1 and sum(n for _, _, n in groups[-1]) < min_seconds * SAMPLE_RATE:
        groups[-2:] = [groups[-2] + groups[-1]]
    parts = []
    for i, group in enumerate(groups):
        first, last = group[0][0], group[-1][0] + group[-1][2]
        parts.append(Window(window.samples[first:last], tuple((at - first, start, n) for at, start, n in group),
                            since=window.since if i == 0 else None,
                            until=window.until if i == len(groups) - 1 else None))
    return parts


def joined_windows(parts: Sequence[Window]) -> Window:
    """Parts that follow one another as one window."""
    offset, pieces = 0, []
    for part in parts:
        pieces += [(at + offset, start, n) for at, start, n in part.pieces]
        offset += len(part.samples)
    return Window(np.concatenate([part.samples for part in parts]), tuple(pieces), parts[0].since, parts[-1].until)


def repacked(parts: Iterable[Window], max_gap: float, max_seconds: float = WINDOW_SECONDS) -> Iterator[Window]:
    """Windows that follow one another, packed again as `windows` packs with this `max_gap`, as they come."""
    limit, gap = max_seconds * SAMPLE_RATE, max_gap * SAMPLE_RATE
    group: list[Window] = []
    n_samples = last = 0
    for piece in (piece for part in parts for piece in window_parts(part, 0)):
        start, length = piece.pieces[0][1], len(piece.samples)
        if group and (n_samples + length > limit or start - last > gap or piece.since is not None):
            yield joined_windows(group)
            group, n_samples = [], 0
        group.append(piece)
        n_samples, last = n_samples + length, start + length
    if group:
        yield joined_windows(group)


def windows(
    blocks: Iterable[np.ndarray], *, onset: float = 0.5, max_seconds: float = WINDOW_SECONDS, max_gap: float = 1e9,
) -> Iterator[Window]:
    """Pack the speech of a stream into windows of at most `max_seconds`.

    onset: lower finds more speech (0.1 … 0.9). max_gap: a pause longer than so many seconds starts a new window.
    A pause within a window is kept up to twice the padding, and shortened to that beyond.
    """
    if not 0.0 < onset < 1.0:
        raise UserError("The speech threshold is out of range", got=onset, limit="between 0 and 1", hint="try 0.5")
    limit, gap = max_seconds * SAMPLE_RATE, max_gap * SAMPLE_RATE
    pieces: list[Speech] = []
    n_samples = last = 0
    padding = Padding(int(PADDING * SAMPLE_RATE), int(OVERLAP * SAMPLE_RATE))
    for speech in padded_speech(blocks, onset, max_seconds - 2 * OVERLAP, padding):
        n_new = len(speech.samples)
        if pieces and (n_samples + n_new > limit or speech.start - last > gap or speech.span.cut_before):
            yield _window(pieces)
            pieces, n_samples = [], 0
        pieces.append(speech)
        n_samples, last = n_samples + n_new, speech.start + n_new
    if pieces:
        yield _window(pieces)


def _window(pieces: list[Speech]) -> Window:
    placed, offset = [], 0
    for piece in pieces:
        placed.append((offset, piece.start, len(piece.samples)))
        offset += len(piece.samples)
    first, last = pieces[0].span, pieces[-1].span
    return Window(np.concatenate([piece.samples for piece in pieces]), tuple(placed),
                  since=first.start / SAMPLE_RATE if first.cut_before else None,
                  until=last.end / SAMPLE_RATE if last.cut_after else None)
