"""A stage run over many files by many processes, in bounded memory; the processes never outlive the build.

A stage takes (source file, target file) and returns how many rows it made. Knows nothing of what a stage does.
`on_ray.py` offers the same function over several machines.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

Stage = Callable[[Path, Path], int]
Job = tuple[Path, Path]


def run(stage: Stage, jobs: Iterable[Job], n_workers: int) -> Iterator[int]:
    """Rows made by each finished job, in no order. What a stage raises is raised here, once the others are done."""
    if n_workers == 1:
        yield from (stage(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy the threads' locks of Arrow and of torch
    with ProcessPoolExecutor(n_workers, context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        jobs = iter(jobs)
        running: set[Future[int]] = set()
        try:
            while True:
                running |= {pool.submit(stage, *job) for job in itertools.islice(jobs, 2 * n_workers - len(running))}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()


def _end_with(parent: int) -> None:
    """Python's workers outlive a killed parent, waiting for ever: this thread ends them with it."""
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
