"""Do others count the same? NIST's sclite over every run that is kept, beside our own count.

    python -m benchmarks.peers.sclite benchmarks/results/….json --sclite /usr/lib/sctk/bin/sclite

Enters: what `store` keeps, and the program of Debian's package sctk. Leaves: one line a run: words and errors, by both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from benchmarks.peers.sets import bench_set
from shared.wer import pooled, word_errors, write_trn


def counted(sclite: str | Path, texts: list[tuple[str, str, str]]) -> tuple[int, int, int]:
    """Utterances, reference words and errors, as sclite counts them."""
    with tempfile.TemporaryDirectory() as folder:
        write_trn(Path(folder), texts)
        done = subprocess.run(
            [sclite, "-r", "reference.trn", "trn", "-h", "hypothesis.trn", "trn", "-i", "spu_id", "-e", "utf-8", "-s",
             "-o", "rsum", "stdout"], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    line = next(line for line in done.stdout.splitlines() if "| Sum " in line)
    n_clips, n_words, _, *kinds, errors, _ = (int(value) for value in line.replace("|", " ").split()[1:])
    assert sum(kinds) == errors  # substitutions, deletions, insertions
    return n_clips, n_words, errors


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the kept runs with sclite.")
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("--sclite", default="/usr/lib/sctk/bin/sclite")
    given = parser.parse_args()
    if shutil.which(given.sclite) is None:
        parser.error(f"there is no program {given.sclite}: install Debian's package sctk, or say --sclite PATH")
    apart, read = 0, cache(bench_set)  # each reading decodes every clip
    for file in given.file:
        for run in json.loads(file.read_text(encoding="utf-8"))["runs"]:
            bench = read(run["set"], run["limit"])
            if len(run["texts"]) != len(bench.clips):  # a run over a part, for the curve of time over length
                continue
            texts = [(clip.reference, text, bench.language) for clip, text in
                     zip(bench.clips, run["texts"], strict=True)]
            ours = pooled(word_errors(*one) for one in texts)
            _, words, errors = counted(given.sclite, texts)
            apart += (words, errors) != (ours.reference_length, ours.errors)
            print(f"{run['set']:9s} {run['system']:30s} {ours.reference_length:5d} words, {ours.errors:4d} errors; "
                  f"sclite {words:5d}, {errors:4d}")
    print(f"{apart} runs counted differently")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
