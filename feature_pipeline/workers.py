"""A stage run over many files by many processes, in bounded memory; the processes never outlive the build.

Knows nothing of what a stage does.
`on_ray.py` offers the same function over several machines.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from feature_pipeline.stages import Job, Stage
from shared.errors import UserError


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
                with _interrupts_held():
                    running |= {pool.submit(stage, *job)
                                for job in itertools.islice(jobs, 2 * n_workers - len(running))}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool:
            raise UserError("A worker process was ended from outside, most likely for want of memory",
                            hint="set `workers` lower and run the same command again: it goes on") from None
        finally:
            for future in running:
                future.cancel()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl+C, which a terminal sends to all: the parent alone acts on it, after.

    They inherit the mask. The handler is put aside too, since another thread may take the signal, and Python would
    then raise here, between starting a process and telling it what it is for.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    """Python's workers outlive a killed parent, waiting for ever: this thread ends them with it."""
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
