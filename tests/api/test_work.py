"""A client that leaves ends its work, quietly: waiting for the whole, and reading a stream."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shared.api.work import Queue
from shared.errors import Cancelled


def ends(problem: Exception, ended: threading.Event) -> Callable[..., None]:
    def work(cancel: threading.Event, put: Callable[[Any], None] = lambda event: None) -> None:
        put("first")
        assert cancel.wait(20)
        ended.set()
        raise problem

    return work


async def leave(problem: Exception, streams: bool) -> threading.Event:
    waiting, ended = Queue(2), threading.Event()

    async def stays() -> bool:
        return False

    if streams:
        events = waiting.stream(ends(problem, ended), stays)
        assert await anext(events) == "first"
        await events.aclose()
    else:
        task = asyncio.ensure_future(waiting.run(ends(problem, ended), stays))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(ended.wait, 10)
    await asyncio.sleep(0.2)
    return ended


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_ends_its_work_without_a_trace(caplog, streams):
    """asyncio printed a traceback for each of them."""
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(leave(Cancelled(), streams)).is_set()
    assert caplog.records == []


def test_a_fault_of_work_that_nobody_waits_for_is_reported(caplog):
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(leave(ZeroDivisionError("a fault"), False)).is_set()
    assert "a fault" in caplog.text
