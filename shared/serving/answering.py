"""Which of the two checkpoints of an app serves a request, and its answer.

Enters: a Request. Leaves: an Answer that says which checkpoint gave it and why. Knows nothing of pages.
"""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import replace
from itertools import islice

from shared.audio import AudioSource, with_header
from shared.checkpoint import Checkpoint
from shared.engines import BIASED
from shared.inference import OnText, Progress, Transcriber
from shared.languages import language_name
from shared.serving.choice import chooser, refusal, task_refusal, tuned_for
from shared.serving.pair import Pair
from shared.serving.request import Answer, Request
from shared.serving.zero_gpu import detect, recognise
from shared.transcript import Transcript


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
        if request.checkpoint is not None:
            return self.transcribe_with(self.named(request.checkpoint, request.account), request, progress=progress,
                                        on_text=on_text, cancel=cancel)
        request, remark = self._with_engine(request)
        answer = self._by_rule(request, progress, on_text, cancel)
        return answer if remark is None else replace(answer, notice=" ".join(filter(None, (answer.notice, remark))))

    def _with_engine(self, request: Request) -> tuple[Request, str | None]:
        """A request with hotwords goes to an engine that can follow them, which is said where the rule is another."""
        rule = self.base.plan.name
        if not request.options.hotwords or request.engine != "auto" or self._engine != "auto" or rule in BIASED:
            return request, None
        return replace(request, engine=BIASED[0]), f"Only the engine {BIASED[0]} follows hotwords, so it answered."

    def _by_rule(self, request: Request, progress: Progress | None, on_text: OnText | None,
                 cancel: threading.Event | None) -> Answer:
        begun = time.monotonic()
        chosen, notice = self.base, self.problem
        request = replace(request, source=with_header(request.source))
        tuned, asked = self.fine_tuned, request.options
        if tuned is not None:
            notice = task_refusal(tuned, asked)
            if notice is None and tuned.languages is not None:
                if asked.language is None:
                    return self._by_language(tuned, request, progress, on_text, cancel)
                notice = refusal(tuned, asked)
            if notice is None:
                chosen = tuned if self.opens(tuned) else self.base
                notice = self.problem
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
                recognise=functools.partial(recognise, base, tuned=tuned, opens=self.opens))
        choose = chooser(base, tuned, lambda _: self.problem is None)
        of_base = [language_name(code) for code in spoken if choose(code)[0] is base]
        chosen, notice = choose(transcript.language)[0], None
        if not spoken:
            chosen = base
        elif self.problem is not None:
            notice = self.problem
        elif len(of_base) == len(spoken) == 1:
            notice = refusal(tuned, replace(request.options, language=transcript.language))
        elif of_base:
            notice = f"{tuned_for(tuned)}; what is {' and '.join(of_base)} was answered by the base model."
        return Answer(transcript, chosen.checkpoint, notice, time.monotonic() - begun)

    def transcribe_with(self, checkpoint: Checkpoint, request: Request, *, progress: Progress | None = None,
                        on_text: OnText | None = None, cancel: threading.Event | None = None) -> Answer:
        """Answer with exactly this checkpoint, loading it if need be.

        Args:
            checkpoint: which one.
            request: what to transcribe, and how; its own `checkpoint` does not count.
            progress, on_text, cancel: as in `transcribe`.

        Returns:
            The transcript; a notice only where hotwords ask for another engine.

        Raises:
            UserError: as `transcribe`, and if the checkpoint may not be used here.
            Cancelled: `cancel` was set.
        """
        begun = time.monotonic()
        request, remark = self._with_engine(request)
        chosen = self.transcriber(checkpoint, request.engine, request.account)
        transcript = self._run(chosen, request, progress, on_text, cancel)
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

    def _run(self, chosen: Transcriber, request: Request, progress: Progress | None, on_text: OnText | None,
             cancel: threading.Event | None) -> Transcript:
        with self.in_use():
            return chosen.run(self._open(request, cancel), request.options, progress=progress, on_text=on_text,
                              cancel=cancel, recognise=functools.partial(recognise, chosen))

    def _open(self, request: Request, cancel: threading.Event | None) -> AudioSource:
        return AudioSource(request.source, cancel, start=request.start, end=request.end, track=request.track,
                           max_seconds=self.limits.max_seconds, max_bytes=self.limits.max_bytes)

class ServingInBackground(Serving):
    """The same, ready at once: weights come into memory by `load`, or with the first request that needs them."""

    loads_at_once = False
