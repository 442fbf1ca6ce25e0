"""THE inference module: audio in, Transcript out, for every app, the command line, evaluation and benchmarks.

Enters: a path, a Waveform or a stream of blocks. Speech is found (`vad`), packed into windows of at most 30 s, turned
into log-mel (`features`), decoded by an engine, judged (`judge`) and put back on the audio's own clock. Memory does not
grow with the audio. Nothing is sampled: the same checkpoint, engine, compute type, beam and VAD give the same text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from shared import judge
from shared.alignment import align_words
from shared.audio import SAMPLE_RATE
from shared.checkpoint import Checkpoint, facts, files
from shared.engines import Decoded, load_engine
from shared.errors import Cancelled, UserError
from shared.features import FRAMES_PER_SECOND, N_FRAMES_FULL, log_mel, pad_or_trim
from shared.source import AudioSource, Source
from shared.tokens import LANGUAGES, tokens_of
from shared.transcript import Segment, Transcript, Word, sentences
from shared.vad import Window, windows

Progress = Callable[[int, int | None], None]  # (windows done, of how many; None while a stream's length is unknown)

TASKS = ("transcribe", "translate")
MAX_TOKENS = 224  # half the decoder's 448 positions, as in Whisper's reference decoder
TAIL_SECONDS = 0.4  # what follows a cropped clip; tuned checkpoints have seen 0.2 s and more
SHORT_GAP_SECONDS = 1.0  # a checkpoint that may be cropped gets each utterance for itself: padding costs it nothing
HELD_SECONDS = 15 * 60  # a recording up to so long is windowed ahead, so that progress knows the exact total
RESUME_SECONDS = 2.0  # speech left after the last timestamp for which a window is taken up again
# Where Whisper's paper samples at rising temperature, this widens the search and then forbids repeats: the same end
# (leave the loop), and the same text each time. CTranslate2's sampling repeats neither with its seed set.
RETRIES = ({"beam_size": 5}, {"beam_size": 5, "no_repeat_ngram": 3})


@dataclass(frozen=True)
class Options:
    """How to transcribe. language: ISO 639-1, None to detect. vad_onset: 0 … 1, lower finds more speech."""

    language: str | None = None
    task: str = "transcribe"
    words: bool = False
    beam_size: int = 1
    vad_onset: float = 0.5
    initial_prompt: str | None = None


class Transcriber:
    """One checkpoint on one engine. Loading takes seconds; calls may come from several threads."""

    def __init__(
        self, checkpoint: Checkpoint, *, engine: str = "auto", device: str = "auto", compute_type: str = "auto",
        progress: Callable[[float, str], None] | None = None, max_bytes: int | None = None,
    ) -> None:
        """progress: hears of downloading and converting, (fraction, text). max_bytes: limit for a download.

        Raises UserError: see `checkpoint.files` and `engines.load_engine`.
        """
        self.asked = checkpoint  # as it was named; `checkpoint` has the commit it came to
        folders: dict[str, Path] = {}

        def folder_of(form: str) -> Path:
            self.checkpoint, folders["used"] = files(checkpoint, form, progress, max_bytes)
            return folders["used"]

        self.engine = load_engine(engine, device, compute_type, folder_of)
        self.tokens = tokens_of(folders["used"])
        self.facts = facts(folders["used"])
        self._lock = threading.Lock()

    @property
    def languages(self) -> tuple[str, ...] | None:
        """ISO codes this checkpoint was tuned for; None where it serves whatever Whisper knows."""
        if not self.tokens.is_multilingual:
            return ("en",)
        return self.facts.languages

    def transcribe(
        self, source: Source, *, language: str | None = None, task: str = "transcribe", words: bool = False,
        beam_size: int = 1, vad_onset: float = 0.5, initial_prompt: str | None = None,
        progress: Progress | None = None, cancel: threading.Event | None = None,
    ) -> Transcript:
        """Transcribe (or translate into English) audio of any length.

        source: path of a media file, a Waveform, or an iterator of float32 blocks at 16 kHz.
        language: ISO 639-1 code, None to detect. words: with times and confidence of each word. beam_size: 1 is greedy.
        vad_onset: speech threshold, 0 … 1. initial_prompt: names and terms that may occur. progress: (done, total)
        windows. cancel: set from another thread; ends ffmpeg at once, decoding within a step, and raises Cancelled.
        Raises UserError. A file that turns out to be cut off still gives the text of what there is, with a warning.
        """
        options = Options(language, task, words, beam_size, vad_onset, initial_prompt)
        return self.run(AudioSource(source, cancel), options, progress=progress, cancel=cancel)

    def run(
        self, heard: AudioSource, options: Options, *, recognise: Callable | None = None,
        progress: Progress | None = None, cancel: threading.Event | None = None,
    ) -> Transcript:
        """`transcribe` for a caller that opened the source itself, or runs `recognise` elsewhere (on ZeroGPU)."""
        self.check(options)
        parts, total = self.windows(heard, options), heard.total
        if heard.length is not None and heard.length <= HELD_SECONDS:
            parts = list(parts)
            n_windows = len(parts)

            def total(done: int, reached: float) -> int:
                return n_windows

        segments: list[Segment] = []
        language = options.language
        for done, of, new in (recognise or self.recognise)(parts, options, total, cancel):
            segments += new.segments
            language = new.language
            if progress is not None:
                progress(done, of)
        if cancel is not None and cancel.is_set():
            raise Cancelled
        return Transcript(tuple(segments), language or "en", heard.duration, tuple(heard.warnings))

    def check(self, options: Options) -> None:
        """Raise UserError for what this checkpoint cannot do."""
        if options.task not in TASKS:
            raise UserError("There is no such task", got=options.task, limit=", ".join(TASKS), todo="choose one")
        if not 1 <= options.beam_size <= 20:
            raise UserError("The beam size is out of range", got=options.beam_size, limit="1 to 20", todo="try 1 or 5")
        if not self.tokens.is_multilingual and options.task == "translate":
            raise UserError("This checkpoint knows English only and cannot translate", got=self.checkpoint.name,
                            todo="choose a multilingual checkpoint")
        known = ["en"] if not self.tokens.is_multilingual else list(self.tokens.languages)
        if options.language is not None and options.language not in known:
            name = LANGUAGES.get(options.language, options.language)
            raise UserError("This checkpoint does not know the language", got=name,
                            limit=", ".join(known) if len(known) < 10 else f"{len(known)} languages",
                            todo="choose another, or let it be detected")

    def windows(self, heard: AudioSource, options: Options) -> Iterator[Window]:
        """The speech of `heard`, packed as this checkpoint likes it."""
        gap = SHORT_GAP_SECONDS if self._crops else 1e9
        return windows(heard, onset=options.vad_onset, max_gap=gap)

    def recognise(
        self, parts: Iterable[Window], options: Options, total: Callable[[int, float], int | None],
        cancel: threading.Event | None = None,
    ) -> Iterator[tuple[int, int | None, Transcript]]:
        """Decode windows batch by batch: yields (windows done, of how many, what was new).

        This is the part that wants the GPU; it touches no file. total: (windows done, seconds reached) → estimate.
        """
        parts = iter(parts)
        done, language = 0, options.language
        while batch := list(islice(parts, self.engine.batch_size)):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            if language is None:
                language = self.detect_language(batch, cancel)
            segments = self._decode_batch(batch, replace(options, language=language), cancel)
            done += len(batch)
            yield done, total(done, batch[-1].end), Transcript(tuple(segments), language, batch[-1].end)

    def detect_language(self, parts: Sequence[Window], cancel: threading.Event | None = None) -> str:
        """The language most probable over the given windows, among those the checkpoint serves."""
        if self.languages is not None and len(self.languages) == 1:
            return self.languages[0]
        weights: dict[str, float] = {}
        for window in parts[:3]:  # up to 90 s: enough to outvote one odd window
            for code, probability in self._detect(window, cancel).items():
                if self.languages is None or code in self.languages:
                    weights[code] = weights.get(code, 0.0) + probability * window.duration
        return max(weights, key=weights.get)

    def _detect(self, window: Window, cancel: threading.Event | None) -> dict[str, float]:
        states = self._encode([window], cancel, full=True)
        with self._lock:
            return self.engine.detect_language(states)[0]

    @property
    def _crops(self) -> bool:
        return self.facts.short_context == "any"

    def _encode(self, batch: Sequence[Window], cancel: threading.Event | None, *, full: bool) -> Any:
        """Encoder states of a batch; cropped to the longest clip and its tail where the checkpoint allows it."""
        n_frames = N_FRAMES_FULL
        if not full:
            longest = max(window.duration for window in batch) + TAIL_SECONDS
            n_frames = min(N_FRAMES_FULL, 2 * int(np.ceil(longest * FRAMES_PER_SECOND / 2)))
        mels = [pad_or_trim(log_mel(window.samples, self.engine.n_mels), n_frames) for window in batch]
        states = []
        for i in range(0, len(mels), self.engine.encoder_batch):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            with self._lock:
                states.append(self.engine.encode(np.stack(mels[i : i + self.engine.encoder_batch])))
        return self.engine.join(states)

    def _decode_batch(self, batch: Sequence[Window], options: Options, cancel: threading.Event | None) -> list[Segment]:
        states = self._encode(batch, cancel, full=not self._crops)
        prompt = self.tokens.prompt(options.language, options.task, timestamps=self.facts.timestamps,
                                    initial_prompt=options.initial_prompt)
        results = self._decode(states, prompt, batch, cancel, beam_size=options.beam_size)
        segments: list[Segment] = []
        for row, (window, decoded) in enumerate(zip(batch, results, strict=True)):
            segments += self._finish(window, decoded, states, row, prompt, options, cancel)
        return segments

    def _decode(self, states: Any, prompt: list[int], batch: Sequence[Window], cancel: threading.Event | None, **how
                ) -> list[Decoded]:
        # No language is spoken at more than about 30 of Whisper's tokens a second; a runaway clip ends there.
        longest = max(window.duration for window in batch)
        max_tokens = min(MAX_TOKENS, 448 - len(prompt), int(16 + 30 * longest))
        with self._lock:
            return self.engine.decode(states, prompt, max_tokens=max_tokens, cancel=cancel, **how)

    def _finish(self, window: Window, decoded: Decoded, states: Any, row: int, prompt: list[int], options: Options,
                cancel: threading.Event | None) -> list[Segment]:
        """Try again what looks wrong, drop what is not speech, put times on what is."""
        text = self.tokens.text(decoded.tokens)
        if judge.looks_wrong(decoded, text) and not judge.is_silent(decoded):
            states, row, decoded = self._again(window, decoded, text, states, row, prompt, cancel)
        if judge.is_silent(decoded):
            return []
        segments, reached = self._segments(window, decoded, states, row, prompt, options)
        # The last timestamp tells how far the model read; what it left is a window of its own.
        if self.facts.timestamps and segments and RESUME_SECONDS < reached < window.duration - RESUME_SECONDS:
            rest = _rest(window, reached)
            segments += self._decode_batch([rest], options, cancel)
        return segments

    def _again(self, window: Window, decoded: Decoded, text: str, states: Any, row: int, prompt: list[int],
               cancel: threading.Event | None) -> tuple[Any, int, Decoded]:
        if self._crops:  # the net under a cropped clip: all it may have missed is context
            states, row = self._encode([window], cancel, full=True), 0
        else:
            states, row = self.engine.row(states, row), 0
        tries = [] if self._crops else [(decoded, text)]
        for how in (*([{"beam_size": 1}] if self._crops else []), *RETRIES):
            decoded = self._decode(states, prompt, [window], cancel, **how)[0]
            text = self.tokens.text(decoded.tokens)
            tries.append((decoded, text))
            if not judge.looks_wrong(decoded, text):
                return states, row, decoded
        return states, row, judge.better(tries)[0]

    def _segments(self, window: Window, decoded: Decoded, states: Any, row: int, prompt: list[int], options: Options
                  ) -> tuple[list[Segment], float]:
        """Segments on the audio's clock, and the second of the window up to which the model read."""
        pieces = self.tokens.pieces(decoded.tokens)
        timed: list[tuple[Word, int]] = []
        if options.words and pieces:
            ids = [i for piece in pieces for i in piece.tokens]
            with self._lock:
                timed = align_words(self.engine, self.tokens, states, row, prompt, ids, window.duration,
                                    options.language if options.task == "transcribe" else "en")
        segments, reached = [], 0.0
        for piece in pieces:
            begin = piece.start if piece.start is not None else reached
            end = min(piece.end if piece.end is not None else window.duration, window.duration)
            begin, reached = min(begin, end), end
            words = _take(timed, len(piece.tokens))
            text = self.tokens.text(piece.tokens).strip()
            if text:
                segment = _on_audio(window, Segment(
                    text, begin, end, tuple(words), no_speech_prob=decoded.no_speech_prob,
                    avg_logprob=decoded.avg_logprob))
                segments += [segment] if self.facts.timestamps else sentences(segment)
        return segments, reached


def _rest(window: Window, seconds: float) -> Window:
    """What follows `seconds` into a window, as a window."""
    cut = int(seconds * SAMPLE_RATE)
    pieces = [(max(offset - cut, 0), start + max(cut - offset, 0), n_samples - max(cut - offset, 0))
              for offset, start, n_samples in window.pieces if offset + n_samples > cut]
    return Window(window.samples[cut:], tuple(pieces))


def _take(timed: list[tuple[Word, int]], n_tokens: int) -> list[Word]:
    """The words of the next `n_tokens` tokens, removed from `timed`."""
    words = []
    while timed and n_tokens > 0:
        word, n_used = timed.pop(0)
        words.append(word)
        n_tokens -= n_used
    return words


def _on_audio(window: Window, segment: Segment) -> Segment:
    """From the window's clock to the audio's."""
    start, end = window.in_audio(segment.start), window.in_audio(segment.end, is_end=True)
    words = tuple(replace(word, start=window.in_audio(word.start), end=window.in_audio(word.end, is_end=True))
                  for word in segment.words)
    return replace(segment, start=start, end=max(start, end), words=words)
