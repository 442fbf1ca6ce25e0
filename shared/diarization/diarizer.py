"""Who spoke when: speech in as it passes, turns out at the end, and words labelled by them.

Enters: the windows of speech that are decoded too, in order. Leaves: `Turn`s on the audio's clock. Only
embeddings and activity are kept of what has passed, so memory grows by 50 to 110 kB a minute, most where two voices
alternate all the time. Knows nothing of text but to label it, and nothing of who a voice belongs to: speakers are
numbered as they appear.

Speech is cut into overlapping chunks of 10 s. In each the segmentation tells up to three voices apart, to 17 ms and
also while they overlap; each voice of each chunk gets embeddings, piece by piece, from where it speaks alone. Their
means are clustered over the whole audio; then every voice is gone through again, each piece weighed against all
speakers, and the chunks' activity is added up by speaker. The frame is that of H. Bredin, "pyannote.audio 2.1 speaker
diarization pipeline", Interspeech 2023. Everything runs on the CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shared.audio import SAMPLE_RATE
from shared.audio.windows import Window
from shared.diarization import networks as models
from shared.diarization.clustering import agglomerated, best_path, cluster, directions
from shared.errors import Cancelled, UserError

MAX_SPEAKERS = 20
CHUNK = int(models.CHUNK_SECONDS * SAMPLE_RATE)
STEP = CHUNK // 2
FIRST_FRAME = 360  # sample at which the first frame of activity begins: its receptive field of 991 samples is centred
PIECE_BANDS = 150  # 1.5 s, the least to know a voice by
FINE_BANDS = 25  # from piece to piece, where a border between two voices is looked for
LEAST_BANDS = 40
CHUNKS_TOGETHER = 12  # a minute of speech: the segmentation's steps in time take as long for one chunk as for some
SPLIT_DISTANCE = 0.75  # cosine, between pieces of what the segmentation took for one voice
CHANGE_LIKENESS = 0.3  # cosine that a change of speaker within one voice of a chunk must be worth
FILLED_SECONDS = 0.25  # a shorter silence of one speaker belongs to the turn
SHORTEST_TURN = 0.1


@dataclass(frozen=True)
class Turn:
    """One stretch of speech of one speaker.

    Attributes:
        start, end: seconds from the start of the audio.
        speaker: "Speaker 1", … in order of appearance.
    """

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, eq=False)
class _Voice:
    """One voice within one chunk.

    active: bool (n_frames,). pieces: its embeddings, float16 (n_pieces, 192). centres: the frame amid each.
    seconds: that it speaks alone.
    """

    active: np.ndarray
    pieces: np.ndarray
    centres: np.ndarray
    seconds: float


@dataclass(frozen=True, eq=False)
class _Chunk:
    """first: its first frame, counted from the start of the speech."""

    first: int
    n_frames: int
    voices: tuple[_Voice, ...]


class Diarizer:
    """Give it every window in order (`push`, or let them pass through `listen`), then ask for `turns`."""

    def __init__(self, n_speakers: int | None = None) -> None:
        """Load both networks.

        Args:
            n_speakers: how many there are, 1 to 20; None to find out.

        Raises:
            UserError: another number, or the models are missing.
        """
        if n_speakers is not None and not 1 <= n_speakers <= MAX_SPEAKERS:
            raise UserError("The number of speakers is out of range", got=n_speakers, limit=f"1 to {MAX_SPEAKERS}",
                            hint="leave it out to have it found")
        models.load()
        self.n_speakers = n_speakers
        self._recent = np.zeros(0, dtype=np.float32)  # speech from `_from` on: at most a minute and a window
        self._from = self._next = 0  # samples of speech
        self._pieces: list[tuple[int, int, int]] = []  # (sample of speech, sample of the audio, n_samples)
        self._chunks: list[_Chunk] = []

    def listen(self, parts: Iterable[Window], cancel: threading.Event | None = None) -> Iterator[Window]:
        """Take windows in as they pass.

        Args:
            parts: windows of speech in order of time.
            cancel: set from another thread, ends it at the next window.

        Yields:
            The same windows.

        Raises:
            Cancelled: `cancel` was set.
        """
        for window in parts:
            if cancel is not None and cancel.is_set():
                raise Cancelled
            self.push(window)
            yield window

    def push(self, window: Window) -> None:
        """Take one window in.

        Args:
            window: the next one in order of time; it may overlap the last.
        """
        for offset, start, n_samples in window.pieces:
            reached = self._pieces[-1][1] + self._pieces[-1][2] if self._pieces else 0
            known = min(max(reached - start, 0), n_samples)  # windows may overlap where speech had to be cut
            if known < n_samples:
                self._pieces.append((self._end, start + known, n_samples - known))
                self._recent = np.concatenate([self._recent, window.samples[offset + known : offset + n_samples]])
        starts = range(self._next, self._end - CHUNK + 1, STEP)
        if len(starts) < CHUNKS_TOGETHER:
            return
        self._hear(starts)
        self._next += STEP * len(starts)
        forget = max(0, self._end - CHUNK - STEP - self._from)
        self._recent, self._from = self._recent[forget:], self._from + forget

    def turns(self) -> list[Turn]:
        """Who spoke when, by time; turns of different speakers may overlap. Nothing may be pushed after this."""
        starts = range(self._next, self._end - CHUNK + 1, STEP)
        self._hear(starts)
        self._next += STEP * len(starts)
        if self._end > (self._next + CHUNK - STEP if self._chunks else 0):
            self._hear([max(self._end - CHUNK, 0)])
            self._next = self._end
        voices = [voice for chunk in self._chunks for voice in chunk.voices]
        if not voices:
            return []
        active = self._added_up(_speakers_of(voices, self.n_speakers))
        found = [(start, end, group) for group in range(active.shape[1]) for start, end in self._runs(active[:, group])]
        names: dict[int, str] = {}
        return [Turn(start, end, names.setdefault(group, f"Speaker {len(names) + 1}"))
                for start, end, group in sorted(found)]

    @property
    def _end(self) -> int:
        return self._from + len(self._recent)

    def _hear(self, starts: Sequence[int]) -> None:
        """Activity and embeddings of the chunks from these samples of speech on."""
        if not len(starts):
            return
        chunks = np.zeros((len(starts), CHUNK), dtype=np.float32)
        for row, start in enumerate(starts):
            samples = self._recent[start - self._from : start - self._from + CHUNK]
            chunks[row, : len(samples)] = samples
        actives = models.activity(chunks)
        for start, active in zip(starts, actives, strict=True):
            active[max(0, (self._end - start - FIRST_FRAME) // models.FRAME_SAMPLES) :] = False
        for start, active, voices in zip(starts, actives, _voices(chunks, actives), strict=True):
            self._chunks.append(_Chunk(round((start + FIRST_FRAME) / models.FRAME_SAMPLES), len(active), voices))

    def _added_up(self, speakers: list[np.ndarray]) -> np.ndarray:
        """Activity by speaker, bool (n_frames, n_speakers), of the speaker of each piece of each voice."""
        n_frames = self._chunks[-1].first + self._chunks[-1].n_frames
        votes = np.zeros((n_frames, 1 + max(int(pieces.max()) for pieces in speakers)), dtype=np.float32)
        most = np.full(n_frames, 1e-6, dtype=np.float32)
        of_voice = iter(speakers)
        for chunk in self._chunks:
            # A chunk's edges lack context on one side, so its middle counts for more.
            weight = np.interp(np.linspace(-1, 1, chunk.n_frames), (-1, 0, 1), (0.1, 1, 0.1)).astype(np.float32)
            here = slice(chunk.first, chunk.first + chunk.n_frames)
            most[here] += weight
            active = np.zeros((chunk.n_frames, votes.shape[1]), dtype=bool)
            for voice in chunk.voices:
                frames = np.flatnonzero(voice.active)
                nearest = np.abs(frames[:, None] - voice.centres).argmin(1)
                active[frames, next(of_voice)[nearest]] = True
            votes[here] += active * weight[:, None]
        active = votes > 0.5 * most[:, None]
        seams = [piece[0] // models.FRAME_SAMPLES for piece in self._pieces[1:]]
        active[[seam for seam in seams if seam < n_frames]] = False  # silence was left out there: no turn runs across
        return active

    def _runs(self, active: np.ndarray) -> Iterator[tuple[float, float]]:
        """Stretches of activity as seconds of the audio; what is short is filled or dropped."""
        edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
        spans = [(self._in_audio(start), self._in_audio(end, is_end=True))
                 for start, end in zip(edges[::2], edges[1::2], strict=True)]
        begun: float | None = None
        for number, (start, end) in enumerate(spans):
            begun = start if begun is None else begun
            if number + 1 == len(spans) or spans[number + 1][0] - end > FILLED_SECONDS:
                if end - begun >= SHORTEST_TURN:
                    yield round(float(begun), 3), round(float(end), 3)
                begun = None

    def _in_audio(self, frame: int, *, is_end: bool = False) -> float:
        sample = frame * models.FRAME_SAMPLES
        starts = [piece[0] for piece in self._pieces]
        at = max(int(np.searchsorted(starts, sample, side="left" if is_end else "right")) - 1, 0)
        speech, audio, n_samples = self._pieces[at]
        return (audio + min(sample - speech, n_samples)) / SAMPLE_RATE


@dataclass(eq=False)
class _Heard:
    """One voice of one chunk while its embeddings are made. own: the bands in which it speaks alone."""

    chunk: int
    active: np.ndarray
    bands: Tensor
    frames: np.ndarray
    own: np.ndarray
    pieces: list[np.ndarray]


def _voices(chunks: np.ndarray, actives: np.ndarray) -> list[tuple[_Voice, ...]]:
    """Of each chunk, the voices that speak alone for long enough to be known again.

    chunks: (n_chunks, n_samples). actives: bool (n_chunks, n_frames, n_voices).
    """
    heard = [one for number, (samples, active) in enumerate(zip(chunks, actives, strict=True))
             for one in _alone(number, samples, active)]
    embeddings = _embedded(heard)
    fine = [one for one, found in zip(heard, embeddings, strict=True) if agglomerated(found, SPLIT_DISTANCE).any()]
    for one in fine:  # two people, perhaps: the border between them is wanted
        one.pieces = [one.own[start : start + PIECE_BANDS]
                      for start in range(0, len(one.own) - PIECE_BANDS + 1, FINE_BANDS)]
    finer = dict(zip(map(id, fine), _embedded(fine), strict=True))
    voices: list[list[_Voice]] = [[] for _ in chunks]
    for one, found in zip(heard, embeddings, strict=True):
        voices[one.chunk].append(_Voice(one.active, finer.get(id(one), found).astype(np.float16),
                                        np.array([np.median(one.frames[piece]) for piece in one.pieces]),
                                        len(one.own) * models.FRAME_SHIFT / SAMPLE_RATE))
    return [tuple(some) for some in voices]


def _alone(number: int, samples: np.ndarray, active: np.ndarray) -> Iterator[_Heard]:
    bands = models.log_bands(samples)
    centres = np.arange(len(bands)) * models.FRAME_SHIFT + models.FRAME_LENGTH // 2
    frames = np.clip((centres - FIRST_FRAME) // models.FRAME_SAMPLES, 0, len(active) - 1)
    alone = active & (active.sum(1, keepdims=True) == 1)
    for local in range(models.MAX_LOCAL):
        own = np.flatnonzero(alone[frames, local])
        if len(own) >= LEAST_BANDS:
            yield _Heard(number, active[:, local].copy(), bands, frames, own,
                         np.array_split(own, max(1, round(len(own) / PIECE_BANDS))))


def _speakers_of(voices: Sequence[_Voice], n_speakers: int | None) -> list[np.ndarray]:
    """The speaker of each piece of each voice, int (n_pieces,).

    Where the segmentation took two people for one, embeddings differ from piece to piece: it is parted, so that none
    is clustered by the mean of two. Then each voice is gone through again, piece by piece, with all that is known of
    every speaker.
    """
    parts = [agglomerated(voice.pieces.astype(np.float32), SPLIT_DISTANCE) for voice in voices]
    means, seconds = [], []
    for voice, part in zip(voices, parts, strict=True):
        for number in range(part.max() + 1):
            means.append(voice.pieces[part == number].sum(0, dtype=np.float32))
            seconds.append(voice.seconds * np.mean(part == number))
    groups = cluster(directions(np.stack(means)), np.array(seconds), n_speakers)
    firsts = np.cumsum([0, *(part.max() + 1 for part in parts)])
    speakers = [groups[first + part] for first, part in zip(firsts, parts, strict=False)]
    sums = np.zeros((groups.max() + 1, means[0].shape[0]), dtype=np.float32)
    for voice, speaker in zip(voices, speakers, strict=True):
        np.add.at(sums, speaker, voice.pieces.astype(np.float32))
    known = directions(sums)
    return [best_path(voice.pieces @ known.T, CHANGE_LIKENESS) for voice in voices]


def _embedded(heard: Sequence[_Heard]) -> list[np.ndarray]:
    """The embeddings of each voice's pieces, float32 (n_pieces, 192).

    A piece's bands are repeated or cut to one length for all: a new one costs the CPU kernels a second.
    """
    if not heard:
        return []
    found = models.embeddings(torch.stack([one.bands[np.resize(piece, PIECE_BANDS)]
                                           for one in heard for piece in one.pieces]))
    return np.split(found, np.cumsum([len(one.pieces) for one in heard])[:-1])
