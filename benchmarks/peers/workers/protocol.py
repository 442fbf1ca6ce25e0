"""What every peer's process speaks: JSON lines in, JSON lines out.

Enters: {"do": "load", model, options}, then any number of {"do": "run", clips, language, mode, words}. Leaves: one
answer a line. Runs in the peer's own environment, so it imports nothing but the standard library and numpy, and
nothing of this project. A run gets samples that were read before the clock starts: what is measured is
recognition, from the program's own door that a user would take, not reading files.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import sys
import time
import wave
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

SAMPLE_RATE = 16_000
DISTURBED = 0.05  # a share of CPU time used elsewhere from which work is timed again
WARM_UP_CLIPS = 3
WARM_UP_SECONDS = 40  # of a long recording: more than one window


class Program:
    """One peer. `many` stays as it is where a program has no way to take several clips at once."""

    packages: tuple[str, ...] = ()  # whose versions the results record
    many: Callable[[list[Any], str], list[str]] | None = None

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        """Load the weights."""

    def prepared(self, samples: np.ndarray) -> Any:
        """The samples as this program's door wants them; not timed."""
        return samples

    def one(self, audio: Any, language: str, words: bool) -> Iterator[str]:
        """The text of one recording, in the pieces in which a caller gets to see it."""
        raise NotImplementedError

    def tell(self, *_: Any) -> None:
        """For callbacks: the caller could show text now."""
        self.first_texts.append(time.perf_counter())

    @functools.cached_property
    def first_texts(self) -> list[float]:
        return []

    def facts(self) -> dict[str, Any]:
        """What else the results should say of it."""
        return {}


def serve(program: type[Program]) -> None:
    """Answer until stdin closes. What a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    loaded = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "load":
            start = time.perf_counter()
            loaded = program(asked["model"], asked["options"])
            answer = {"seconds": time.perf_counter() - start, "facts": loaded.facts(), "versions": {
                name: importlib.metadata.version(name) for name in program.packages}}
        else:
            assert loaded is not None, "asked to run before it was asked to load"
            answer = _run(loaded, asked)
        print(json.dumps(answer, ensure_ascii=False), file=answers, flush=True)


def _run(program: Program, asked: dict[str, Any]) -> dict[str, Any]:
    clips = [read_wav(path) for path in asked["clips"]]
    if asked["mode"] == "batch" and program.many is None:
        return {"skipped": "takes one recording at a time"}
    tries: int = asked["tries"]
    if asked["mode"] == "long":
        _warm_up(program, [clips[0][: WARM_UP_SECONDS * SAMPLE_RATE]], asked)
    else:
        _warm_up(program, clips[:WARM_UP_CLIPS], asked)
    clips = [program.prepared(samples) for samples in clips]
    if asked["mode"] == "batch":
        (texts, took), used = _quietest(lambda: _all_at_once(program, clips, asked["language"]), tries)
        return {"texts": texts, "seconds": [took], "first": [], **_totals([used]), "facts": program.facts()}
    measured = [_quietest(functools.partial(_timed, program, clip, asked), tries) for clip in clips]
    return {"texts": [text for (text, _, _), _ in measured], "seconds": [took for (_, _, took), _ in measured],
            "first": [after for (_, after, _), _ in measured], **_totals([used for _, used in measured]),
            "facts": program.facts()}


class Used(NamedTuple):
    """CPU seconds over a stretch of work: this process's, and everybody's."""

    own: float
    all: float


def _quietest(work: Callable[[], Any], tries: int) -> tuple[Any, Used]:
    """Do it until little else ran beside it, at most so often; what the least disturbed try gave."""
    found = []
    for _ in range(max(1, tries)):
        before, start = time.process_time(), _busy()
        done = work()
        found.append((done, Used(time.process_time() - before, _busy() - start)))
        if _elsewhere(found[-1][1]) <= DISTURBED:
            break
    return min(found, key=lambda one: _elsewhere(one[1]))


def _totals(used: list[Used]) -> dict[str, float]:
    total = Used(sum(u.own for u in used), sum(u.all for u in used))
    return {"cpu_seconds": round(total.own, 3), "others": round(_elsewhere(total), 3)}


def _elsewhere(used: Used) -> float:
    return max(0.0, 1 - used.own / max(used.all, 1e-9))


def _busy() -> float:
    """CPU seconds that all processes have used, from /proc/stat in its steps of 10 ms."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _all_at_once(program: Program, clips: list[Any], language: str) -> tuple[list[str], float]:
    assert program.many is not None
    start = time.perf_counter()
    texts = program.many(clips, language)
    return texts, time.perf_counter() - start


def _timed(program: Program, clip: Any, asked: dict[str, Any]) -> tuple[str, float, float]:
    """The text, seconds until the first of it was there, seconds until all of it was."""
    program.first_texts.clear()
    start = time.perf_counter()
    pieces = []
    for piece in program.one(clip, asked["language"], asked.get("words", False)):
        program.tell()
        pieces.append(piece)
    took = time.perf_counter() - start
    return " ".join(piece.strip() for piece in pieces), min(program.first_texts, default=start + took) - start, took


def _warm_up(program: Program, clips: list[np.ndarray], asked: dict[str, Any]) -> None:
    audio = [program.prepared(samples) for samples in clips]
    if asked["mode"] == "batch":
        _all_at_once(program, audio, asked["language"])
    else:
        for clip in audio:
            list(program.one(clip, asked["language"], asked.get("words", False)))


def read_wav(path: str) -> np.ndarray:
    """16-bit mono at 16 kHz → float32 (n_samples,) in [-1, 1]."""
    with wave.open(path) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, SAMPLE_RATE):
            raise ValueError(f"{path} is not 16-bit mono at 16 kHz")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
