"""A client that leaves ends its work, quietly: waiting for the whole, and reading a stream."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from paths import DATA
from speech import long_talk

from shared.api import LANE_OF_SHORT, MODEL, SHORT, lane_for
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


def test_one_short_recording_has_a_lane_of_its_own(tmp_path):
    assert LANE_OF_SHORT == SHORT
    long, unreadable, missing = tmp_path / "long.wav", tmp_path / "notes.mp3", tmp_path / "none.wav"
    long_talk(long, 31)
    unreadable.write_text("no sound")
    clip = DATA / "en_austen-0890.ogg"
    assert lane_for([clip]) == lane_for([str(DATA / "it_vm-nobodyavail.g722")]) == SHORT
    for others in ([], [clip, clip], [long], [unreadable], [missing], [tmp_path]):
        assert lane_for(others) == MODEL
    long_talk(long, 29)
    assert lane_for([long]) == SHORT
    with long.open("ab") as file:  # more than a header may promise
        file.write(np.zeros(21 << 20, np.uint8).tobytes())
    assert lane_for([long]) == MODEL


def test_what_is_short_does_not_wait_for_what_is_long():
    queue, begun, end = Queue(), [], threading.Event()

    def work(name: str) -> Callable[[threading.Event], None]:
        return lambda cancel: (begun.append(name), end.wait(20))[0]

    async def stays() -> bool:
        return False

    async def all_of_them() -> None:
        long = [asyncio.create_task(queue.run(work(name), stays)) for name in ("long", "also long")]
        await asyncio.sleep(0)
        short = [asyncio.create_task(queue.run(work("short"), stays, lane=SHORT)) for _ in range(3)]
        while len(begun) < 4:
            await asyncio.sleep(0.01)
        assert sorted(begun) == ["long", "short", "short", "short"]
        end.set()
        await asyncio.gather(*long, *short)

    asyncio.run(all_of_them())
    assert begun[-1] == "also long"
