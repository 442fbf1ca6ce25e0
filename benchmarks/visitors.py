"""Visitors at once: short clips one by one, and all at the same time, as the apps answer them.

    python -m benchmarks.visitors [CHECKPOINT] [--visitors 1 2 4 8 16 32] [--clips 32] [--rounds 3]

Each visitor is a thread that calls `Serving.transcribe` and then sends the next clip, until all clips are answered; the
clips are those of tests/data in turn. One by one and at once alternate. Prints a Markdown table: answers a second, how
long half and 95 % of the visitors waited, the ratio to one by one (medians of the rounds), and texts that differ.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from benchmarks.profile import clips_of_tests
from shared.errors import UserError
from shared.options import Options
from shared.serving import Request, Serving


@dataclass
class Run:
    """seconds: of the whole. waits: of each answer. texts: by place of the clip."""

    seconds: float
    waits: list[float]
    texts: list[str]


def run(serving: Serving, requests: list[Request], n_visitors: int) -> Run:
    waits, texts, lock = [0.0] * len(requests), [""] * len(requests), threading.Lock()
    left = iter(range(len(requests)))

    def visitor() -> None:
        while True:
            with lock:
                place = next(left, None)
            if place is None:
                return
            begun = time.monotonic()
            texts[place] = serving.transcribe(requests[place]).transcript.text
            waits[place] = time.monotonic() - begun

    begun = time.monotonic()
    with ThreadPoolExecutor(n_visitors) as threads:
        for future in [threads.submit(visitor) for _ in range(n_visitors)]:
            future.result()
    return Run(time.monotonic() - begun, waits, texts)


def rows(serving: Serving, requests: list[Request], n_visitors: list[int], n_rounds: int) -> list[str]:
    run(serving, requests[:4], 1)  # warm
    alone: list[Run] = []
    found: dict[int, list[Run]] = {n: [] for n in n_visitors}
    for _ in range(n_rounds):
        alone.append(run(serving, requests, 1))
        for n in n_visitors:
            found[n].append(run(serving, requests, n))
    one_by_one = statistics.median(len(requests) / one.seconds for one in alone)
    lines = ["| visitors | clips a second | half waited, s | 95 % waited, s | × one by one | other texts |",
             "| --- | --- | --- | --- | --- | --- |"]
    for n, runs in found.items():
        rate = statistics.median(len(requests) / one.seconds for one in runs)
        half = statistics.median(statistics.median(one.waits) for one in runs)
        most = statistics.median(statistics.quantiles(one.waits, n=20, method="inclusive")[-1] for one in runs)
        other = sum(a != b for one in runs for a, b in zip(one.texts, alone[0].texts, strict=True))
        lines.append(f"| {n} | {rate:.2f} | {half:.2f} | {most:.2f} | {rate / one_by_one:.2f} | {other} |")
    return [f"One by one: {one_by_one:.2f} clips a second.", "", *lines]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="embedded:whisper-base-it")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--compute-type", default="auto")
    asked = parser.parse_args()
    try:
        serving = Serving("embedded:whisper-base", asked.checkpoint, engine=asked.engine,
                          compute_type=asked.compute_type)
        languages = serving.fine_tuned.languages if serving.fine_tuned is not None else None
        clips = [clip for clip in clips_of_tests() if languages is None or clip[1] in languages]
        repeated = (clip for _ in range(asked.clips) for clip in clips)
        requests = [Request(path, Options(language=language)) for path, language in islice(repeated, asked.clips)]
        print("\n".join(rows(serving, requests, asked.visitors, asked.rounds)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
