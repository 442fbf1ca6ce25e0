"""Work on several things at once, with the results in the order of the things.

Enters: things and what is to be done with each. Leaves: each thing with its result, as soon as those before it have
theirs. Never more is at work, or done and not asked for, than `n_at_once`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(items: Iterable[T], work: Callable[[T, threading.Event], R], n_at_once: int
             ) -> Generator[tuple[T, Future[R]], None, None]:
    """Each item with its result, in order; a result that is not there yet is waited for by `Future.result`.

    Where the caller stops asking, what has not begun is dropped and what has begun is told to end.

    Args:
        items: taken as they are needed.
        work: called in a thread of its own with an item and the event that tells it to end.
        n_at_once: the most items at work.

    Yields:
        (item, its result or what was raised).
    """
    stop, waiting = threading.Event(), deque[tuple[T, Future[R]]]()
    pool = ThreadPoolExecutor(n_at_once, thread_name_prefix="ahead")
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item, stop)))
            if len(waiting) == n_at_once:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
