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

    assert [(item, result.result()) for item, result in in_order(range(5), work)] == [(n, n * n) for n in range(5)]


def test_no_more_is_taken_than_may_be_at_work():
    taken = []

    def items():
        for n in range(10):
            taken.append(n)
            yield n

    found = in_order(items(), lambda item, stop: item, n_at_once=3)
    next(found)
    assert taken == [0, 1, 2]
    next(found)
    assert taken == [0, 1, 2, 3]
    found.close()


def test_what_may_not_share_waits_for_those_before_it_and_is_done_in_the_callers_thread():
    done: list[object] = []

    def work(item: str, stop: threading.Event) -> str:
        assert threading.current_thread() is not threading.main_thread()
        done.append(item)
        return item

    def alone(item: str) -> str:
        assert threading.current_thread() is threading.main_thread() and sorted(done) == ["a", "b"]
        done.append(item)
        return item

    found = in_order(["a", "b", "LONG", "c"], work, alone=alone, may_share=str.islower)
    assert [result.result() for _, result in found] == ["a", "b", "LONG", "c"]
    assert done[2:] == ["LONG", "c"]


@pytest.mark.parametrize("shares", [True, False])
def test_a_failure_belongs_to_its_item(shares):
    def fail_at_one(item: int, stop: threading.Event | None = None) -> int:
        if item == 1:
            raise ValueError("this one")
        return item

    results = {item: result for item, result in
               in_order(range(3), fail_at_one, alone=fail_at_one, may_share=lambda item: shares)}
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

    found = in_order(range(100), until_stopped, n_at_once=2)
    assert next(found)[1].result() == 0
    found.close()  # returns, so nothing waits for ever
    assert len(begun) <= 3
