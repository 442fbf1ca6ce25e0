"""Which checkpoint answers: the one that was named, or of the configured pair the one the pages would take."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from shared.audio import AudioSource
from shared.checkpoint import Checkpoint, Download, configured
from shared.cli.options import Model
from shared.errors import UserError
from shared.inference import Progress, Transcriber, transcribe_as_one
from shared.options import Options
from shared.serving import Answer, Request, ServingInBackground, refusal
from shared.system.command import tell


def load(model: Model, name: str, quiet: bool) -> Transcriber:
    """The checkpoint of this name. Raises UserError."""
    return Transcriber(Checkpoint.parse(name), engine=model.engine, device=model.device,
                       compute_type=model.compute_type,
                       download=Download(progress=None if quiet else show_loading))


def answer_of(transcriber: Transcriber, path: Path, options: Options, track: int | None,
              progress: Progress | None = None) -> Answer:
    """The answer of exactly this checkpoint. Raises UserError."""
    begun = time.monotonic()
    transcript = transcriber.run(AudioSource(path, track=track), options, progress=progress)
    return Answer(transcript, transcriber.checkpoint, None, time.monotonic() - begun)


class Answering:
    """Loaded once, answers any number of recordings."""

    def __init__(self, model: Model, quiet: bool = False, first: Options | None = None) -> None:
        """Raises UserError if the checkpoint cannot be had. first: what is asked first, so that a checkpoint which may
        not be used is not opened; None opens both."""
        self._answering: Transcriber | ServingInBackground
        if model.name is not None:
            self._answering = load(model, model.name, quiet)
            return
        base, tuned = configured()
        self._answering = ServingInBackground(base, tuned, engine=model.engine, device=model.device,
                                              compute_type=model.compute_type,
                                              progress=None if quiet else show_loading)
        if first is None:
            self._answering.load()
        else:
            self._answering.load_first(first)
        if self._answering.problem:
            tell(self._answering.problem)

    def answer(self, path: Path, options: Options, track: int | None, progress: Progress | None = None) -> Answer:
        """Raises UserError."""
        if isinstance(self._answering, ServingInBackground):
            return self._answering.transcribe(Request(path, options, track=track), progress=progress)
        return answer_of(self._answering, path, options, track, progress)

    def each(self, paths: Sequence[Path], options: Options, track: int | None, progress: Progress
             ) -> Iterator[Answer | UserError]:
        """The answers to short recordings that are decoded as one, or why there is none. Raises UserError."""
        if isinstance(self._answering, ServingInBackground):
            requests = [Request(path, options, track=track) for path in paths]
            yield from self._answering.transcribe_each(requests, progress)
            return
        opened = [functools.partial(AudioSource, path, track=track) for path in paths]
        for found in transcribe_as_one(self._answering, opened, options, progress=progress):
            yield found if isinstance(found, UserError) else Answer(
                found.transcript, self._answering.checkpoint, None, found.seconds)

    def for_live(self, options: Options) -> tuple[Transcriber, Callable[[str], Transcriber] | None]:
        """The transcriber to begin with, and which one goes on once the language is known."""
        if isinstance(self._answering, Transcriber):
            return self._answering, None
        serving = self._answering

        def choose(language: str) -> Transcriber:
            tuned = serving.fine_tuned
            if tuned is None or refusal(tuned, replace(options, language=language)) is not None:
                return serving.base
            return tuned

        return (serving.base if options.language is None else choose(options.language)), choose


def show_loading(fraction: float, text: str) -> None:
    """Downloading and converting, on one line of standard error."""
    print(f"\r{text} {fraction:.0%}".ljust(79), end="\n" if fraction >= 1 else "", file=sys.stderr, flush=True)
