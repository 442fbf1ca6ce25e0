"""The checkpoints that this process has loaded, each once: the configured pair, and a few that visitors named."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection

from shared.checkpoint import Checkpoint
from shared.inference import Transcriber

MAX_EXTRA = 2  # checkpoints kept beside the configured pair, least recently used out first


def key_of(transcriber: Transcriber) -> tuple[str, str]:
    """Under which a transcriber is found, in this process and in the one that holds a GPU: (checkpoint, engine)."""
    return str(transcriber.checkpoint), transcriber.plan.name


class LoadedCheckpoints:
    """The transcribers of this process by (checkpoint, engine), the least recently used first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Transcriber] = OrderedDict()
        self._lock = threading.Lock()  # held for moments only
        self._building: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    def __getitem__(self, key: tuple[str, str]) -> Transcriber:
        return self._known[key]

    def each(self) -> list[Transcriber]:
        """Every one of them, once."""
        with self._lock:
            return list({id(one): one for one in self._known.values()}.values())

    def get(self, checkpoint: Checkpoint, engine: str, build: Callable[[Checkpoint, str], Transcriber], *,
            keep: Collection[Transcriber] = ()) -> Transcriber:
        """The one that is there, else what `build` makes; afterwards at most MAX_EXTRA are kept beside `keep`.

        A build may take minutes; who wants another checkpoint does not wait for it. Raises what `build` raises.
        """
        key = str(checkpoint), engine
        with self._lock:
            found = self._used(key)
            building = self._building[key]
        if found is not None:
            return found
        with building:
            with self._lock:
                found = self._used(key)
            if found is None:
                found = build(checkpoint, engine)
                with self._lock:
                    self._known[key] = self._known[key_of(found)] = found
                    if keep:  # not while the configured pair itself is being loaded
                        self._forget_extra(keep)
        return found

    def _used(self, key: tuple[str, str]) -> Transcriber | None:
        found = self._known.get(key)
        for same in [one for one, known in self._known.items() if known is found]:
            self._known.move_to_end(same)
        return found

    def _forget_extra(self, keep: Collection[Transcriber]) -> None:
        pair = {id(one) for one in keep}
        extra = list(dict.fromkeys(id(one) for one in self._known.values() if id(one) not in pair))
        for gone in extra[: max(0, len(extra) - MAX_EXTRA)]:
            for key in [key for key, one in self._known.items() if id(one) == gone]:
                del self._known[key]


LOADED = LoadedCheckpoints()  # at module level: ZeroGPU forks what is here
