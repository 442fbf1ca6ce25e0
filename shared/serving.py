"""What an app answers with: a base checkpoint, a fine-tuned one, and which of the two serves a request.

Enters: an audio source and Options. Leaves: an Answer that says which checkpoint gave it and why. Holds the loaded
models, one copy of each for the whole process. On ZeroGPU only the model's own work runs inside `spaces.GPU`: reading,
decoding and finding speech stay outside. Knows nothing of pages.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import spaces
from shared.audio import AudioSource, Source
from shared.audio.windows import Window
from shared.checkpoint import Checkpoint, configured
from shared.errors import UserError
from shared.inference import Progress, Transcriber
from shared.languages import language_name
from shared.options import Options
from shared.transcript import Transcript

ON_ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))
MAX_GUESTS = 2  # checkpoints kept beside the configured pair, least recently used out first
# What a ZeroGPU call asks for before it runs, set against the visitor's daily quota: a start-up allowance and the audio
# at a tenth of real time, for a large checkpoint; base and small are many times faster.
GPU_START_SECONDS, GPU_RTFX, GPU_MOST_SECONDS = 10, 10, 120


@dataclass(frozen=True)
class Answer:
    """checkpoint: which one answered. notice: why not the fine-tuned one. seconds: of work, reading included."""

    transcript: Transcript
    checkpoint: Checkpoint
    notice: str | None
    seconds: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio for each second of work."""
        return self.transcript.duration / self.seconds if self.seconds else 0.0


class Serving:
    """The two configured checkpoints and a few guests, loaded once. Calls may come from several threads."""

    def __init__(
        self, base: Checkpoint | str, fine_tuned: Checkpoint | str, *, engine: str = "auto",
        max_seconds: float | None = None, max_bytes: int | None = None, allowed: tuple[str, ...] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> None:
        """base, fine_tuned: as `Checkpoint.parse` reads them. max_seconds, max_bytes: limits for what a visitor sends.
        allowed: Hub ids that may be loaded on demand, None for any (one's own machine). progress: hears of downloads
        and conversions.

        Raises UserError if the base checkpoint cannot be had. Without the fine-tuned one `problem` says why.
        """
        self.max_seconds, self.max_bytes, self.allowed = max_seconds, max_bytes, allowed
        self._engine, self._progress = engine, progress
        self._loading = threading.Lock()
        self.base = self._load(_parsed(base), engine)
        self.fine_tuned: Transcriber | None = None
        self.problem: str | None = None
        try:
            self.fine_tuned = self._load(_parsed(fine_tuned), engine)
        except UserError as error:
            self.problem = f"The fine-tuned model {fine_tuned} is not available, so the base model answers. {error}"

    def line(self) -> str:
        """Which checkpoints are in use and where they came from, in one line."""
        tuned = self.fine_tuned.checkpoint.describe() if self.fine_tuned else "not available"
        return f"Fine-tuned: {tuned} · Base: {self.base.checkpoint.describe()} · Engine: {describe_engine(self.base)}"

    def transcribe(
        self, source: Source, options: Options, *, engine: str = "auto", start: float = 0.0, end: float | None = None,
        progress: Progress | None = None, cancel: threading.Event | None = None,
    ) -> Answer:
        """Answer with the fine-tuned checkpoint where it serves the language, else with the base and a notice.

        start, end: seconds of a file. Raises UserError, Cancelled.
        """
        begun = time.monotonic()
        chosen, notice = self.base, self.problem
        if self.fine_tuned is not None:
            if options.language is None and self.fine_tuned.languages is not None:
                options = replace(options, language=self.detect(source, options, start=start, end=end, cancel=cancel))
            notice = self.refusal(self.fine_tuned, options)
            chosen = self.fine_tuned if notice is None else self.base
        return self._answer(chosen, source, options, engine, start, end, progress, cancel, notice, begun)

    def transcribe_with(
        self, checkpoint: Checkpoint, source: Source, options: Options, *, engine: str = "auto", start: float = 0.0,
        end: float | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
    ) -> Answer:
        """Answer with exactly this checkpoint, loading it if need be. Raises UserError if it may not be used here."""
        begun = time.monotonic()
        chosen = self.transcriber(checkpoint, engine)
        return self._answer(chosen, source, options, engine, start, end, progress, cancel, None, begun)

    def detect(self, source: Source, options: Options, *, start: float = 0.0, end: float | None = None,
               cancel: threading.Event | None = None) -> str:
        """The language spoken at the beginning, as the base checkpoint hears it; "en" where nobody speaks."""
        heard = self._open(source, start, end, cancel)
        parts = list(islice(self.base.windows(heard, options), 3))
        if not parts:
            return "en"
        if ON_ZERO_GPU:
            return _detect_on_gpu(_key(self.base), parts)
        return self.base.detect_language(parts, cancel)

    def transcriber(self, checkpoint: Checkpoint, engine: str = "auto") -> Transcriber:
        """The loaded checkpoint; a guest is fetched first, if the owner allows it."""
        for known in (self.base, self.fine_tuned):
            if known is not None and checkpoint in (known.checkpoint, known.asked):
                return self._load(known.checkpoint, engine)
        if self.allowed is not None and str(checkpoint) not in self.allowed and checkpoint.model_id not in self.allowed:
            raise UserError("This checkpoint may not be loaded here", got=str(checkpoint),
                            limit=", ".join(self.allowed) or "only the two configured ones",
                            hint="choose one of those, or run the suite on your own machine")
        return self._load(checkpoint, engine)

    def refusal(self, tuned: Transcriber, options: Options) -> str | None:
        """Why the fine-tuned checkpoint should not answer this, None if it should."""
        if tuned.languages is not None and options.language not in tuned.languages:
            heard = language_name(options.language)
            served = ", ".join(language_name(code) for code in tuned.languages)
            return f"The fine-tuned model was tuned for {served}; this is {heard}, so the base model answered."
        if options.task == "translate":
            return "The fine-tuned model was tuned to transcribe, so the base model translated."
        return None

    def _answer(self, chosen: Transcriber, source: Source, options: Options, engine: str, start: float,
                end: float | None, progress: Progress | None, cancel: threading.Event | None, notice: str | None,
                begun: float) -> Answer:
        if engine not in ("auto", chosen.engine.name):
            chosen = self._load(chosen.checkpoint, engine)
        heard = self._open(source, start, end, cancel)
        transcript = chosen.run(heard, options, recognise=functools.partial(_recognise, chosen),
                                progress=progress, cancel=cancel)
        return Answer(transcript, chosen.checkpoint, notice, time.monotonic() - begun)

    def _open(self, source: Source, start: float, end: float | None, cancel: threading.Event | None) -> AudioSource:
        return AudioSource(source, cancel, start=start, end=end, max_seconds=self.max_seconds, max_bytes=self.max_bytes)

    def _load(self, checkpoint: Checkpoint, engine: str) -> Transcriber:
        if engine == "auto":
            engine = self._engine
        with self._loading:
            known = _LOADED.get((str(checkpoint), engine))
            if known is None:
                limit = None if self.allowed is None else GUEST_BYTES
                known = Transcriber(checkpoint, engine=engine, progress=self._progress, max_bytes=limit)
                _LOADED[str(checkpoint), engine] = _LOADED[_key(known)] = known
            self._evict(keep=known)
            return known

    def _evict(self, keep: Transcriber) -> None:
        """Forget the guests used longest ago; the configured pair always stays."""
        for key in [key for key, one in _LOADED.items() if one is keep]:
            _LOADED.move_to_end(key)
        own = {id(one) for one in (getattr(self, "base", keep), getattr(self, "fine_tuned", keep))}
        guests = list(dict.fromkeys(id(one) for one in _LOADED.values() if id(one) not in own))
        for gone in guests[: max(0, len(guests) - MAX_GUESTS)]:
            for key in [key for key, one in _LOADED.items() if id(one) == gone]:
                del _LOADED[key]


GUEST_BYTES = 4 << 30  # the largest checkpoint a visitor may have a Space fetch: large-v3 in float16 is 3.1 GB
_LOADED: OrderedDict[tuple[str, str], Transcriber] = OrderedDict()  # at module level: ZeroGPU forks what is here


def _parsed(checkpoint: Checkpoint | str) -> Checkpoint:
    return Checkpoint.parse(checkpoint) if isinstance(checkpoint, str) else checkpoint


def describe_engine(transcriber: Transcriber) -> str:
    engine = transcriber.engine
    return f"{engine.name} {engine.compute_type} on {'GPU' if engine.device == 'cuda' else 'CPU'}"


def _key(transcriber: Transcriber) -> tuple[str, str]:
    return str(transcriber.checkpoint), transcriber.engine.name


def _recognise(chosen: Transcriber, parts: Iterable[Window], options: Options, total: Callable,
               cancel: threading.Event | None) -> Iterator[tuple[int, int | None, Transcript]]:
    """`Transcriber.recognise`, on ZeroGPU in the process that holds the GPU."""
    if not ON_ZERO_GPU:
        yield from chosen.recognise(parts, options, total, cancel)
        return
    parts = list(parts)  # crosses the process border whole; the app's length limit bounds it
    for done, new in _recognise_on_gpu(_key(chosen), parts, options):
        if cancel is not None and cancel.is_set():
            return
        yield done, len(parts), new


def _gpu_seconds(key: tuple[str, str], parts: list[Window], options: Options | None = None) -> int:
    """What a ZeroGPU call may take: computed from the audio, because it is set against the visitor's quota."""
    audio = sum(window.duration for window in parts)
    return min(GPU_MOST_SECONDS, GPU_START_SECONDS + math.ceil(audio / GPU_RTFX))


@spaces.GPU(duration=_gpu_seconds)
def _recognise_on_gpu(key: tuple[str, str], parts: list[Window], options: Options
                      ) -> Iterator[tuple[int, Transcript]]:
    for done, _, new in _LOADED[key].recognise(parts, options, lambda done, reached: None):
        yield done, new


@spaces.GPU(duration=_gpu_seconds)
def _detect_on_gpu(key: tuple[str, str], parts: list[Window]) -> str:
    return _LOADED[key].detect_language(parts)


_serving: Serving | None = None
_serving_lock = threading.Lock()


def serving(**limits) -> Serving:
    """The process's Serving, from BASE and FINE_TUNED (`checkpoint.configured`); loaded on the first call."""
    global _serving
    with _serving_lock:
        if _serving is None:
            _serving = Serving(*configured(), **limits)
        return _serving
