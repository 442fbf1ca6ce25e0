"""Which of the two checkpoints of an app serves a request, and its answer.

Enters: a Request. Leaves: an Answer that says which checkpoint gave it and why. Knows nothing of pages.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from shared.audio import AudioSource, is_short, with_header
from shared.checkpoint import Checkpoint
from shared.engines import BIASED
from shared.errors import UserError
from shared.inference import Heard, OnText, Progress, Transcriber, transcribe_as_one
from shared.languages import language_name
from shared.lexicon import serves
from shared.options import Options
from shared.serving.choice import chooser, refusal, task_refusal, tuned_for
from shared.serving.pair import Pair
from shared.serving.request import Answer, Request
from shared.serving.zero_gpu import ON_ZERO_GPU, detect, recognise
from shared.transcript import Transcript


@dataclass(frozen=True)
class _Chosen:
    """Who answers. tuned: decodes its languages, where those of a recording are detected by the other. notice: why it
    is not the fine-tuned one."""

    who: Transcriber
    tuned: Transcriber | None = None
    notice: str | None = None


def kind_of(request: Request) -> Hashable | None:
    """What a request has in common with those that may be decoded with it.

    Args:
        request: of a recording that nobody has opened.

    Returns:
        The same for all that may; None where it goes by itself: a long recording, or one whose speakers are wanted.
    """
    if request.options.speakers or request.start or request.end is not None or not is_short(request.source):
        return None
    return request.options, request.engine, request.checkpoint, request.account


class Serving(Pair):
    """Answers with the pair, or with a checkpoint that a request names. Calls may come from any thread."""

    def transcribe(self, request: Request, *, progress: Progress | None = None, on_text: OnText | None = None,
                   cancel: threading.Event | None = None) -> Answer:
        """Answer with the fine-tuned checkpoint where it serves the language, else with the base and a notice.

        Args:
            request: what to transcribe, and how.
            progress: called with (windows done, of how many).
            on_text: called with the new segments as they are decoded.
            cancel: set from another thread, ends the work within a step.

        Returns:
            The transcript, and which checkpoint gave it.

        Raises:
            UserError: the recording or a choice cannot be used.
            Cancelled: `cancel` was set.
        """
        request = self._with_dictionary(request)
        if request.checkpoint is not None:
            return self.transcribe_with(self.named(request.checkpoint, request.account), request, progress=progress,
                                        on_text=on_text, cancel=cancel)
        begun = time.monotonic()
        request, remark = self._with_engine(request)
        request = replace(request, source=with_header(request.source))
        chosen = self._chosen(request)
        spoken: dict[str, None] = {}

        def collect(new: Transcript) -> None:
            spoken.setdefault(new.language)
            if on_text is not None:
                on_text(new)

        is_watched = on_text is not None or chosen.tuned is not None
        transcript = self._run(chosen, request, progress, collect if is_watched else None, cancel)
        return self._answer(chosen, Heard(transcript, tuple(spoken), time.monotonic() - begun), request.options, remark)

    def transcribe_each(self, requests: Sequence[Request], progress: Progress | None = None
                        ) -> Generator[Answer | UserError, None, None]:
        """Answer requests for short recordings that ask for the same, with what they say decoded as one.

        Args:
            requests: alike in everything but the recording (`kind_of`).
            progress: called with (windows done, of how many).

        Yields:
            The answer to each, in order, or why its recording cannot be read.

        Raises:
            UserError: what is asked of all cannot be done.
        """
        if ON_ZERO_GPU or len(requests) == 1:  # there a process of its own decodes one recording
            yield from map(self._answer_or_error, requests)
            return
        request, remark = self._with_engine(self._with_dictionary(requests[0]))
        if request.checkpoint is not None:
            checkpoint = self.named(request.checkpoint, request.account)
            chosen = _Chosen(self.transcriber(checkpoint, request.engine, request.account))
        else:
            chosen = self._chosen(request)
        choose = None if chosen.tuned is None else chooser(chosen.who, chosen.tuned, self.opens)
        with self.in_use():
            for found in transcribe_as_one(chosen.who, [functools.partial(self._open, one, None) for one in requests],
                                           request.options, choose=choose, progress=progress):
                yield found if isinstance(found, UserError) else self._answer(chosen, found, request.options, remark)

    def _answer_or_error(self, request: Request) -> Answer | UserError:
        try:
            return self.transcribe(request)
        except UserError as error:
            return error

    def _with_dictionary(self, request: Request) -> Request:
        """With the server's, where a request has none and it can be followed."""
        options, language = request.options, request.options.text_language
        if options.dictionary or request.engine not in ("auto", *BIASED):
            return request
        if language is not None and not serves(self.dictionary, language):
            return request
        return replace(request, options=replace(options, dictionary=self.dictionary))

    def _with_engine(self, request: Request) -> tuple[Request, str | None]:
        """Where decoding must be led, by an engine that can be, which is said where the rule is another."""
        rule = self.base.plan.name
        if not request.options.needs_hook or request.engine != "auto" or self._engine != "auto" or rule in BIASED:
            return request, None
        what = "hotwords" if request.options.hotwords else "a dictionary"
        return replace(request, engine=BIASED[0]), f"Only the engine {BIASED[0]} follows {what}, so it answered."

    def _chosen(self, request: Request) -> _Chosen:
        """Who answers a request that names no checkpoint."""
        chosen, notice = self.base, self.problem
        tuned, asked = self.fine_tuned, request.options
        if tuned is not None:
            notice = task_refusal(tuned, asked)
            if notice is None and tuned.languages is not None:
                if asked.language is None:
                    return _Chosen(self.transcriber(self.base.checkpoint, request.engine),
                                   self.transcriber(tuned.checkpoint, request.engine))
                notice = refusal(tuned, asked)
            if notice is None:
                chosen = tuned if self.opens(tuned) else self.base
                notice = self.problem
        return _Chosen(self.transcriber(chosen.checkpoint, request.engine), notice=notice)

    def _answer(self, chosen: _Chosen, heard: Heard, asked: Options, remark: str | None) -> Answer:
        """What is said of a transcript.

        Where its languages were detected, it names the checkpoint of the one that is spoken longest; the notice, what
        the base did.
        """
        transcript, spoken = heard.transcript, heard.languages
        who, notice, tuned = chosen.who, chosen.notice, chosen.tuned
        if tuned is not None:
            choose = chooser(chosen.who, tuned, lambda _: self.problem is None)
            of_base = [language_name(code) for code in spoken if choose(code)[0] is chosen.who]
            if spoken:
                who = choose(transcript.language)[0]
            if spoken and self.problem is not None:
                notice = self.problem
            elif len(of_base) == len(spoken) == 1:
                notice = refusal(tuned, replace(asked, language=transcript.language))
            elif of_base:
                notice = f"{tuned_for(tuned)}; what is {' and '.join(of_base)} was answered by the base model."
        return Answer(transcript, who.checkpoint, " ".join(filter(None, (notice, remark))) or None, heard.seconds)

    def transcribe_with(self, checkpoint: Checkpoint, request: Request, *, progress: Progress | None = None,
                        on_text: OnText | None = None, cancel: threading.Event | None = None) -> Answer:
        """Answer with exactly this checkpoint, loading it if need be.

        Args:
            checkpoint: which one.
            request: what to transcribe, and how; its own `checkpoint` does not count.
            progress, on_text, cancel: as in `transcribe`.

        Returns:
            The transcript; a notice only where hotwords or a dictionary ask for another engine.

        Raises:
            UserError: as `transcribe`, and if the checkpoint may not be used here.
            Cancelled: `cancel` was set.
        """
        begun = time.monotonic()
        request, remark = self._with_engine(request)
        chosen = self.transcriber(checkpoint, request.engine, request.account)
        transcript = self._run(_Chosen(chosen), request, progress, on_text, cancel)
        return Answer(transcript, chosen.checkpoint, remark, time.monotonic() - begun)

    def detect(self, request: Request, *, cancel: threading.Event | None = None) -> str:
        """The language at the beginning, as the base checkpoint detects it.

        Args:
            request: the recording; of its options only those for finding speech count.
            cancel: set from another thread, ends the work.

        Returns:
            ISO 639-1; "en" where nobody speaks.

        Raises:
            UserError: the recording cannot be read.
            Cancelled: `cancel` was set.
        """
        windows = list(islice(self.base.windows(self._open(request, cancel), request.options), 3))
        if not windows:
            return "en"
        return detect(self.base, windows, cancel)

    def _run(self, chosen: _Chosen, request: Request, progress: Progress | None, on_text: OnText | None,
             cancel: threading.Event | None) -> Transcript:
        decode = functools.partial(recognise, chosen.who, tuned=chosen.tuned, opens=self.opens)
        with self.in_use():
            return chosen.who.run(self._open(request, cancel), request.options, progress=progress, on_text=on_text,
                                  cancel=cancel, recognise=decode)

    def _open(self, request: Request, cancel: threading.Event | None) -> AudioSource:
        return AudioSource(request.source, cancel, start=request.start, end=request.end, track=request.track,
                           max_seconds=self.limits.max_seconds, max_bytes=self.limits.max_bytes)


class ServingInBackground(Serving):
    """The same, ready at once: weights come into memory by `load`, or with the first request that needs them."""

    loads_at_once = False
