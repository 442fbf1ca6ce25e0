"""The checkpoints that this process has loaded, each once: the configured pair, and a few that visitors named."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection
from typing import TypeAlias

from shared.checkpoint import Account, Checkpoint
from shared.inference import Transcriber

MAX_EXTRA = 2  # checkpoints kept beside the configured pair, least recently used out first


Key: TypeAlias = tuple[str, str, str]


def key_of(transcriber: Transcriber) -> Key:
    """Under which a transcriber is found, in this process and in the one that holds a GPU: (account, checkpoint,
    engine)."""
    return _name_of(transcriber.account), str(transcriber.checkpoint), transcriber.plan.name


def _name_of(account: Account | None) -> str:
    """The Hub's name of the account, empty for what anybody may use."""
    return "" if account is None else account.name


class LoadedCheckpoints:
    """The transcribers of this process by (account, checkpoint, engine), the least recently used first."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, Transcriber] = OrderedDict()
        self._lock = threading.Lock()  # held for moments only
        self._building: defaultdict[Key, threading.Lock] = defaultdict(threading.Lock)

    def __getitem__(self, key: Key) -> Transcriber:
        return self._known[key]

    def each(self) -> list[Transcriber]:
        """Every one of them, once."""
        with self._lock:
            return list({id(one): one for one in self._known.values()}.values())

    def get(self, checkpoint: Checkpoint, engine: str, build: Callable[[Checkpoint, str], Transcriber], *,
            keep: Collection[Transcriber] = (), account: Account | None = None) -> Transcriber:
        """The one that is there, else what `build` makes; afterwards at most MAX_EXTRA are kept beside `keep`.

        A build may take minutes; who wants another checkpoint does not wait for it. Raises what `build` raises.
        account: whose it is; one account never gets what was loaded for another, or for all.
        """
        key = _name_of(account), str(checkpoint), engine
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
                    # Under the name it was asked for by, and under that of the commit it came to.
                    for one in (key, (key[0], str(found.checkpoint), engine), key_of(found)):
                        self._known[one] = found
                    if keep:  # not while the configured pair itself is being loaded
                        self._forget_extra(keep)
        return found

    def forget_private(self, idle_seconds: float = 0.0) -> int:
        """Let go of what accounts had loaded and did not use for so long. Returns how many went."""
        with self._lock:
            gone = {id(one) for one in self._known.values() if one.account is not None and one.unload(idle_seconds)}
            self._known = OrderedDict((key, one) for key, one in self._known.items() if id(one) not in gone)
        return len(gone)

    def _used(self, key: Key) -> Transcriber | None:
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
