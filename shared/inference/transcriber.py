"""THE inference module: audio in, Transcript out, for every app, the command line, evaluation and benchmarks.

Enters: a path, a Waveform or a stream of blocks. Speech is found (`vad`), packed into windows of at most 30 s, turned
into segments pool by pool (`recognition`) and put together. Memory does not grow with the audio. Nothing is sampled:
the same checkpoint, engine, compute type, beam and VAD give the same text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shared.audio import AudioSource, Source
from shared.audio.windows import Window, windows
from shared.checkpoint import WITH_ROOM, Checkpoint, facts, files, learned_tail
from shared.checkpoint.tokenizer import tokens_of
from shared.diarization import Diarizer, label
from shared.engines import load_engine
from shared.errors import Cancelled, UserError
from shared.inference.window_decoder import Recogniser
from shared.languages import language_code, language_name
from shared.options import Options
from shared.transcript import Segment, Transcript

Progress = Callable[[int, int | None], None]  # (windows done, of how many; None while a stream's length is unknown)
OnText = Callable[[Transcript], None]  # the segments that are new

SHORT_GAP_SECONDS = 1.0  # a checkpoint that may be cropped gets each utterance for itself: padding costs it nothing
HELD_SECONDS = 15 * 60  # a recording up to so long is windowed ahead, so that progress knows the exact total
# Speech taken on at a time: little at first, so that the first text comes soon, then enough for full batches.
POOL_SECONDS = (30, 60, 120, 240)


class Transcriber:
    """One checkpoint on one engine. Loading takes seconds; calls may come from several threads."""

    def __init__(
        self, checkpoint: Checkpoint, *, engine: str = "auto", device: str = "auto", compute_type: str = "auto",
        full_context: bool = False, progress: Callable[[float, str], None] | None = None, max_bytes: int | None = None,
        token: bool = True,
    ) -> None:
        """full_context: always the 30 s of stock Whisper, even where the checkpoint may be cropped. progress: hears of
        downloading and converting, (fraction, text). max_bytes: limit for a download. token: whether this machine's Hub
        token may be used.

        Raises UserError: see `checkpoint.files` and `engines.load_engine`.
        """
        self.asked = self.checkpoint = checkpoint  # as it was named; `checkpoint` gets the commit it came to
        folders: dict[str, Path] = {}

        def folder_of(form: str) -> Path:
            self.checkpoint, folders["used"] = files(checkpoint, form, progress, max_bytes, token)
            return folders["used"]

        self.engine = load_engine(engine, device, compute_type, folder_of)
        self.tokens = tokens_of(folders["used"])
        said = facts(folders["used"])
        tail = None
        if full_context:
            said = replace(said, short_context="full")
        elif said.short_context in ("full", "tail"):
            tail = learned_tail(folders["used"], self.engine.n_mels)
            stock = "room" if self.checkpoint.model_id in WITH_ROOM else "full"
            said = replace(said, short_context=stock if tail is None else "tail")
        self.facts = said
        self.recogniser = Recogniser(self.engine, self.tokens, self.facts, tail)

    @property
    def languages(self) -> tuple[str, ...] | None:
        """ISO codes this checkpoint was tuned for; None where it serves whatever Whisper knows."""
        if not self.tokens.is_multilingual:
            return ("en",)
        return self.facts.languages

    def transcribe(
        self, source: Source, *, language: str | None = None, task: str = "transcribe", words: bool = False,
        speakers: bool | int = False, beam_size: int = 1, vad_onset: float = 0.5, initial_prompt: str | None = None,
        progress: Progress | None = None, cancel: threading.Event | None = None,
    ) -> Transcript:
        """Transcribe (or translate into English) audio of any length.

        source: path of a media file; a Waveform, NumPy array or torch tensor of float samples (n_samples,) at 16 kHz in
        [-1, 1]; or an iterator of such arrays.
        language: a code or a name (`language_code`), None to detect. words: with times and confidence of each word.
        speakers: with who says each word and segment; a number says how many there are, True has that found.
        beam_size: 1 is greedy. vad_onset: speech threshold, above 0 and below 1. initial_prompt: names and terms that
        may occur. progress: (done, total) windows. cancel: set from another thread; ends ffmpeg at once, decoding
        within a step, and raises Cancelled.
        Raises UserError. A file that turns out to be cut off still gives the text of what there is, with a warning.
        """
        n_speakers = None if isinstance(speakers, bool) else speakers
        if language is not None:
            language = language_code(language, also=self.tokens.languages)
        options = Options(language, task, words, beam_size, vad_onset, initial_prompt, speakers is not False,
                          n_speakers)
        return self.run(AudioSource(source, cancel), options, progress=progress, cancel=cancel)

    def run(
        self, heard: AudioSource, options: Options, *, recognise: Callable | None = None,
        progress: Progress | None = None, on_text: OnText | None = None, cancel: threading.Event | None = None,
    ) -> Transcript:
        """`transcribe` for a caller that opened the source itself, or runs `recognise` elsewhere (on ZeroGPU).

        on_text: called with what is new as it is decoded, in order; speakers are not known yet then.
        """
        self.check(options)
        diarizer = Diarizer(options.n_speakers) if options.speakers else None
        if diarizer is not None:
            options = replace(options, words=True)  # a speaker may change within a segment
        parts, total = self.windows(heard, options), heard.total
        if heard.length is not None and heard.length <= HELD_SECONDS:
            parts = list(parts)
            n_windows = len(parts)

            def total(done: int, reached: float) -> int:
                return n_windows

        if diarizer is not None:
            parts = diarizer.listen(parts, cancel)
        segments: list[Segment] = []
        language = options.language
        for done, of, new in (recognise or self.recognise)(parts, options, total, cancel):
            segments += new.segments
            language = new.language
            if on_text is not None and new.segments:
                on_text(new)
            if progress is not None:
                progress(done, of)
        if cancel is not None and cancel.is_set():
            raise Cancelled
        transcript = Transcript(tuple(segments), language or "en", heard.duration, tuple(heard.warnings))
        return transcript if diarizer is None else label(transcript, diarizer.turns())

    def check(self, options: Options) -> None:
        """Raise UserError for what this checkpoint cannot do."""
        options.check()
        if not self.tokens.is_multilingual and options.task == "translate":
            raise UserError("This checkpoint knows English only and cannot translate", got=self.checkpoint.name,
                            hint="choose a multilingual checkpoint")
        known = ["en"] if not self.tokens.is_multilingual else list(self.tokens.languages)
        if options.language is not None and options.language not in known:
            name = language_name(options.language)
            raise UserError("This checkpoint does not know the language", got=name,
                            limit=", ".join(known) if len(known) < 10 else f"{len(known)} languages",
                            hint="choose another, or let it be detected")

    def windows(self, heard: AudioSource, options: Options) -> Iterator[Window]:
        """The speech of `heard`, packed as this checkpoint likes it."""
        after = self.recogniser.after
        alone = after is not None and after <= SHORT_GAP_SECONDS
        return windows(heard, onset=options.vad_onset, max_gap=SHORT_GAP_SECONDS if alone else 1e9)

    def recognise(
        self, parts: Iterable[Window], options: Options, total: Callable[[int, float], int | None],
        cancel: threading.Event | None = None,
    ) -> Iterator[tuple[int, int | None, Transcript]]:
        """Decode windows batch by batch: yields (windows done, of how many, what was new).

        This is the part that wants the GPU; it touches no file. total: (windows done, seconds reached) → estimate.
        """
        parts = iter(parts)
        done, language = 0, options.language
        # Several windows tell the language better than one.
        sizes = POOL_SECONDS if language is not None else POOL_SECONDS[2:]
        for pool in _pools(parts, sizes):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            if language is None:
                language = self.detect_language(pool, cancel)
            found: dict[int, list[Segment]] = {}
            told = 0  # windows of the pool whose text has been given: always the first ones, in their order
            for new in self.recogniser.recognise(pool, replace(options, language=language), cancel):
                found |= new
                ready = next((i for i in range(told, len(pool)) if i not in found), len(pool))
                segments = [segment for i in range(told, ready) for segment in found[i]]
                done, told = done + len(new), ready
                reached = pool[ready - 1].end if ready else pool[0].start
                yield done, total(done, reached), Transcript(tuple(segments), language, reached)

    def detect_language(self, parts: Sequence[Window], cancel: threading.Event | None = None) -> str:
        """The language most probable over the given windows, among those the checkpoint serves."""
        if self.languages is not None and len(self.languages) == 1:
            return self.languages[0]
        weights: dict[str, float] = {}
        for window in parts[:3]:  # up to 90 s: enough to outvote one odd window
            for code, probability in self.recogniser.detect(window, cancel).items():
                if self.languages is None or code in self.languages:
                    weights[code] = weights.get(code, 0.0) + probability * window.duration
        return max(weights, key=weights.get)


def _pools(parts: Iterator[Window], seconds_each: Sequence[float]) -> Iterator[list[Window]]:
    """Windows in groups of these seconds; the last size goes on."""
    sizes = iter(seconds_each)
    size = seconds = 0.0
    pool: list[Window] = []
    for window in parts:
        if not pool:
            size = next(sizes, size)
        pool.append(window)
        seconds += window.duration
        if seconds >= size:
            yield pool
            pool, seconds = [], 0.0
    if pool:
        yield pool
