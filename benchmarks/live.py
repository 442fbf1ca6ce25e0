"""How long after a word was spoken its text stands for good, and what live text costs.

    python benchmarks/live.py embedded:whisper-base data/asterisk-it       # plays 220 s at the pace of life
    python benchmarks/live.py embedded:whisper-base data/asterisk-it --minutes 30 --simulated

Prompts of a data set's test split, in order, are joined with pauses of 0.3 to 2 s of faint noise and played in blocks
of 0.1 s. The latency of a word is the wall clock at which it was committed, less that at which its end was played; its
end comes from the offline transcript of the same sound, where the two texts have the word in common. WER is against
what was spoken. `--simulated` plays the same on a clock on which work takes its CPU seconds (of all threads together)
and nothing else happens: what an idle core would give, measured on a busy machine.
"""

from __future__ import annotations

import argparse
import difflib
import json
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1])]

from shared.audio import SAMPLE_RATE, Waveform, load_audio  # noqa: E402
from shared.checkpoint import Checkpoint  # noqa: E402
from shared.inference import Options, Transcriber  # noqa: E402
from shared.live import LiveTranscriber, Update  # noqa: E402
from shared.live.local_agreement import key  # noqa: E402
from shared.transcript import Transcript, Word  # noqa: E402
from shared.wer import word_errors  # noqa: E402
from training.config import Data  # noqa: E402
from training.data import open_split  # noqa: E402

BLOCK = SAMPLE_RATE // 10
PAUSES = (0.3, 2.0)  # seconds


@dataclass(frozen=True)
class Played:
    """commits: each word with the wall clock of its commit, in seconds from the first sample. cost: seconds of CPU
    for each minute of sound."""

    transcript: Transcript
    commits: list[tuple[Word, float]]
    cost: list[float]


def prompts(folder: Path, seconds: float) -> tuple[np.ndarray, str, str, int]:
    """Samples, what is spoken in them, the language and the number of prompts; the split over again if it is short."""
    rows = open_split(Data(path=str(folder)), "test")
    chance, parts, texts, n_samples, n = np.random.default_rng(7), [], [], 0, 0
    while n_samples < seconds * SAMPLE_RATE:
        row = rows[n % len(rows)]
        samples = load_audio(row["audio"]["bytes"]).samples
        pause = chance.normal(0, 2e-4, int(chance.uniform(*PAUSES) * SAMPLE_RATE)).astype(np.float32)
        parts += [samples, pause]
        texts.append(row["text"])
        n_samples += len(samples) + len(pause)
        n += 1
    return np.concatenate(parts), " ".join(texts), rows[0]["language"], n


def play(live: LiveTranscriber, samples: np.ndarray, *, simulated: bool) -> Played:
    """Feed the samples at the pace of life, or on a clock of CPU seconds."""
    begun, now, n_heard = time.monotonic(), 0.0, 0
    ended = threading.Event()
    commits: list[tuple[Word, float]] = []
    cost = [0.0] * (len(samples) // (60 * SAMPLE_RATE) + 1)

    def feed() -> None:
        for i in range(0, len(samples), BLOCK):
            due = begun + (i + BLOCK) / SAMPLE_RATE  # a block is there when its last sample was spoken
            time.sleep(max(0.0, due - time.monotonic()))
            live.insert(samples[i : i + BLOCK])
        ended.set()

    def look(work: Callable[[], Update]) -> bool:
        nonlocal now
        spent = time.process_time()
        update = work()
        spent = time.process_time() - spent
        cost[min(int(now / 60), len(cost) - 1)] += spent
        now = now + spent if simulated else time.monotonic() - begun
        if simulated:
            live._decoder.cost = spent  # which it measured on the wall's clock
        commits.extend((word, now) for word in update.words)
        return update.more

    if simulated:
        while n_heard < len(samples):
            now = max(now, (n_heard + BLOCK) / SAMPLE_RATE)  # nothing to do: wait for the next block
            n_due = max(n_heard + BLOCK, int(now * SAMPLE_RATE) // BLOCK * BLOCK)
            live.insert(samples[n_heard:n_due])
            n_heard = n_due
            while look(live.process):
                pass
    else:
        threading.Thread(target=feed, daemon=True).start()
        while not ended.is_set():
            if not look(live.process):
                time.sleep(0.02)
    look(live.finish)
    return Played(live.process().transcript, commits, cost)


def latencies(offline: Transcript, commits: list[tuple[Word, float]]) -> np.ndarray:
    """Seconds from each word's end to its commit, for the words that both texts have."""
    ends = [word.end for word in offline.words]
    matcher = difflib.SequenceMatcher(None, [key(word) for word in offline.words], [key(word) for word, _ in commits],
                                      autojunk=False)
    return np.array([commits[b + k][1] - ends[a + k] for a, b, n in matcher.get_matching_blocks() for k in range(n)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=220 / 60)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--pause", type=float, default=0.5)
    parser.add_argument("--soft", type=float, default=None)
    parser.add_argument("--save", type=Path, help="folder for the figures as JSON")
    asked = parser.parse_args()
    transcriber = Transcriber(Checkpoint.parse(asked.checkpoint), engine=asked.engine)
    samples, reference, language, n_prompts = prompts(asked.data, asked.minutes * 60)
    offline = transcriber.transcribe(Waveform(samples), language=language, words=True)
    limits = {"soft_seconds": asked.soft} if asked.soft else {}
    live = LiveTranscriber(transcriber, Options(language=language), pause=asked.pause, **limits)
    played = play(live, samples, simulated=asked.simulated)
    text = " ".join(played.transcript.text.split())
    figures = {
        "checkpoint": str(transcriber.checkpoint), "engine": transcriber.engine.name, "data": asked.data.name,
        "compute_type": transcriber.engine.compute_type, "prompts": n_prompts, "words": len(reference.split()),
        "minutes": round(len(samples) / SAMPLE_RATE / 60, 2),
        "wer_live": round(100 * word_errors(reference, text, language).wer, 2),
        "wer_offline": round(100 * word_errors(reference, offline.text, language).wer, 2),
        "wer_live_to_offline": round(100 * word_errors(offline.text, text, language).wer, 2),
        "cpu_seconds_per_second_by_minute": [round(c / 60, 2) for c in played.cost],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
    }
    seconds = latencies(offline, played.commits)
    figures |= {"clock": "CPU seconds" if asked.simulated else "wall", "latency_words": len(seconds)}
    figures |= {f"latency_p{q}": round(float(np.percentile(seconds, q)), 2) for q in (50, 90, 95, 99)}
    print(json.dumps(figures, indent=1))
    if asked.save:
        asked.save.mkdir(parents=True, exist_ok=True)
        (asked.save / f"live-{asked.checkpoint.replace(':', '-').replace('/', '-')}.json").write_text(
            json.dumps(figures | {"text": text, "reference": reference, "offline": offline.text}, indent=1,
                       ensure_ascii=False))


if __name__ == "__main__":
    main()
