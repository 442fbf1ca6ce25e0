"""How fast the feature pipeline is, and how its speed and memory grow with the corpus.

    python benchmarks/features.py czech [DEBS]         # the Czech dialogues: a quarter, a half, all of them
    python benchmarks/features.py synthetic [ROWS]     # tiny clips: a sixteenth, then all of ROWS (200000)

Each build runs in a process of its own. Memory is the proportional set size (PSS) of that process and all below it,
sampled every tenth of a second: what pages they share counts once. CPU seconds count the work itself, on a busy machine
too. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests" / "support")]

from feature_pipeline.build import build  # noqa: E402
from feature_pipeline.config import Clean, Config, Source, Split  # noqa: E402
from feature_pipeline.rows import AudioRef, Row  # noqa: E402
from feature_pipeline.sources.debian import Debian  # noqa: E402
from shared.whisper_constants import SAMPLE_RATE  # noqa: E402

SECONDS = 0.32  # of a synthetic clip: just above the limit


@dataclass(frozen=True)
class First:
    """The first rows of a corpus."""

    corpus: Debian
    n_rows: int

    def rows(self) -> Iterator[Row]:
        yield from (row for row, _ in zip(self.corpus.rows(), range(self.n_rows), strict=False))

    def provenance(self) -> dict[str, object]:
        return {}

    def stamp(self) -> str:
        return str(self.n_rows)


@dataclass(frozen=True)
class Synthetic:
    """Tiny WAV files cut from real speech, all different, with texts all different."""

    folder: str
    n_rows: int

    def write(self) -> None:
        from corpora import speech

        samples = (speech() * 32767).astype("<i2")
        length = int(SECONDS * SAMPLE_RATE)
        for n in range(self.n_rows):
            path = self._path(n)
            if n % 1000 == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            start = n * 3 % (len(samples) - length)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, SAMPLE_RATE, length, "NONE", ""))
                file.writeframes(samples[start : start + length].tobytes())

    def _path(self, n: int) -> Path:
        return Path(self.folder) / f"{n // 1000:04d}" / f"{n:07d}.wav"

    def rows(self) -> Iterator[Row]:
        for n in range(self.n_rows):
            yield Row(f"{n}", AudioRef.file(self._path(n)), f"No {n:x}.", "en", f"voice-{n % 997}")

    def provenance(self) -> dict[str, object]:
        return {}

    def stamp(self) -> str:
        return ""


def measured(config: Config) -> tuple[float, float, float, dict]:
    """Seconds, CPU seconds of all processes, peak PSS in MB, manifest."""
    process = multiprocessing.get_context("spawn").Process(target=_build, args=(config,))
    start, spent = time.monotonic(), _cpu_seconds()
    process.start()
    assert process.pid
    peak = 0
    while process.is_alive():
        peak = max(peak, sum(map(_pss, _family(process.pid))))
        process.join(0.1)
    if process.exitcode:
        raise SystemExit(f"the build ended with {process.exitcode}")
    facts = json.loads((Path(config.out) / "manifest.json").read_text())
    return time.monotonic() - start, _cpu_seconds() - spent, peak / 1e6, facts


def _cpu_seconds() -> float:
    """Of all children that ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _build(config: Config) -> None:
    build(config, say=lambda line: None)


def _family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("czech", "synthetic"))
    parser.add_argument("what", nargs="?", help="the folder of Debian packages, or the number of rows")
    given = parser.parse_args()
    kind = given.kind
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, {load:.1f} processes were running already\n")
    print("| rows | seconds | rows a second | rows a CPU second | peak memory, MB | data set / source audio | "
          "spectrograms / data set |")
    print("| --: | --: | --: | --: | --: | --: | --: |")
    with tempfile.TemporaryDirectory(prefix="bench-features-") as folder:
        if kind == "czech":
            every = Debian("fillets", "cs", given.what)
            sizes = [443, 886, sum(1 for _ in every.rows())]
            corpora: list[First] | list[Synthetic] = [First(every, size) for size in sizes]
        else:
            n_rows = int(given.what or 200_000)
            Synthetic(f"{folder}/clips", n_rows).write()
            sizes = [n_rows // 16, n_rows]
            corpora = [Synthetic(f"{folder}/clips", size) for size in sizes]
        for size, corpus in zip(sizes, corpora, strict=True):
            # A third of a second of speech may well be silence, and its text is any.
            rules = Clean() if kind == "czech" else Clean(silent_below_dbfs=-120, max_letters_per_second=99)
            config = Config("bench", (Source(kind, corpus, "s"),), out=f"{folder}/out-{size}", clean=rules,
                            split=Split(by=("sentence",)))
            seconds, cpu, peak, facts = measured(config)
            sizes_of = facts["sizes"]
            print(f"| {size:,} | {seconds:.1f} | {size / seconds:.0f} | {size / cpu:.0f} | {peak:.0f} | "
                  f"{sizes_of['ratio_to_source']} | {sizes_of['spectrograms_per_data_set']} |", flush=True)


if __name__ == "__main__":
    main()
