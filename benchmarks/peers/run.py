"""This project beside its peers, on the same weights, the same audio and the same cores.

    python -m benchmarks.peers.run                                                 # all of it, an hour on two cores
    python -m benchmarks.peers.run --peers ours,faster-whisper --rounds 1 --limit 20   # a quick look
    python -m benchmarks.peers.run --sets short-it --checkpoint embedded:whisper-base-it

Every peer is a process of its own, loaded and warmed up before its clock starts and stopped while others run. Rounds
alternate: each peer once, then each again. Results go to one JSON file as they come; further calls add to it, and the
report takes the median of all rounds. Prints the tables; `report.py` makes them again from a file.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.peers.envs import NotInstalled, versions
from benchmarks.peers.report import DISTURBED, tables
from benchmarks.peers.sets import SEED, SETS, BenchSet, bench_set
from benchmarks.peers.store import Store, default_path
from benchmarks.peers.systems import EXTRAS, MODES, SYSTEMS, System
from benchmarks.peers.worker import PeerFailed, Worker
from shared.errors import UserError


def main() -> None:
    asked = _arguments()
    systems = [SYSTEMS[name] for name in asked.peers]
    sets = [bench_set(name, asked.limit) for name in asked.sets]
    store = Store(asked.out or default_path(asked.checkpoint), asked.checkpoint)
    command = shlex.join(["python", "-m", "benchmarks.peers.run", *map(_name, sys.argv[1:])])
    campaign = store.begin(command, asked.threads, SEED)
    if asked.again:
        store.forget(asked.peers, asked.sets, asked.modes)
    workers = _open(systems, asked, store)
    try:
        for one in sets:
            for turn in range(asked.rounds):
                for worker in workers:
                    _measure(worker, one, asked, store, {"campaign": campaign, "round": turn})
    finally:
        for worker in workers:
            worker.close()
    if store.runs:
        print(tables(store.content))
        print(f"Raw results: {store.path}")


def _arguments() -> argparse.Namespace:
    def names(known: Collection[str]) -> Callable[[str], list[str]]:
        def listed(text: str) -> list[str]:
            chosen = [name for name in text.split(",") if name]
            unknown = [name for name in chosen if name not in known]
            if unknown:
                raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
            return chosen
        return listed

    parser = argparse.ArgumentParser(prog="make bench", description="Speed, memory, word error beside other programs.")
    parser.add_argument("--peers", type=names(SYSTEMS), default=[s.name for s in SYSTEMS.values() if s.listed],
                        help=f"who runs, separated by commas: {', '.join(SYSTEMS)}")
    parser.add_argument("--extras", action="store_true", help="the second table: word times and speakers")
    parser.add_argument("--sets", type=names(SETS), default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--modes", type=names(("single", "batch", "long")), default=["single", "batch", "long"],
                        help="of short sets one by one and in batches (single, batch), of long ones long")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (3)")
    parser.add_argument("--tries", type=int, default=1, help="of a clip or run, while other processes take "
                        f"more than {100 * DISTURBED:.0f} %% of the CPU time (1)")
    parser.add_argument("--limit", type=int, help="only the first so many prompts of each set")
    parser.add_argument("--checkpoint", default="embedded:whisper-base", help="for all of them")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for each (all cores)")
    parser.add_argument("--again", action="store_true", help="forget what the file holds of these peers and sets")
    parser.add_argument("--out", type=Path, help="the JSON file to write or add to")
    asked = parser.parse_args()
    if asked.extras:
        asked.peers, asked.modes = list(EXTRAS), ["single", "long"]
    return asked


def _name(argument: str) -> str:
    """Paths by their last part: results are published."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _open(systems: list[System], asked: argparse.Namespace, store: Store) -> list[Worker]:
    workers = []
    for system in systems:
        print(f"Loading {system.name}", flush=True)
        try:
            worker = Worker(system, asked.checkpoint, asked.threads)
            if system.program not in store.content["environments"]:
                store.content["environments"][system.program] = versions(system.program)
        except (NotInstalled, PeerFailed, UserError, RuntimeError) as error:
            print(f"  {system.name} is missing: {error}", flush=True)
            store.content["missing"][system.name] = str(error)
            continue
        store.content["missing"].pop(system.name, None)
        store.content["systems"][system.name] = {"label": system.label, "form": system.form, "words": system.words,
                                                 "options": worker.options} | worker.loaded
        workers.append(worker)
    store.save()
    return workers


def _measure(worker: Worker, bench: BenchSet, asked: argparse.Namespace, store: Store, run: dict) -> None:
    for mode in MODES[bench.kind]:
        if mode not in worker.system.modes or mode not in asked.modes:
            continue
        began = time.time()
        try:
            answer = worker.run(bench, mode, asked.tries)
        except PeerFailed as error:
            print(f"  {worker.system.name} failed on {bench.name}: {error}", flush=True)
            store.content["missing"][worker.system.name] = f"{bench.name}, {mode}: {error}"
            return
        if "skipped" in answer:
            continue
        store.add(run | {"system": worker.system.name, "set": bench.name, "mode": mode, "limit": asked.limit,
                         "audio_seconds": bench.seconds, "began": round(began)} | answer)
        print(f"  {bench.name} {mode} {worker.system.name}: {bench.seconds / sum(answer['seconds']):.1f} x real time, "
              f"{answer['peak_mb']} MB, {100 * answer['others']:.0f} % of the CPU elsewhere", flush=True)


if __name__ == "__main__":
    main()
