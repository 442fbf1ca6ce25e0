"""Windows of speech in, segments out: what lies between the VAD and the transcript, on any engine.

Enters: `Window`s and options. Each is turned into log-mel no longer than it must be, encoded, decoded beside others of
its length, judged, tried again if it looks wrong, and put on the audio's own clock. Knows nothing of files, streams,
progress or language detection by vote.

Short clips cost what they last where the checkpoint can be cropped (`facts.short_context`): "any" was trained for it
and gets the clip and a little silence; "room" is known to need 5 s of silence. A cropped result that looks wrong is
decoded again at full context.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shared.audio import SAMPLE_RATE
from shared.audio.features import frames_for, pad_or_trim
from shared.audio.windows import Window
from shared.checkpoint import Facts
from shared.checkpoint.tokenizer import Tokens
from shared.engines import Decoded, Engine
from shared.errors import Cancelled
from shared.inference import quality
from shared.inference.silence import crosses, parted, seams
from shared.inference.word_times import align_words
from shared.options import Options
from shared.transcript import Segment, Word, sentences
from shared.whisper_constants import (
    CROPPED_SILENCE_SECONDS,
    DECODER_POSITIONS,
    MAX_NEW_TOKENS,
    N_FRAMES_FULL,
    WINDOW_SECONDS,
)

TOKENS_PER_SECOND = 30  # no language is spoken at more of Whisper's tokens; a runaway clip ends there
ROOM_SECONDS = 5.0  # with it stock whisper-base ends where it does at 30 s; with 3 s it loops (docs/inference.md)
# A checkpoint not trained on cropped clips is asked again at full context when it is less sure than this (chosen
# on 324 clips of four languages, docs/inference.md).
UNSURE_LOGPROB = -0.8
RESUME_SECONDS = 2.0  # speech left after the last timestamp for which a window is taken up again
# Where Whisper's paper samples at rising temperature, this widens the search and then forbids repeats: the same end
# (leave the loop), and the same text each time. CTranslate2's sampling repeats neither with its seed set.
RETRIES = ({"beam_size": 5}, {"beam_size": 5, "no_repeat_ngram": 3})


class WindowDecoder:
    """One engine with the vocabulary and the facts of its checkpoint. Calls may come from several threads."""

    def __init__(self, engine: Engine, tokens: Tokens, facts: Facts) -> None:
        self.engine, self.tokens, self.facts = engine, tokens, facts
        # Seconds of context a clip needs behind it; None: all of 30 s.
        self.after = {"any": CROPPED_SILENCE_SECONDS, "room": ROOM_SECONDS}.get(facts.short_context)
        self._lock = threading.Lock()
        self.n_windows = self.n_again = 0  # how many clips were decoded, and how many of them a second time

    @property
    def crops(self) -> bool:
        """Whether a clip costs what it lasts."""
        return self.after is not None

    def recognise(self, windows: Sequence[Window], options: Options, cancel: threading.Event | None = None,
                  states: Sequence[Any] | None = None) -> Iterator[dict[int, list[Segment]]]:
        """Decode windows, those of like length together: yields the segments of each batch by the window's index.

        options.language must be known. states: of each window, as `detect` gave them; None encodes them here.
        What the model left unread of the windows is decoded when all have been, so that it fills batches of its own;
        those windows come last.
        """
        begun: dict[int, list[Segment]] = {}  # windows of which something is left
        rests: dict[int, Window] = {}
        for batch in self._batches(windows):
            known = None if states is None else self.engine.join([states[i] for i in batch])
            segments, left = self._decode_batch([windows[i] for i in batch], options, cancel, known)
            found = dict(zip(batch, segments, strict=True))
            for row, rest in left.items():
                rests[batch[row]], begun[batch[row]] = rest, found.pop(batch[row])
            if found:
                yield found
        places = list(rests)
        if places:
            for more in self.recognise(list(rests.values()), options, cancel):
                yield {places[i]: begun[places[i]] + segments for i, segments in more.items()}

    def detect(self, window: Window, cancel: threading.Event | None = None) -> dict[str, float]:
        """Probability of each language code."""
        return self.detect_and_keep(window, cancel)[0]

    def detect_and_keep(self, window: Window, cancel: threading.Event | None = None) -> tuple[dict[str, float], Any]:
        """Probability of each language code, and the encoder's states for `recognise`."""
        states = self.encode([window], cancel)
        with self._lock:
            return self.engine.detect_language(states)[0], states

    def encode(self, windows: Sequence[Window], cancel: threading.Event | None = None, *, full: bool = False,
               room: float = WINDOW_SECONDS) -> Any:
        """Encoder states of a batch; cropped where the checkpoint allows it, unless `full`. room: seconds of silence
        after a clip that is not cropped."""
        full = full or not self.crops
        lengths = [frames_for(window.duration + room) if full else self._n_frames(window) for window in windows]
        if not self.engine.ragged:
            lengths = [max(lengths)] * len(windows)
        states = []
        for i in range(0, len(windows), self.engine.encoder_batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            part = slice(i, i + self.engine.encoder_batch)
            mels = [pad_or_trim(self.engine.log_mel(window.samples), n_frames)
                    for window, n_frames in zip(windows[part], lengths[part], strict=True)]
            with self._lock:
                states.append(self.engine.encode(mels))
        return self.engine.join(states)

    def decode(self, states: Any, prompt: list[int], seconds: float, cancel: threading.Event | None = None,
               **how: Any) -> list[Decoded]:
        """seconds: the longest clip's. how: beam_size, no_repeat_ngram."""
        max_tokens = min(MAX_NEW_TOKENS, DECODER_POSITIONS - len(prompt), int(16 + TOKENS_PER_SECOND * seconds))
        with self._lock:
            return self.engine.decode(states, prompt, max_tokens=max_tokens, cancel=cancel, **how)

    def align(self, states: Any, row: int, prompt: list[int], pieces: Sequence[Sequence[int]], window: Window,
              options: Options) -> list[list[Word]]:
        """Words of each piece of a row's text tokens; empty where the alignment fails."""
        with self._lock:
            return align_words(self.engine, self.tokens, states, row, prompt, pieces, window.duration,
                               options.language if options.task == "transcribe" else "en", window.samples)

    def _batches(self, windows: Sequence[Window]) -> Iterator[list[int]]:
        """Indices of windows to be decoded together: like lengths, and no more than the engine has room for."""
        lengths = [self._n_frames(window) // 2 for window in windows]
        batch: list[int] = []
        for i in sorted(range(len(windows)), key=lengths.__getitem__):
            n_rows = len(batch) + 1
            if batch and (n_rows > self.engine.batch_size or n_rows * lengths[i] > self.engine.max_positions):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _n_frames(self, window: Window) -> int:
        """Log-mel frames a window needs."""
        return N_FRAMES_FULL if self.after is None else frames_for(window.duration + self.after)

    def _decode_batch(
        self, batch: Sequence[Window], options: Options, cancel: threading.Event | None, states: Any = None,
    ) -> tuple[list[list[Segment]], dict[int, Window]]:
        """Segments of each window, and by its row what the model left unread of it."""
        states = self.encode(batch, cancel) if states is None else states
        prompt = self.tokens.prompt(options.language, options.task, timestamps=self.facts.timestamps,
                                    initial_prompt=options.initial_prompt)
        results = self.decode(states, prompt, max(window.duration for window in batch), cancel,
                              beam_size=options.beam_size)
        self.n_windows += len(batch)
        found: list[list[Segment]] = []
        rests: dict[int, Window] = {}  # by row
        for row, (window, decoded) in enumerate(zip(batch, results, strict=True)):
            segments, reached = self._finish(window, decoded, states, row, prompt, options, cancel)
            found.append(segments)
            # The last timestamp tells how far the model read; what it left is a window of its own.
            if self.facts.timestamps and segments and RESUME_SECONDS < reached < window.duration - RESUME_SECONDS:
                rests[row] = _rest(window, reached)
        return found, rests

    def _finish(self, window: Window, decoded: Decoded, states: Any, row: int, prompt: list[int], options: Options,
                cancel: threading.Event | None) -> tuple[list[Segment], float]:
        """Try again what looks wrong, drop what is not speech, put times on what is; and the second of the window up to
        which the model read."""
        text = self.tokens.text(decoded.tokens)
        wrong = quality.looks_wrong(decoded, text) or self._is_unsure(window, decoded)
        if wrong and not quality.is_silent(decoded):
            states, row, decoded = self._again(window, decoded, text, states, row, prompt, options, cancel)
        if quality.is_silent(decoded):
            return [], window.duration
        return self._segments(window, decoded, states, row, prompt, options)

    def _is_unsure(self, window: Window, decoded: Decoded) -> bool:
        cropped = self.facts.short_context == "room" and self._n_frames(window) < N_FRAMES_FULL
        return cropped and decoded.avg_logprob < UNSURE_LOGPROB

    def _again(self, window: Window, decoded: Decoded, text: str, states: Any, row: int, prompt: list[int],
               options: Options, cancel: threading.Event | None) -> tuple[Any, int, Decoded]:
        self.n_again += 1
        ways, tries = list(RETRIES), [(decoded, text)]
        if self._n_frames(window) < N_FRAMES_FULL:  # cropped: all it may have missed is context, so first the full 30 s
            states, row, tries = self.encode([window], cancel, full=True), 0, []
            ways.insert(0, {"beam_size": options.beam_size})
        else:
            states, row = self.engine.row(states, row), 0
        for how in ways:
            decoded = self.decode(states, prompt, window.duration, cancel, **how)[0]
            text = self.tokens.text(decoded.tokens)
            tries.append((decoded, text))
            if not quality.looks_wrong(decoded, text):
                return states, row, decoded
        return states, row, quality.better(tries)[0]

    def _segments(self, window: Window, decoded: Decoded, states: Any, row: int, prompt: list[int], options: Options
                  ) -> tuple[list[Segment], float]:
        """Segments on the audio's clock, and the second of the window up to which the model read."""
        pieces = self.tokens.pieces(decoded.tokens)
        timed: list[list[Word]] = [[] for _ in pieces]
        shared_words = window.since is not None or window.until is not None
        cuts = seams(window)
        over_silence = any(crosses(piece.start or 0.0, piece.end or window.duration, cuts) for piece in pieces)
        if (options.words or shared_words or over_silence) and pieces:
            timed = self.align(states, row, prompt, [piece.tokens for piece in pieces], window, options)
            # What follows is another piece's, or no speech: attention gives a last word all noise and music behind it.
            timed = [words if piece.end is None else
                     [replace(word, end=max(word.start, min(word.end, piece.end))) for word in words]
                     for piece, words in zip(pieces, timed, strict=True)]
        segments, reached = [], 0.0
        for piece, words in zip(pieces, timed, strict=True):
            begin = piece.start if piece.start is not None else reached
            end = min(piece.end if piece.end is not None else window.duration, window.duration)
            begin, reached = min(begin, end), end
            text = self.tokens.text(piece.tokens).strip()
            if text:
                whole = Segment(text, begin, end, tuple(words), no_speech_prob=decoded.no_speech_prob,
                                avg_logprob=decoded.avg_logprob)
                for part in parted(whole, cuts):
                    segment = _on_audio(window, part)
                    segments += [segment] if self.facts.timestamps else sentences(segment)
        if shared_words:
            segments = _own(segments, window)
        return segments if options.words else [replace(segment, words=()) for segment in segments], reached


def _rest(window: Window, seconds: float) -> Window:
    """What follows `seconds` into a window, as a window."""
    cut = int(seconds * SAMPLE_RATE)
    pieces = [(max(offset - cut, 0), start + max(cut - offset, 0), n_samples - max(cut - offset, 0))
              for offset, start, n_samples in window.pieces if offset + n_samples > cut]
    return Window(window.samples[cut:], tuple(pieces), until=window.until)


def _own(segments: Sequence[Segment], window: Window) -> list[Segment]:
    """What a window keeps where its neighbour hears the same: the words whose middle is on its side of the cut."""
    since, until = window.since or 0.0, window.until if window.until is not None else float("inf")

    def is_own(one: Segment | Word) -> bool:
        return since <= (one.start + one.end) / 2 < until

    kept = []
    for segment in segments:
        own = tuple(filter(is_own, segment.words))
        if len(own) == len(segment.words) and (own or is_own(segment)):
            kept.append(segment)
        elif own:
            kept.append(replace(segment, text="".join(word.text for word in own).strip(), words=own,
                                start=max(segment.start, own[0].start), end=min(segment.end, own[-1].end)))
    return kept


def _on_audio(window: Window, segment: Segment) -> Segment:
    """From the window's clock to the audio's."""
    start, end = window.in_audio(segment.start), window.in_audio(segment.end, is_end=True)
    words = tuple(replace(word, start=window.in_audio(word.start), end=window.in_audio(word.end, is_end=True))
                  for word in segment.words)
    return replace(segment, start=start, end=max(start, end), words=words)
