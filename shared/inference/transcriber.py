"""The inference module: audio in, Transcript out, for every app, the command line, evaluation and benchmarks.

Enters: a path, a Waveform or a stream of blocks. Speech is found (`vad`), packed into windows of at most 30 s, turned
into segments pool by pool (`window_decoder`) and put together. Memory does not grow with the audio. Nothing is sampled:
the same checkpoint, engine, compute type, beam and VAD give the same text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from shared.audio import AudioSource, Source
from shared.audio.windows import Window, joined_windows, repacked, window_parts, windows
from shared.checkpoint import MODELS, WITH_ROOM, Checkpoint, Download, Form, facts, files, measured
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import Engine, plan_engine
from shared.errors import Cancelled, UserError
from shared.inference.held import Held
from shared.inference.spoken_languages import MIN_SECONDS, Languages, languages_of, may_be_mixed
from shared.inference.window_decoder import WindowDecoder
from shared.languages import language_code, language_name
from shared.options import Choices, Options
from shared.transcript import Segment, Transcript

if TYPE_CHECKING:
    from shared.diarization import Diarizer

Progress = Callable[[int, int | None], None]  # (windows done, of how many; None while a stream's length is unknown)
OnText = Callable[[Transcript], None]  # the segments that are new
# From a language that was detected to who decodes it, and the language to ask for.
Choose = Callable[[str], tuple["Transcriber", str]]

SHORT_GAP_SECONDS = 1.0  # a checkpoint that may be cropped gets each utterance for itself: padding costs it nothing
HELD_SECONDS = 15 * 60  # a recording up to so long is windowed ahead, so that progress knows the exact total
# Speech taken on at a time: little at first, so that the first text comes soon, then enough for full batches.
POOL_SECONDS = (30, 60, 120, 240)


class Transcriber:
    """One checkpoint on one engine. Loading takes seconds; calls may come from several threads."""

    def __init__(
        self, checkpoint: Checkpoint, *, engine: str = "auto", device: str = "auto", compute_type: str = "auto",
        full_context: bool = False, lazy: bool = False, download: Download | None = None,
    ) -> None:
        """Open a checkpoint; it is downloaded, merged and converted as needed, each once.

        Args:
            checkpoint: as `Checkpoint.parse` reads it.
            engine: "auto", "torch" or "ctranslate2".
            device: "auto", "cpu" or "cuda".
            compute_type: "auto", or one of `shared.options.COMPUTE_TYPES` that the engine knows on the device.
            full_context: always the 30 s of stock Whisper, even where the checkpoint may be cropped.
            lazy: the weights come into memory at the first use.
            download: what may be fetched from the Hub, and whom to report progress to; None: anything, with this
                machine's token.

        Raises:
            UserError: see `checkpoint.files` and `engines.plan_engine`.
        """
        self.asked = self.checkpoint = checkpoint  # as it was named; `checkpoint` gets the commit it came to
        folders: dict[str, Path] = {}
        wanted = download or Download()

        def folder_of(form: Form) -> Path:
            self.checkpoint, folders["used"] = files(checkpoint, form, wanted.progress, wanted)
            return folders["used"]

        self.plan = plan_engine(engine, device, compute_type, folder_of)
        self.tokens = tokens_of(folders["used"])
        self.facts = facts(folders["used"])
        embedded = self.checkpoint.origin == "embedded"  # its card here may be newer than the copy beside what was made
        self.measured = measured(MODELS / self.checkpoint.name if embedded else folders["used"])
        if full_context:
            self.facts = replace(self.facts, short_context="full")
        elif self.facts.short_context == "full" and self.checkpoint.model_id in WITH_ROOM:
            self.facts = replace(self.facts, short_context="room")
        self._held = Held(lambda: WindowDecoder(self.plan.open(), self.tokens, self.facts))
        if not lazy:
            self.load()

    def load(self) -> None:
        """Bring the weights into memory, if they are not there.

        Raises:
            UserError: they cannot be read.
        """
        self._held.get()

    def unload(self, idle_seconds: float = 0.0) -> bool:
        """Let the weights go if they were not used for a while; the next use loads them.

        Args:
            idle_seconds: how long; 0: now.

        Returns:
            Whether they went.
        """
        return self._held.drop(idle_seconds)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._held.is_there

    @property
    def window_decoder(self) -> WindowDecoder:
        """What decodes its windows; loads the weights."""
        return self._held.get()

    @property
    def engine(self) -> Engine:
        """The engine with its weights, loaded if they are not."""
        return self._held.get().engine

    @property
    def languages(self) -> tuple[str, ...] | None:
        """ISO codes this checkpoint was tuned for; None where it serves whatever Whisper knows."""
        if not self.tokens.is_multilingual:
            return ("en",)
        return self.facts.languages

    @property
    def known_languages(self) -> tuple[str, ...]:
        """Codes it has a token for, added ones included: what may be asked of it."""
        return tuple(self.tokens.languages) if self.tokens.is_multilingual else ("en",)

    def transcribe(
        self, source: Source, *, progress: Progress | None = None, cancel: threading.Event | None = None,
        **choices: Unpack[Choices],
    ) -> Transcript:
        """Transcribe (or translate into English) audio of any length.

        A file that turns out to be cut off still gives the text of what there is, with a warning.

        Args:
            source: path of a media file; a Waveform, NumPy array or torch tensor of float samples (n_samples,) at
                16 kHz in [-1, 1]; or an iterator of such arrays.
            language: a code or a name (`language_code`); None to detect it.
            task: "transcribe", or "translate" into English.
            words: with times and confidence of each word.
            speakers: with who says each word and segment; a number says how many there are, True has that found.
            beam_size: from 1 (greedy) to 20.
            vad_onset: speech threshold, above 0 and below 1; lower finds quieter speech.
            initial_prompt: names and terms that may occur, spelled as wanted.
            progress: called with (windows done, of how many; None while a stream's length is unknown).
            cancel: set from another thread; ends ffmpeg at once and decoding within a step.

        Returns:
            Segments in order, with times in seconds from the start of the audio.

        Raises:
            UserError: the source cannot be read, a value is out of range, or the checkpoint cannot do what is asked.
            Cancelled: `cancel` was set.
        """
        options = Options.of(**choices)
        if options.language is not None:
            options = replace(options, language=language_code(options.language, also=self.tokens.languages))
        return self.run(AudioSource(source, cancel), options, progress=progress, cancel=cancel)

    def run(
        self, source: AudioSource, options: Options, *, recognise: Callable | None = None,
        progress: Progress | None = None, on_text: OnText | None = None, cancel: threading.Event | None = None,
    ) -> Transcript:
        """`transcribe` for a caller that opened the source itself, or runs `recognise` elsewhere (on ZeroGPU).

        Args:
            source: the audio, opened.
            options: as for `transcribe`; the language is a code.
            recognise: in place of this object's own.
            progress, cancel: as for `transcribe`.
            on_text: called with what is new as it is decoded, in order; speakers are not known yet then.

        Returns:
            As `transcribe`.

        Raises:
            UserError: as `transcribe`.
            Cancelled: `cancel` was set.
        """
        self.check(options)
        diarizer = _diarizer(options.n_speakers) if options.speakers else None
        if diarizer is not None:
            options = replace(options, words=True)  # a speaker may change within a segment
        parts, total = self.windows(source, options), source.total
        # Who reads along wants the first text before all speech is found.
        if source.length is not None and source.length <= HELD_SECONDS and on_text is None:
            held = list(parts)
            parts, n_windows = iter(held), len(held)

            def total(done: int, reached: float) -> int:
                return n_windows

        if diarizer is not None:
            parts = diarizer.listen(parts, cancel)
        watched = progress is not None or on_text is not None
        segments: list[Segment] = []
        spoken = Languages()
        for done, of, new in (recognise or self.recognise)(parts, options, total if watched else None, cancel):
            segments += new.segments
            spoken.add(new)
            if on_text is not None and new.segments:
                on_text(new)
            if progress is not None:
                progress(done, of)
        if cancel is not None and cancel.is_set():
            raise Cancelled
        warnings = (*source.warnings, *spoken.warnings())
        transcript = Transcript(tuple(segments), options.language or spoken.main or "en", source.duration, warnings)
        if diarizer is None:
            return transcript
        from shared.diarization import label

        return label(transcript, diarizer.turns())

    def check(self, options: Options) -> None:
        """Refuse what this checkpoint cannot do.

        Args:
            options: the language is a code.

        Raises:
            UserError: a value is out of range, or it has no such language or task.
        """
        options.check()
        if not self.tokens.is_multilingual and options.task == "translate":
            raise UserError("This checkpoint knows English only and cannot translate", got=self.checkpoint.name,
                            hint="choose a multilingual checkpoint")
        known = self.known_languages
        if options.language is not None and options.language not in known:
            name = language_name(options.language)
            raise UserError("This checkpoint does not know the language", got=name,
                            limit=", ".join(known) if len(known) < 10 else f"{len(known)} languages",
                            hint="choose another, or let it be detected")

    def windows(self, source: AudioSource, options: Options) -> Iterator[Window]:
        """The speech of a source, packed as this checkpoint reads it best.

        Args:
            source: the audio, opened.
            options: of them those for finding speech count.

        Yields:
            Windows of at most 30 s, in order of time.

        Raises:
            UserError: the source cannot be read.
            Cancelled: the source's own event was set.
        """
        return windows(source, onset=options.vad_onset, max_gap=self._max_gap)

    @property
    def _max_gap(self) -> float:
        """Seconds of silence over which this checkpoint's windows reach."""
        after = self.window_decoder.context.silence
        return SHORT_GAP_SECONDS if after is not None and after <= SHORT_GAP_SECONDS else 1e9

    def recognise(
        self, parts: Iterable[Window], options: Options, total: Callable[[int, float], int | None] | None = None,
        cancel: threading.Event | None = None, choose: Choose | None = None,
    ) -> Iterator[tuple[int, int | None, Transcript]]:
        """Decode windows batch by batch. This is the part that wants the GPU; it touches no file.

        Args:
            parts: windows in order of time.
            options: the language is a code, or None to detect it.
            total: (windows done, seconds reached) → estimate of how many; None where nobody watches, so that batches
                may be full from the first.
            cancel: set from another thread, ends it within a step.
            choose: who decodes what is in a language that was detected here; this checkpoint does it all without.

        Yields:
            (windows done, of how many, what was new, all in one language).

        Raises:
            Cancelled: `cancel` was set.
        """
        done = 0
        # Several windows tell the language better than one. Unless ragged, padding and so the text depend on the batch.
        watched = total is not None or not self.engine.ragged
        sizes = POOL_SECONDS[3:] if not watched else POOL_SECONDS if options.language is not None else POOL_SECONDS[2:]
        votes: dict[str, float] = {}
        for pool in _pools(iter(parts), sizes):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            states: list | None = None
            if options.language is not None:
                languages = [options.language] * len(pool)
            else:
                n_whole = len(pool)
                pool, languages, states = self._by_language(pool, votes, cancel)
                if choose is not None:
                    pool, languages, states = self._packed_for(choose, pool, languages, states)
                done -= len(pool) - n_whole  # parts of one window count as one
            found: dict[int, list[Segment]] = {}
            given = 0  # windows of the pool whose text has been given: always the first ones, in their order
            first = _n_within(pool, POOL_SECONDS[0]) if watched and self.engine.ragged and not done else 0
            decoded = partial(self._decoded, options=options, cancel=cancel, choose=choose)
            for new in _first_alone(decoded, first, pool, languages, states):
                found |= new
                ready = next((i for i in range(given, len(pool)) if i not in found), len(pool))
                done += len(new)
                reached = pool[given - 1].end if given else pool[0].start
                if ready == given:
                    yield done, total and total(done, reached), Transcript((), languages[given], reached)
                for language, group in groupby(range(given, ready), key=languages.__getitem__):
                    places = list(group)
                    segments = tuple(segment for i in places for segment in found[i])
                    reached = pool[places[-1]].end
                    yield done, total and total(done, reached), Transcript(segments, language, reached)
                given = ready

    def _decoded(self, pool: Sequence[Window], languages: Sequence[str], states: Sequence[Any] | None, options: Options,
                 cancel: threading.Event | None, choose: Choose | None = None) -> Iterator[dict[int, list[Segment]]]:
        """Segments by window, those of one language after those of another."""
        for language in dict.fromkeys(languages):
            rows = [i for i, one in enumerate(languages) if one == language]
            who, code = (self, language) if choose is None else choose(language)
            known = None if states is None or who is not self else [states[i] for i in rows]
            wanted = replace(options, language=code)
            for new in who.window_decoder.recognise([pool[i] for i in rows], wanted, cancel, known):
                yield {rows[i]: segments for i, segments in new.items()}

    def _packed_for(self, choose: Choose, pool: Sequence[Window], languages: Sequence[str],
                    states: Sequence[Any] | None) -> tuple[list[Window], list[str], list[Any] | None]:
        """Windows that another checkpoint decodes, packed as that one reads them best."""
        windows: list[Window] = []
        spoken: list[str] = []
        kept: list[Any] = []
        for language, group in groupby(range(len(pool)), key=languages.__getitem__):
            places = list(group)
            who, code = choose(language)
            own = [pool[i] for i in places]
            windows += own if who is self else repacked(own, who._max_gap)
            if states is not None:
                kept += [states[i] for i in places] if who is self else [None] * (len(windows) - len(kept))
            spoken += [code] * (len(windows) - len(spoken))
        return windows, spoken, None if states is None else kept

    def detect_language(self, parts: Sequence[Window], cancel: threading.Event | None = None) -> str:
        """The language most probable over the first of the given windows, among those the checkpoint serves.

        Args:
            parts: windows of speech, at least one.
            cancel: set from another thread, ends it.

        Returns:
            ISO 639-1.

        Raises:
            Cancelled: `cancel` was set.
        """
        if self.languages is not None and len(self.languages) == 1:
            return self.languages[0]
        votes: dict[str, float] = {}
        for one in self._weights(parts[:3], cancel)[0]:  # up to 90 s: enough to outvote one odd window
            for code, weight in one.items():
                votes[code] = votes.get(code, 0.0) + weight
        return max(votes, key=lambda code: votes[code])

    def _by_language(self, pool: Sequence[Window], votes: dict[str, float], cancel: threading.Event | None
                     ) -> tuple[list[Window], list[str], list[Any] | None]:
        """The windows, those with two languages in them parted; the language of each; the encoder's states if of use.

        votes: weight of each language so far in this recording; added to.
        """
        if self.languages is not None and len(self.languages) == 1:
            return list(pool), [self.languages[0]] * len(pool), None
        weights, states = self._weights(pool, cancel)
        for one in weights:
            for code, weight in one.items():
                votes[code] = votes.get(code, 0.0) + weight
        languages = languages_of(weights, votes)
        found: list[tuple[Window, str, Any]] = []
        for i, window in enumerate(pool):
            parts = window_parts(window, MIN_SECONDS) if may_be_mixed(languages, i) else []
            inner = languages_of(self._weights(parts, cancel)[0], votes) if len(parts) > 1 else []
            if len(set(inner)) < 2:
                found.append((window, languages[i], states[i]))
                continue
            for language, group in groupby(range(len(parts)), key=inner.__getitem__):
                places = list(group)
                part = joined_windows(parts[places[0] : places[-1] + 1])
                found.append((part, language, self.window_decoder.encode([part], cancel)))
        windows, languages, states = (list(column) for column in zip(*found, strict=True))
        return windows, languages, states if self.engine.ragged else None

    def _weights(self, windows: Sequence[Window], cancel: threading.Event | None
                 ) -> tuple[list[dict[str, float]], list[Any]]:
        """Seconds of each window for each language that the checkpoint serves, and the encoder's states."""
        weights, kept = [], []
        for window in windows:
            found, states = self.window_decoder.detect_and_keep(window, cancel)
            served = {code: p for code, p in found.items() if self.languages is None or code in self.languages}
            every = sum(served.values()) or 1.0
            weights.append({code: p / every * window.duration for code, p in served.items()})
            kept.append(states)
        return weights, kept


def _n_within(pool: Sequence[Window], seconds: float) -> int:
    """How many of the first windows last so long together; one at least."""
    total = 0.0
    for n, window in enumerate(pool):
        total += window.duration
        if total > seconds:
            return max(n, 1)
    return len(pool)


def _first_alone(decoded: Callable[..., Iterator[dict[int, list[Segment]]]], n_first: int, pool: Sequence[Window],
                 languages: Sequence[str], states: Sequence[Any] | None) -> Iterator[dict[int, list[Segment]]]:
    """What is decoded, by window: that of the first `n_first` before the others are begun."""
    for rows in (range(n_first), range(n_first, len(pool))):
        if rows:
            part = slice(rows.start, rows.stop)
            for new in decoded(pool[part], languages[part], None if states is None else states[part]):
                yield {rows[i]: segments for i, segments in new.items()}


def _diarizer(n_speakers: int | None) -> Diarizer:
    from shared.diarization import Diarizer  # here: it imports torch, which takes seconds

    return Diarizer(n_speakers)


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
