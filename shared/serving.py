"""What an app answers with: a base checkpoint, a fine-tuned one, and which of the two serves a request.

Enters: a Request. Leaves: an Answer that says which checkpoint gave it and why. Holds the loaded models, one copy of
each for the whole process. On ZeroGPU only the model's own work runs inside `spaces.GPU`: reading, decoding and finding
speech stay outside. Knows nothing of pages.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import spaces
from shared.audio import AudioSource, Source, with_header
from shared.audio.windows import Window
from shared.checkpoint import Checkpoint, Download, configured
from shared.errors import UserError
from shared.inference import OnText, Progress, Transcriber
from shared.languages import language_name
from shared.options import Options
from shared.system.memory import give_back
from shared.transcript import Transcript

ON_ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))
MAX_EXTRA = 2  # checkpoints kept beside the configured pair, least recently used out first
MAX_VISITOR_BYTES = 4 << 30  # largest checkpoint that a visitor may have a Space fetch: large-v3 in float16 is 3.1 GB
# What a ZeroGPU call asks for before it runs, set against the visitor's daily quota: a start-up allowance and the audio
# at a tenth of real time, for a large checkpoint; base and small are many times faster.
GPU_START_SECONDS, GPU_RTFX, GPU_MOST_SECONDS = 10, 10, 120


BASE, FINE_TUNED = "base", "fine-tuned"  # names of the two configured checkpoints


@dataclass(frozen=True)
class Request:
    """One recording to be transcribed, and how: what a page, the API or a program asks for.

    source: path of a media file, a Waveform, or an iterator of float32 blocks at 16 kHz. options: language, task and
    so on. checkpoint: BASE, FINE_TUNED or a name that `Checkpoint.parse` reads; None: whichever serves the language.
    engine: "auto", "torch" or "ctranslate2". start, end: seconds of a file; None for its end. track: audio
    track of a file, from 1; None for its default one.
    """

    source: Source
    options: Options = field(default_factory=Options)
    engine: str = "auto"
    start: float = 0.0
    end: float | None = None
    track: int | None = None
    checkpoint: str | None = None


@dataclass(frozen=True)
class Answer:
    """A transcript and how it came about.

    checkpoint: which one answered. notice: why not the fine-tuned one. seconds: of work, reading included.
    """

    transcript: Transcript
    checkpoint: Checkpoint
    notice: str | None
    seconds: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio for each second of work."""
        return self.transcript.duration / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Limits:
    """What a visitor may send, and what a visitor may have loaded.

    max_seconds, max_bytes: of a recording; None for any. allowed: Hub ids that may be loaded on demand, None for any
    (one's own machine). listed, datasets: Hub ids of checkpoints and data sets that may be read with this machine's Hub
    token though a visitor names them; anything else that a visitor names is read as a stranger would.
    """

    max_seconds: float | None = None
    max_bytes: int | None = None
    allowed: tuple[str, ...] | None = None
    listed: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


class Serving:
    """The two configured checkpoints and a few that visitors named, loaded once. Calls may come from any thread."""

    loads_at_once = True  # whether the weights are in memory when it is made

    def __init__(self, base: Checkpoint | str, fine_tuned: Checkpoint | str, *, engine: str = "auto",
                 device: str = "auto", compute_type: str = "auto", limits: Limits | None = None,
                 progress: Callable[[float, str], None] | None = None) -> None:
        """Load the base checkpoint and, where it can be had, the fine-tuned one.

        Args:
            base, fine_tuned: as `Checkpoint.parse` reads them.
            engine: for every checkpoint, unless a request names another.
            device, compute_type: as `Transcriber` takes them.
            limits: none unless given.
            progress: called with (fraction 0 … 1, message) while downloading and converting.

        Raises:
            UserError: the base checkpoint cannot be had. Without the fine-tuned one `problem` says why.
        """
        self.limits = limits or Limits()
        self._engine, self._device, self._compute_type, self._progress = engine, device, compute_type, progress
        self._loaded = _LOADED
        self._n_uses, self._uses_lock = 0, threading.Lock()
        self.base = self._loaded.get(_parsed(base), engine, self._build)
        self.fine_tuned: Transcriber | None = None
        self.problem: str | None = None
        try:
            self.fine_tuned = self._loaded.get(_parsed(fine_tuned), engine, self._build)
        except UserError as error:
            self.problem = _not_available(fine_tuned, error)
        if self.loads_at_once or ON_ZERO_GPU:  # which forks what is in memory
            self.load()

    def load(self) -> None:
        """Bring the weights of both into memory. Raises UserError where those of the base cannot be read.

        Without those of the fine-tuned one `problem` says why, and the base answers.
        """
        self.base.load()
        if self.fine_tuned is not None:
            try:
                self.fine_tuned.load()
            except UserError as error:
                self.problem = _not_available(self.fine_tuned.asked, error)
                self.fine_tuned = None

    @property
    def is_loaded(self) -> bool:
        """Whether the weights of the configured checkpoints are in memory."""
        return all(one.is_loaded for one in (self.base, self.fine_tuned) if one is not None)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs nothing is unloaded."""
        with self._uses_lock:
            self._n_uses += 1
        try:
            yield
        finally:
            with self._uses_lock:
                self._n_uses -= 1

    def unload(self, idle_seconds: float = 0.0) -> int:
        """Let go of weights that were not used for so long; the next request loads them again.

        Returns:
            How many checkpoints went.
        """
        if ON_ZERO_GPU:
            return 0
        with self._uses_lock:
            gone = 0 if self._n_uses else sum(one.unload(idle_seconds) for one in self._loaded.each())
        if gone:
            give_back()
        return gone

    def unload_when_idle(self, minutes: float) -> None:
        """From now on, let go of weights that were not used for so many minutes; 0: never."""
        def watch() -> None:
            while True:
                time.sleep(min(minutes * 60 / 4, 30.0))
                self.unload(minutes * 60)

        if minutes > 0:
            threading.Thread(target=watch, name="unload", daemon=True).start()

    def line(self) -> str:
        """Which checkpoints are in use and where they came from, in one line."""
        tuned = self.fine_tuned.checkpoint.describe() if self.fine_tuned else "not available"
        return f"Fine-tuned: {tuned} · Base: {self.base.checkpoint.describe()} · Engine: {describe_engine(self.base)}"

    @property
    def known_languages(self) -> tuple[str, ...]:
        """Codes that may be asked for: what one of the two has a token for, added ones included."""
        pair = [one for one in (self.base, self.fine_tuned) if one is not None]
        return tuple(dict.fromkeys(code for one in pair for code in one.known_languages))

    def transcribe(self, request: Request, *, progress: Progress | None = None, on_text: OnText | None = None,
                   cancel: threading.Event | None = None) -> Answer:
        """Answer with the fine-tuned checkpoint where it serves the language, else with the base and a notice.

        Args:
            request: what to transcribe, and how.
            progress: called with (windows done, of how many).
            on_text: called with the new segments as they are decoded.
            cancel: set from another thread, ends the work within a step.

        Raises:
            UserError: the recording or a choice cannot be used.
            Cancelled: `cancel` was set.
        """
        if request.checkpoint is not None:
            return self.transcribe_with(self.named(request.checkpoint), request, progress=progress, on_text=on_text,
                                        cancel=cancel)
        begun = time.monotonic()
        chosen, notice = self.base, self.problem
        request = replace(request, source=with_header(request.source))
        tuned, asked = self.fine_tuned, request.options
        if tuned is not None:
            notice = _task_refusal(tuned, asked)
            if notice is None and tuned.languages is not None:
                if asked.language is None:
                    return self._by_language(tuned, request, progress, on_text, cancel)
                notice = self.refusal(tuned, asked)
            chosen = tuned if notice is None else self.base
        chosen = self.transcriber(chosen.checkpoint, request.engine)
        transcript = self._run(chosen, request, progress, on_text, cancel)
        return Answer(transcript, chosen.checkpoint, notice, time.monotonic() - begun)

    def _by_language(self, tuned: Transcriber, request: Request, progress: Progress | None, on_text: OnText | None,
                     cancel: threading.Event | None) -> Answer:
        """Each part of a recording by the checkpoint that serves its language, as the base detects it.

        The answer names the checkpoint of the language that is spoken longest; the notice, what the base did.
        """
        begun = time.monotonic()
        base, tuned = (self.transcriber(one.checkpoint, request.engine) for one in (self.base, tuned))
        spoken: dict[str, None] = {}

        def collect(new: Transcript) -> None:
            spoken.setdefault(new.language)
            if on_text is not None:
                on_text(new)

        with self.in_use():
            transcript = base.run(
                self._open(request, cancel), request.options, progress=progress, on_text=collect, cancel=cancel,
                recognise=functools.partial(_recognise, base, tuned=tuned))
        choose = _choice(base, tuned)
        of_base = [language_name(code) for code in spoken if choose(code)[0] is base]
        chosen, notice = choose(transcript.language)[0], None
        if not spoken:
            chosen = base
        elif len(of_base) == len(spoken) == 1:
            notice = self.refusal(tuned, replace(request.options, language=transcript.language))
        elif of_base:
            notice = f"{_tuned_for(tuned)}; what is {' and '.join(of_base)} was answered by the base model."
        return Answer(transcript, chosen.checkpoint, notice, time.monotonic() - begun)

    def named(self, name: str) -> Checkpoint:
        """The checkpoint that a visitor names: BASE, FINE_TUNED, or any that the owner allows. Raises UserError."""
        if name == BASE:
            return self.base.checkpoint
        if name == FINE_TUNED:
            if self.fine_tuned is None:
                raise UserError("The fine-tuned model is not available", hint="choose Automatic or Base")
            return self.fine_tuned.checkpoint
        allowed = self.limits.allowed
        if allowed is not None and name not in allowed:  # before it is looked at: folders here are nobody's business
            raise UserError("This checkpoint may not be loaded here", got=name[:80],
                            limit=", ".join((BASE, FINE_TUNED, *allowed)),
                            hint="choose one of those, or run the suite on your own machine")
        return Checkpoint.parse(name)

    def transcribe_with(self, checkpoint: Checkpoint, request: Request, *, progress: Progress | None = None,
                        on_text: OnText | None = None, cancel: threading.Event | None = None) -> Answer:
        """Answer with exactly this checkpoint, loading it if need be.

        Raises:
            UserError: as `transcribe`, and if the checkpoint may not be used here.
            Cancelled: `cancel` was set.
        """
        begun = time.monotonic()
        chosen = self.transcriber(checkpoint, request.engine)
        transcript = self._run(chosen, request, progress, on_text, cancel)
        return Answer(transcript, chosen.checkpoint, None, time.monotonic() - begun)

    def detect(self, request: Request, *, cancel: threading.Event | None = None) -> str:
        """The language at the beginning (ISO 639-1), as the base checkpoint detects it; "en" where nobody speaks."""
        windows = list(islice(self.base.windows(self._open(request, cancel), request.options), 3))
        if not windows:
            return "en"
        if ON_ZERO_GPU:
            return _detect_on_gpu(_key(self.base), windows)
        return self.base.detect_language(windows, cancel)

    def transcriber(self, checkpoint: Checkpoint, engine: str = "auto") -> Transcriber:
        """The loaded checkpoint; one that a visitor named is fetched first, if the owner allows it.

        Raises UserError. Other calls go on meanwhile: only those for the same checkpoint wait for the download.
        """
        if engine == "auto":
            engine = self._engine
        pair = [known for known in (self.base, self.fine_tuned) if known is not None]
        for known in pair:
            if checkpoint in (known.checkpoint, known.asked):
                if engine in ("auto", known.plan.name):
                    return known
                return self._loaded.get(known.checkpoint, engine, self._build, keep=pair)
        self._check_allowed(checkpoint)
        build = self._build if checkpoint.model_id in self.limits.listed else self._build_for_visitor
        return self._loaded.get(checkpoint, engine, build, keep=pair)

    @staticmethod
    def refusal(tuned: Transcriber, options: Options) -> str | None:
        """Why the fine-tuned checkpoint should not answer this, None if it should."""
        if tuned.languages is not None and options.language not in tuned.languages:
            spoken = language_name(options.language or "")
            return f"{_tuned_for(tuned)}; this is {spoken}, so the base model answered."
        return _task_refusal(tuned, options)

    def _check_allowed(self, checkpoint: Checkpoint) -> None:
        allowed = self.limits.allowed
        if allowed is None or str(checkpoint) in allowed or checkpoint.model_id in allowed:
            return
        raise UserError("This checkpoint may not be loaded here", got=str(checkpoint),
                        limit=", ".join(allowed) or "only the two configured ones",
                        hint="choose one of those, or run the suite on your own machine")

    def _run(self, chosen: Transcriber, request: Request, progress: Progress | None, on_text: OnText | None,
             cancel: threading.Event | None) -> Transcript:
        with self.in_use():
            return chosen.run(self._open(request, cancel), request.options, progress=progress, on_text=on_text,
                              cancel=cancel, recognise=functools.partial(_recognise, chosen))

    def _open(self, request: Request, cancel: threading.Event | None) -> AudioSource:
        return AudioSource(request.source, cancel, start=request.start, end=request.end, track=request.track,
                           max_seconds=self.limits.max_seconds, max_bytes=self.limits.max_bytes)

    def _build(self, checkpoint: Checkpoint, engine: str) -> Transcriber:
        return Transcriber(checkpoint, engine=engine, device=self._device, compute_type=self._compute_type,
                           download=Download(progress=self._progress), lazy=True)

    def _build_for_visitor(self, checkpoint: Checkpoint, engine: str) -> Transcriber:
        limit = None if self.limits.allowed is None else MAX_VISITOR_BYTES
        return Transcriber(checkpoint, engine=engine, device=self._device, compute_type=self._compute_type,
                           download=Download(limit, token=False, progress=self._progress))


class ServingInBackground(Serving):
    """The same, ready at once: weights come into memory by `load`, or with the first request that needs them."""

    loads_at_once = False


class _Loaded:
    """The transcribers of this process by (checkpoint, engine), the least recently used first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Transcriber] = OrderedDict()
        self._lock = threading.Lock()  # held for moments only
        self._building: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    def __getitem__(self, key: tuple[str, str]) -> Transcriber:
        return self._known[key]

    def each(self) -> list[Transcriber]:
        """Every one of them, once."""
        with self._lock:
            return list({id(one): one for one in self._known.values()}.values())

    def get(self, checkpoint: Checkpoint, engine: str, build: Callable[[Checkpoint, str], Transcriber], *,
            keep: Iterable[Transcriber] = ()) -> Transcriber:
        """The one that is there, else what `build` makes; afterwards at most MAX_EXTRA are kept beside `keep`.

        A build may take minutes; who wants another checkpoint does not wait for it. Raises what `build` raises.
        """
        key = str(checkpoint), engine
        with self._lock:
            found = self._used(key)
            building = self._building[key]
        if found is not None:
            return found
        with building:
            with self._lock:
                found = self._used(key)
            if found is None:
                found = build(checkpoint, engine)
                with self._lock:
                    self._known[key] = self._known[_key(found)] = found
                    self._forget_all_but([*keep, found] if keep else None)
        return found

    def _used(self, key: tuple[str, str]) -> Transcriber | None:
        found = self._known.get(key)
        for same in [one for one, known in self._known.items() if known is found]:
            self._known.move_to_end(same)
        return found

    def _forget_all_but(self, keep: list[Transcriber] | None) -> None:
        if keep is None:  # the configured pair is being loaded
            return
        pair = {id(one) for one in keep[:-1]}
        extra = list(dict.fromkeys(id(one) for one in self._known.values() if id(one) not in pair))
        for gone in extra[: max(0, len(extra) - MAX_EXTRA)]:
            for key in [key for key, one in self._known.items() if id(one) == gone]:
                del self._known[key]


_LOADED = _Loaded()  # at module level: ZeroGPU forks what is here


def _parsed(checkpoint: Checkpoint | str) -> Checkpoint:
    return Checkpoint.parse(checkpoint) if isinstance(checkpoint, str) else checkpoint


def unload_minutes() -> float:
    """UNLOAD_MINUTES: after how many idle minutes weights leave memory, 0 for never. On one's own machine 15."""
    given = os.environ.get("UNLOAD_MINUTES") or ("0" if os.environ.get("SPACE_ID") else "15")
    try:
        minutes = float(given)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < math.inf:
        raise UserError("UNLOAD_MINUTES is no number of minutes", got=given[:20],
                        hint="set it to 15, or to 0 for never")
    return minutes


def _not_available(fine_tuned: Checkpoint | str, error: UserError) -> str:
    return f"The fine-tuned model {fine_tuned} is not available, so the base model answers. {error}"


def describe_engine(transcriber: Transcriber) -> str:
    """For a person, as in "torch int8 on CPU"."""
    engine = transcriber.plan
    return f"{engine.name} {engine.compute_type} on {'GPU' if engine.device == 'cuda' else 'CPU'}"


def _key(transcriber: Transcriber) -> tuple[str, str]:
    return str(transcriber.checkpoint), transcriber.plan.name


def _task_refusal(tuned: Transcriber, options: Options) -> str | None:
    if options.task == tuned.facts.task:
        return None
    done = "translated" if options.task == "translate" else "transcribed"
    return f"The fine-tuned model was tuned to {tuned.facts.task}, so the base model {done}."


def _tuned_for(tuned: Transcriber) -> str:
    served = ", ".join(language_name(code) for code in tuned.languages or ())
    return f"The fine-tuned model was tuned for {served}"


def _choice(base: Transcriber, tuned: Transcriber) -> Callable[[str], tuple[Transcriber, str]]:
    """From a language that the base detected to the checkpoint that serves it, and the language to ask it for."""

    def choose(detected: str) -> tuple[Transcriber, str]:
        asked = tuned.facts.tuned_for(detected)
        return (tuned, asked) if tuned.languages is None or asked in tuned.languages else (base, detected)

    return choose


def _recognise(chosen: Transcriber, parts: Iterable[Window], options: Options,
               total: Callable[[int, float], int | None], cancel: threading.Event | None,
               tuned: Transcriber | None = None) -> Iterator[tuple[int, int | None, Transcript]]:
    """`Transcriber.recognise`, on ZeroGPU in the process that holds the GPU. tuned: decodes its languages."""
    if not ON_ZERO_GPU:
        choose = None if tuned is None else _choice(chosen, tuned)
        yield from chosen.recognise(parts, options, total, cancel, choose)
        return
    parts = list(parts)  # crosses the process border whole; the app's length limit bounds it
    for done, new in _recognise_on_gpu(_key(chosen), parts, options, tuned and _key(tuned)):
        if cancel is not None and cancel.is_set():
            return
        yield done, len(parts), new


def _gpu_seconds(key: tuple[str, str], parts: list[Window], options: Options | None = None,
                 tuned: tuple[str, str] | None = None) -> int:
    """What a ZeroGPU call may take: computed from the audio, because it is set against the visitor's quota."""
    audio = sum(window.duration for window in parts)
    return min(GPU_MOST_SECONDS, GPU_START_SECONDS + math.ceil(audio / GPU_RTFX))


@spaces.GPU(duration=_gpu_seconds)  # type: ignore[attr-defined]  # set at run time
def _recognise_on_gpu(key: tuple[str, str], parts: list[Window], options: Options,
                      tuned: tuple[str, str] | None = None) -> Iterator[tuple[int, Transcript]]:
    base = _LOADED[key]
    choose = None if tuned is None else _choice(base, _LOADED[tuned])
    for done, _, new in base.recognise(parts, options, lambda done, reached: None, None, choose):
        yield done, new


@spaces.GPU(duration=_gpu_seconds)  # type: ignore[attr-defined]  # set at run time
def _detect_on_gpu(key: tuple[str, str], parts: list[Window]) -> str:
    return _LOADED[key].detect_language(parts)


_serving: Serving | None = None
_serving_lock = threading.Lock()


def serving(limits: Limits, progress: Callable[[float, str], None] | None = None) -> Serving:
    """The process's Serving, from BASE and FINE_TUNED (`checkpoint.configured`), made on the first call. Its weights
    come into memory later: see `ServingInBackground`."""
    global _serving
    with _serving_lock:
        if _serving is None:
            _serving = ServingInBackground(*configured(), limits=limits, progress=progress)
        return _serving
