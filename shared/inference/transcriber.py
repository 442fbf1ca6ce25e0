"""The inference module: audio in, Transcript out, for every app, the command line, evaluation and benchmarks.

Enters: a path, a Waveform or a stream of blocks. Speech is found (`vad`), packed into windows of at most 30 s, turned
into segments pool by pool (`window_decoder`) and put together. Memory does not grow with the audio. Nothing is sampled:
the same checkpoint, engine, compute type, beam and VAD give the same text.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from shared.audio import AudioSource, Source, is_short
from shared.audio.windows import Window, repacked, windows
from shared.checkpoint import MODELS, WITH_ROOM, Checkpoint, Download, Form, facts, files, measured
from shared.checkpoint.tokenizer import tokens_of
from shared.engines import Engine, plan_engine
from shared.errors import Cancelled, UserError
from shared.inference.batches import Batches, InOrder, Job
from shared.inference.held import Held
from shared.inference.language_detection import LanguageDetector, Spoken
from shared.inference.many import in_groups, transcribe_as_one
from shared.inference.possible import check_possible
from shared.inference.spoken_languages import Languages
from shared.inference.window_decoder import WindowDecoder
from shared.languages import language_code
from shared.options import Choices, Options
from shared.transcript import Segment, Transcript

if TYPE_CHECKING:
    from shared.diarization import Diarizer

Progress = Callable[[int, int | None], None]  # (windows done, of how many; None while a stream's length is unknown)
OnText = Callable[[Transcript], None]  # the segments that are new
# From a language that was detected to who decodes it, and the language to ask for.
Choose = Callable[[str], tuple["Transcriber", str]]

SHORT_GAP_SECONDS = 1.0  # a checkpoint that may be cropped gets each utterance for itself: padding costs it nothing
# Speech from which batches are chosen: where somebody watches, little at first, so that the first text comes soon.
# A full window lasts 20 to 30 s: one, two, four and eight of them are wanted.
WATCHED_SECONDS, ALONE_SECONDS = (15, 45, 100, 220), (460,)


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
        self.account = wanted.account  # whose token it was read with: it answers nobody else

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
            hotwords: words and phrases that decoding leans towards: a list, or a text with commas between them.
            dictionary: of the words that are spelled right: a language, a dictionary of hunspell's or a text file, or
                several; with it the beam is at least 5 wide.
            progress: called with (windows done, of how many; None while a stream's length is unknown).
            cancel: set from another thread; ends ffmpeg at once and decoding within a step.

        Returns:
            Segments in order, with times in seconds from the start of the audio.

        Raises:
            UserError: the source cannot be read, a value is out of range, or the checkpoint cannot do what is asked.
            Cancelled: `cancel` was set.
        """
        options = self._options(choices)
        return self.run(AudioSource(source, cancel), options, progress=progress, cancel=cancel)

    def transcribe_each(self, sources: Iterable[Source], **choices: Unpack[Choices]
                        ) -> Generator[Transcript | UserError, None, None]:
        """Transcribe many recordings, those of at most 30 s together: a batch takes little more time than one clip.

        The same recordings in the same order give the same texts. 8 bits round a clip beside others a little otherwise
        than alone, so now and then a word is not what `transcribe` writes; the word error is the same.

        Args:
            sources: as for `transcribe`, taken as they are needed.
            choices: as for `transcribe`, the same for all.

        Yields:
            For each source, in order, its transcript, or the UserError that says why there is none.

        Raises:
            UserError: a value of `choices` is out of range, or the checkpoint cannot do what is asked.
        """
        options = self._options(choices)
        self.check(options)
        for group in in_groups(sources, lambda one: (not options.speakers and is_short(one)) or None):
            if len(group) > 1:
                opened = [functools.partial(AudioSource, one) for one in group]
                for found in transcribe_as_one(self, opened, options):
                    yield found if isinstance(found, UserError) else found.transcript
                continue
            try:
                yield self.run(AudioSource(group[0]), options)
            except UserError as error:
                yield error

    def _options(self, choices: Choices) -> Options:
        options = Options.of(**choices)
        if options.language is None:
            return options
        return replace(options, language=language_code(options.language, also=self.tokens.languages))

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
        parts = self.windows(source, options)
        if diarizer is not None:
            parts = diarizer.listen(parts, cancel)
        watched = progress is not None or on_text is not None
        segments: list[Segment] = []
        spoken = Languages()
        for done, of, new in (recognise or self.recognise)(parts, options, source.total if watched else None, cancel):
            segments += new.segments
            spoken.add(new)
            if on_text is not None and new.segments:
                on_text(new)
            if progress is not None:
                progress(done, of)
        if cancel is not None and cancel.is_set():
            raise Cancelled
        transcript = self.whole(source, segments, spoken, options)
        if diarizer is None:
            return transcript
        from shared.diarization import label

        return label(transcript, diarizer.turns())

    def check(self, options: Options) -> None:
        """Refuse what this checkpoint cannot do.

        Args:
            options: the language is a code.

        Raises:
            UserError: a value is out of range, or it has no such language or task, its engine follows neither
                hotwords nor a dictionary, or no dictionary is of the language.
        """
        options.check()
        check_possible(options, self.checkpoint.name, self.plan.name, self.tokens, self.known_languages)

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
        return windows(source, onset=options.vad_onset, max_gap=self.max_gap)

    @property
    def max_gap(self) -> float:
        """Seconds of silence over which this checkpoint's windows reach."""
        after = self.window_decoder.context.silence
        return SHORT_GAP_SECONDS if after is not None and after <= SHORT_GAP_SECONDS else 1e9

    def recognise(
        self, parts: Iterable[Window], options: Options, total: Callable[[int, float], int | None] | None = None,
        cancel: threading.Event | None = None, choose: Choose | None = None,
    ) -> Iterator[tuple[int, int | None, Transcript]]:
        """Decode windows batch by batch. This is the part that wants the GPU; it touches no file.

        Args:
            parts: windows in order of time, read as they are needed.
            options: the language is a code, or None to detect it.
            total: (windows known, seconds up to which) → estimate of how many there will be; None where nobody watches,
                so that batches may be full from the first.
            cancel: set from another thread, ends it within a step.
            choose: who decodes what is in a language that was detected here; this checkpoint does it all without.

        Yields:
            (windows done, of how many, what was new, all in one language).

        Raises:
            Cancelled: `cancel` was set.
        """
        # Unless windows of a batch may differ in length, padding and so the text depend on the batch.
        watched = total is not None or not self.engine.ragged
        batches = Batches(self.jobs(parts, options, cancel, choose), WATCHED_SECONDS if watched else ALONE_SECONDS,
                          in_order=watched)
        order, of, language = InOrder(), None, "en"
        for found in batches.decoded(options, cancel):
            if batches.all_known:
                of = batches.n_known
            elif total is not None:
                of = total(batches.n_known, batches.known_until)
            for language, segments in order.add(found) or [(found[0].job.language, [])]:
                yield batches.n_done, of, Transcript(tuple(segments), language, order.reached)
        if batches.n_done and of != batches.n_done:  # the last batch was full, so nobody knew that it was the last
            yield batches.n_done, batches.n_done, Transcript((), language, order.reached)

    def jobs(self, parts: Iterable[Window], options: Options, cancel: threading.Event | None, choose: Choose | None
             ) -> Iterator[Job]:
        """Each window with its language and who decodes it, packed as that checkpoint reads it best.

        Args:
            parts, options, cancel, choose: as for `recognise`.

        Yields:
            Jobs, in order of time.

        Raises:
            Cancelled: `cancel` was set.
        """
        place = count()
        for language, group in groupby(self._spoken(parts, options, cancel, choose is None), key=lambda s: s.language):
            who, code = (self, language) if choose is None else choose(language)
            if who is self:
                yield from (Job(next(place), one.window, self.window_decoder, code, one.states) for one in group)
            else:
                windows = repacked((one.window for one in group), who.max_gap)
                yield from (Job(next(place), window, who.window_decoder, code) for window in windows)

    def _spoken(self, parts: Iterable[Window], options: Options, cancel: threading.Event | None, keeps_states: bool
                ) -> Iterator[Spoken]:
        known = options.language or (self.languages[0] if self.languages and len(self.languages) == 1 else None)
        if known is not None:
            return (Spoken(window, known) for window in parts)
        return LanguageDetector(self.window_decoder, self.languages, cancel, keeps_states=keeps_states).each(parts)

    def whole(self, source: AudioSource, segments: Sequence[Segment], spoken: Languages, options: Options
              ) -> Transcript:
        """The transcript of a source that was read to its end.

        Args:
            source: what was read.
            segments: all that was found, in order.
            spoken: the languages of the segments.
            options: as for `run`.

        Returns:
            The text, and all that has to be said of it.
        """
        shortened = self.tokens.prompt_warning(options.initial_prompt)
        warnings = (*source.warnings, *spoken.warnings(), *([shortened] if shortened else []))
        return Transcript(tuple(segments), options.language or spoken.main or "en", source.duration, warnings)

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
        # Up to 90 s: enough to outvote one odd window.
        return LanguageDetector(self.window_decoder, self.languages, cancel).main(parts[:3])


def _diarizer(n_speakers: int | None) -> Diarizer:
    from shared.diarization import Diarizer  # here: it imports torch, which takes seconds

    return Diarizer(n_speakers)
