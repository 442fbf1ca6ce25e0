"""Several things worked on at once, with their results in order."""

from __future__ import annotations

import threading

import pytest

from shared.system.ahead import in_order

SOON = 30.0  # seconds: a thread that does not come by then hangs


def test_results_are_in_order_though_a_later_one_is_ready_first():
    later_is_done = threading.Event()

    def work(item: int, stop: threading.Event) -> int:
        if item == 0:
            assert later_is_done.wait(SOON)
        if item == 1:
            later_is_done.set()
        return item * item

    assert [(item, result.result()) for item, result in in_order(range(5), work, 4)] == [(n, n * n) for n in range(5)]


def test_no_more_is_taken_than_may_be_at_work():
    taken = []

    def items():
        for n in range(10):
            taken.append(n)
            yield n

    found = in_order(items(), lambda item, stop: item, 3)
    next(found)
    assert taken == [0, 1, 2]
    next(found)
    assert taken == [0, 1, 2, 3]
    found.close()


def test_a_failure_belongs_to_its_item():
    def fail_at_one(item: int, stop: threading.Event) -> int:
        if item == 1:
            raise ValueError("this one")
        return item

    results = dict(in_order(range(3), fail_at_one, 2))
    assert [results[0].result(), results[2].result()] == [0, 2]
    with pytest.raises(ValueError, match="this one"):
        results[1].result()


def test_who_stops_asking_ends_what_has_begun_and_drops_the_rest():
    begun: list[int] = []

    def until_stopped(item: int, stop: threading.Event) -> int:
        begun.append(item)
        if item > 0:
            assert stop.wait(SOON)
        return item

    found = in_order(range(100), until_stopped, 2)
    assert next(found)[1].result() == 0
    found.close()  # returns, so nothing waits for ever
    assert len(begun) <= 3
