"""The model's own work, on ZeroGPU inside `spaces.GPU`: in a process that holds a GPU for as long as it was asked for.

Reading, decoding and finding speech stay outside. What crosses the border is pickled: windows and options in, text
out; the models themselves are in memory before the process is forked (`loaded.LOADED`). There `spaces` decorates the
functions when this module is imported, before CUDA is used. Elsewhere it would do nothing, and is not imported: a tenth
of a cold start of the command line.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from shared.audio.windows import Window
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.serving.choice import chooser
from shared.serving.loaded import LOADED, Key, key_of
from shared.transcript import Transcript

ON_ZERO_GPU = bool(os.environ.get("SPACES_ZERO_GPU"))
# What a ZeroGPU call asks for before it runs, set against the visitor's daily quota: a start-up allowance and the audio
# at a tenth of real time, for a large checkpoint; base and small are many times faster.
GPU_START_SECONDS, GPU_RTFX, GPU_MOST_SECONDS = 10, 10, 120


F = TypeVar("F", bound=Callable[..., Any])


def _on_gpu(duration: Callable[..., int]) -> Callable[[F], F]:
    """`spaces.GPU` on ZeroGPU, nothing elsewhere."""
    if not ON_ZERO_GPU:
        return lambda function: function
    import spaces

    return spaces.GPU(duration=duration)  # type: ignore[attr-defined]  # set at run time


def recognise(chosen: Transcriber, parts: Iterable[Window], options: Options,
              total: Callable[[int, float], int | None], cancel: threading.Event | None,
              tuned: Transcriber | None = None, opens: Callable[[Transcriber], bool] | None = None
              ) -> Iterator[tuple[int, int | None, Transcript]]:
    """`Transcriber.recognise`, on ZeroGPU in the process that holds the GPU. tuned: decodes its languages. opens: as
    `chooser` takes it."""
    if not ON_ZERO_GPU:
        choose = None if tuned is None else chooser(chosen, tuned, opens)
        yield from chosen.recognise(parts, options, total, cancel, choose)
        return
    other = None if tuned is None else key_of(tuned)
    parts = list(parts)  # crosses the process border whole; the app's length limit bounds it
    with _refusals_told():
        for done, of, new in _recognise_on_gpu(key_of(chosen), parts, options, other):
            if cancel is not None and cancel.is_set():
                return
            yield done, of or len(parts), new


def detect(chosen: Transcriber, parts: list[Window], cancel: threading.Event | None) -> str:
    """`Transcriber.detect_language`, on ZeroGPU in the process that holds the GPU."""
    if ON_ZERO_GPU:
        with _refusals_told():
            return _detect_on_gpu(key_of(chosen), parts)
    return chosen.detect_language(parts, cancel)


@contextmanager
def _refusals_told() -> Iterator[None]:
    """What `spaces` raises where there is no GPU or no quota left is for a page of Gradio's; here it is for programs
    as well."""
    from gradio import Error  # which `spaces` has imported by now

    try:
        yield
    except Error as error:
        raise UserError(getattr(error, "title", None) or "There is no GPU for this now", got=str(error),
                        hint="try again later, or sign in to the Hub for more of its GPU time") from error


def _gpu_seconds(key: Key, parts: list[Window], options: Options | None = None,
                 tuned: Key | None = None) -> int:
    """What a ZeroGPU call may take: computed from the audio, because it is set against the visitor's quota."""
    audio = sum(window.duration for window in parts)
    return min(GPU_MOST_SECONDS, GPU_START_SECONDS + math.ceil(audio / GPU_RTFX))


@_on_gpu(_gpu_seconds)
def _recognise_on_gpu(key: Key, parts: list[Window], options: Options,
                      tuned: Key | None = None) -> Iterator[tuple[int, int | None, Transcript]]:
    base = LOADED[key]
    choose = None if tuned is None else chooser(base, LOADED[tuned])
    yield from base.recognise(parts, options, lambda done, reached: None, None, choose)


@_on_gpu(_gpu_seconds)
def _detect_on_gpu(key: Key, parts: list[Window]) -> str:
    return LOADED[key].detect_language(parts)
