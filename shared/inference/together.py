"""Batches of several requests that wait for one decoder at the same time are decoded as one.

A decoder step reads all weights whatever the number of clips, so the short clips of several visitors cost little more
together than one alone. Nobody waits for company: who comes while nothing is decoded begins at once, and what has come
by its end goes next, the oldest first, with whatever of the rest is like it and has room.

Enters: batches from several threads. Leaves: to each thread what was found in its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace

from shared.errors import Cancelled
from shared.inference.batches import Found, Job
from shared.options import Options

POLL_SECONDS = 0.1  # in which one who waits looks whether they were stopped
MOST_LONGER = 2  # times: a clip beside a much longer one would be ready much later than alone


class Together:
    """One decoder, for batches from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Asked] = []
        self._is_busy = False

    def decode(self, batch: Sequence[Job], options: Options, cancel: threading.Event | None) -> list[Found]:
        """As `WindowDecoder.decode_batch`. Raises what that raises, and Cancelled."""
        asked = _Asked(batch, options, cancel)
        with self._changed:
            self._waiting.append(asked)
        while (group := self._turn(asked)) is not None:
            try:
                self._decode(group)
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()
        return asked.outcome()

    def _turn(self, asked: _Asked) -> list[_Asked] | None:
        """What to decode now, for this one or for those who came before; None once its own is decoded."""
        with self._changed:
            while self._is_busy and not asked.is_over:
                self._changed.wait(POLL_SECONDS)
                if asked in self._waiting and asked.is_cancelled:
                    self._waiting.remove(asked)
                    raise Cancelled
            if asked.is_over:
                return None
            self._is_busy = True
            first = self._waiting[0]
            group = [first]
            for other in self._waiting[1:]:
                if self._may_join(group, other):
                    group.append(other)
            self._waiting = [one for one in self._waiting if one not in group]
            return group

    def _may_join(self, group: Sequence[_Asked], other: _Asked) -> bool:
        engine = other.batch[0].decoder.engine
        if not engine.ragged or other.kind != group[0].kind:  # else the text would depend on who else is there
            return False
        n_rows = sum(len(one.batch) for one in (*group, other))
        most = max(one.n_positions for one in (*group, other))
        return (n_rows <= engine.batch_size and n_rows * most <= engine.max_positions
                and most <= MOST_LONGER * min(one.n_positions for one in (*group, other)))

    def _decode(self, group: Sequence[_Asked]) -> None:
        if len(group) > 1:
            try:
                batch = [job for one in group for job in one.batch]
                found = _decoded(batch, group[0].options, _All([one.cancel for one in group]))
            except Cancelled:
                pass  # by all of them: each ends at once below
            except Exception:  # it may be the fault of one of them, so each is decoded by itself
                logging.getLogger(__name__).warning("%d batches failed as one", len(group), exc_info=True)
            else:
                for one in group:
                    one.found, found = found[: len(one.batch)], found[len(one.batch) :]
                return
        for one in group:
            try:
                one.found = _decoded(one.batch, one.options, one.cancel)
            except BaseException as problem:
                one.problem = problem


def _decoded(batch: Sequence[Job], options: Options, cancel: threading.Event | None) -> list[Found]:
    return batch[0].decoder.decode_batch(batch, options, cancel)


class _Asked:
    """A batch that somebody waits for."""

    def __init__(self, batch: Sequence[Job], options: Options, cancel: threading.Event | None) -> None:
        self.batch, self.options, self.cancel = batch, options, cancel
        # What decides how it is decoded; how its speech was found, and who spoke it, does not.
        self.kind = batch[0].language, replace(options, language=None, vad_onset=0.5, speakers=False, n_speakers=None)
        self.n_positions = max(job.n_positions for job in batch)
        self.found: list[Found] | None = None
        self.problem: BaseException | None = None

    @property
    def is_over(self) -> bool:
        return self.found is not None or self.problem is not None

    @property
    def is_cancelled(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()

    def outcome(self) -> list[Found]:
        if self.problem is not None:
            raise self.problem
        assert self.found is not None
        return self.found


class _All(threading.Event):
    """Set when every one of several events is; never where somebody has none."""

    def __init__(self, events: Sequence[threading.Event | None]) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return all(one is not None and one.is_set() for one in self._events)
