"""The two checkpoints of an app, base and fine-tuned, and those that visitors may name: which are in memory.

Enters: how checkpoints are named. Leaves: `Transcriber`s. Knows nothing of what they are asked.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.checkpoint import BASE, FINE_TUNED, Account, Checkpoint, Download
from shared.engines import BIASED
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.serving.choice import not_available, refusal
from shared.serving.loaded import LOADED
from shared.serving.private import PRIVATE_SECONDS, opened_for
from shared.serving.request import Limits
from shared.serving.zero_gpu import ON_ZERO_GPU
from shared.system.memory import give_back

MAX_VISITOR_BYTES = 4 << 30  # largest checkpoint that a visitor may have a Space fetch: large-v3 in float16 is 3.1 GB


class Pair:
    """The two configured checkpoints and a few that visitors named, loaded once. Calls may come from any thread."""

    loads_at_once = True  # whether the weights are in memory when it is made

    def __init__(self, base: Checkpoint | str, fine_tuned: Checkpoint | str, *, engine: str = "auto",
                 device: str = "auto", compute_type: str = "auto", limits: Limits | None = None,
                 progress: Callable[[float, str], None] | None = None) -> None:
        """Load the base checkpoint and, where it can be had, the fine-tuned one.

        Args:
            base, fine_tuned: as `Checkpoint.parse` reads them.
            engine: for every checkpoint, unless a request names another.
            device, compute_type: as `Transcriber` takes them.
            limits: none unless given.
            progress: called with (fraction 0 … 1, message) while downloading and converting.

        Raises:
            UserError: the base checkpoint cannot be had. Without the fine-tuned one `problem` says why.
        """
        self.dictionary: tuple[str, ...] = ()
        self.limits = limits or Limits()
        self._engine, self._device, self._compute_type, self._progress = engine, device, compute_type, progress
        self._loaded = LOADED
        self._n_uses, self._uses_lock = 0, threading.Lock()
        self._is_tidy = True  # since the last use
        self.base = self._loaded.get(_parsed(base), engine, self._build)
        self.fine_tuned: Transcriber | None = None
        self.problem: str | None = None
        try:
            self.fine_tuned = self._loaded.get(_parsed(fine_tuned), engine, self._build)
        except UserError as error:
            self.problem = not_available(fine_tuned, error)
        if self.loads_at_once or ON_ZERO_GPU:  # which forks what is in memory
            self.load()

    def follow(self, dictionary: tuple[str, ...]) -> None:
        """Take the words that are spelled right from here, for requests that name none; comparisons go without.

        Args:
            dictionary: what `dictionary_of` gives.

        Raises:
            UserError: the pair's engine follows none.
        """
        if dictionary and self.base.plan.name not in BIASED:
            raise UserError("This engine cannot follow a dictionary", got=self.base.plan.name, limit=", ".join(BIASED),
                            hint="choose the engine torch, or leave the dictionary out")
        self.dictionary = dictionary

    def load(self) -> None:
        """Bring the weights of both into memory.

        Without those of the fine-tuned one `problem` says why, and the base answers.

        Raises:
            UserError: the weights of the base cannot be read.
        """
        self.base.load()
        if self.fine_tuned is not None:
            self.opens(self.fine_tuned)

    def load_first(self, options: Options) -> None:
        """Bring into memory what surely answers such a request: one of the two, where it may be that only one is used.

        Args:
            options: of the request.

        Raises:
            UserError: the weights of the base cannot be read.
        """
        tuned = self.fine_tuned
        if tuned is None or refusal(tuned, options) is not None or not self.opens(tuned):
            self.base.load()

    def opens(self, tuned: Transcriber) -> bool:
        """Whether the weights of the fine-tuned checkpoint are in memory or can be brought there.

        Where they cannot be read, `problem` says why, and the base answers from now on.

        Args:
            tuned: the fine-tuned checkpoint, on whichever engine.

        Returns:
            False where the base has to answer.

        Raises:
            UserError: they can be read by the pair's engine and not by this one.
        """
        if self.fine_tuned is None:
            return False
        try:
            tuned.load()
        except UserError as error:
            if self.fine_tuned is not None and tuned is not self.fine_tuned:
                raise
            self.problem = not_available(tuned.asked, error)  # before it is gone: other threads look for the reason
            self.fine_tuned = None
            return False
        return True

    @property
    def is_loaded(self) -> bool:
        """Whether the weights of the configured checkpoints are in memory."""
        return all(one.is_loaded for one in (self.base, self.fine_tuned) if one is not None)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs nothing is unloaded."""
        with self._uses_lock:
            self._n_uses += 1
        try:
            yield
        finally:
            with self._uses_lock:
                self._n_uses -= 1
                self._is_tidy = False

    def unload(self, idle_seconds: float = 0.0) -> int:
        """Let go of weights that were not used for so long; the next request loads them again.

        Args:
            idle_seconds: how long; 0: all that are not in use.

        Returns:
            How many checkpoints went.
        """
        if ON_ZERO_GPU:
            return 0
        with self._uses_lock:
            gone = 0 if self._n_uses else sum(one.unload(idle_seconds) for one in self._loaded.each())
        if gone:
            give_back()
        return gone

    def tidy(self) -> bool:
        """Give back to the system what work has freed, once after it: the allocator keeps a gigabyte and more.

        Returns:
            Whether anything was done; nothing while something is in use.
        """
        with self._uses_lock:
            if self._n_uses or self._is_tidy:
                return False
            self._is_tidy = True
        give_back()
        return True

    def unload_when_idle(self, minutes: float) -> None:
        """From now on, let go of weights that were not used for a while, and of what work leaves behind.

        Args:
            minutes: without use after which weights go; 0: never.
        """
        def watch() -> None:
            while True:
                time.sleep(min(minutes * 60 / 4, 30.0) if minutes > 0 else 30.0)
                if minutes > 0:
                    self.unload(minutes * 60)
                self.forget_private(PRIVATE_SECONDS)
                self.tidy()

        threading.Thread(target=watch, name="unload", daemon=True).start()

    def forget_private(self, idle_seconds: float = 0.0) -> int:
        """Let go of what visitors' accounts had loaded, files included.

        Args:
            idle_seconds: only what was not used for so long; 0: all.

        Returns:
            How many checkpoints went.
        """
        gone = self._loaded.forget_private(idle_seconds)
        if gone:
            give_back()
        return gone

    def line(self) -> str:
        """Which checkpoints are in use and where they came from, in one line."""
        tuned = self.fine_tuned.checkpoint.describe() if self.fine_tuned else "not available"
        words = ", ".join(Path(path).stem for path in self.dictionary)
        return (f"Fine-tuned: {tuned} · Base: {self.base.checkpoint.describe()} · Engine: {describe_engine(self.base)}"
                f"{' · Dictionary: ' + words if words else ''}")

    @property
    def known_languages(self) -> tuple[str, ...]:
        """Codes that may be asked for: what one of the two has a token for, added ones included."""
        pair = [one for one in (self.base, self.fine_tuned) if one is not None]
        return tuple(dict.fromkeys(code for one in pair for code in one.known_languages))

    def named(self, name: str, account: Account | None = None) -> Checkpoint:
        """The checkpoint that a visitor names.

        Args:
            name: BASE, FINE_TUNED, or any that the owner allows.
            account: the visitor's, where they signed in.

        Returns:
            The checkpoint; it is not loaded.

        Raises:
            UserError: it is not allowed, not available, or names no checkpoint.
        """
        if name == BASE:
            return self.base.checkpoint
        if name == FINE_TUNED:
            if self.fine_tuned is None:
                raise UserError("The fine-tuned model is not available", hint="choose Automatic or Base")
            return self.fine_tuned.checkpoint
        allowed = self.limits.allowed
        if allowed is not None and name not in allowed:  # before it is looked at: folders here are nobody's business
            if account is not None and self.limits.signed_in:
                return Checkpoint.on_hub(name)
            raise UserError("This checkpoint may not be loaded here", got=name[:80],
                            limit=", ".join((BASE, FINE_TUNED, *allowed)), hint=self._elsewhere)
        return Checkpoint.parse(name)

    def transcriber(self, checkpoint: Checkpoint, engine: str = "auto", account: Account | None = None
                    ) -> Transcriber:
        """The loaded checkpoint; one that a visitor named is fetched first, if the owner allows it.

        Other calls go on meanwhile: only those for the same checkpoint wait for the download.

        Args:
            checkpoint: which one.
            engine: "auto", "torch" or "ctranslate2".
            account: of the visitor who names it. What the owner does not allow everybody is read with its token.

        Returns:
            One Transcriber for the whole process, or for the account.

        Raises:
            UserError: it is not allowed, cannot be had, or the engine cannot open it.
        """
        if engine == "auto":
            engine = self._engine
        pair = [known for known in (self.base, self.fine_tuned) if known is not None]
        for known in pair:
            if checkpoint in (known.checkpoint, known.asked):
                if engine in ("auto", known.plan.name):
                    return known
                return self._loaded.get(known.checkpoint, engine, self._build, keep=pair)
        if account is not None and self._is_for(account, checkpoint):
            return self._loaded.get(checkpoint, engine, functools.partial(self._build_for_account, account), keep=pair,
                                    account=account)
        self._check_allowed(checkpoint)
        build = self._build if checkpoint.model_id in self.limits.listed else self._build_for_visitor
        return self._loaded.get(checkpoint, engine, build, keep=pair)

    def _is_for(self, account: Account, checkpoint: Checkpoint) -> bool:
        """Whether it is the account that lets the checkpoint be read, not the owner."""
        return self.limits.signed_in and checkpoint.origin == "Hub" and not self._is_allowed(checkpoint)

    def _is_allowed(self, checkpoint: Checkpoint) -> bool:
        allowed = self.limits.allowed
        return allowed is None or str(checkpoint) in allowed or checkpoint.model_id in allowed

    def _check_allowed(self, checkpoint: Checkpoint) -> None:
        if self._is_allowed(checkpoint):
            return
        raise UserError("This checkpoint may not be loaded here", got=str(checkpoint),
                        limit=", ".join(self.limits.allowed or ()) or "only the two configured ones",
                        hint=self._elsewhere)

    @property
    def _elsewhere(self) -> str:
        """What a visitor can do who wants another checkpoint."""
        sign_in = "sign in to use your own, " if self.limits.signed_in else ""
        return f"choose one of those, {sign_in}or run the suite on your own machine"

    def _build(self, checkpoint: Checkpoint, engine: str) -> Transcriber:
        return Transcriber(checkpoint, engine=engine, device=self._device, compute_type=self._compute_type,
                           download=Download(progress=self._progress), lazy=True)

    def _build_for_visitor(self, checkpoint: Checkpoint, engine: str) -> Transcriber:
        limit = None if self.limits.allowed is None else MAX_VISITOR_BYTES
        return Transcriber(checkpoint, engine=engine, device=self._device, compute_type=self._compute_type,
                           download=Download(limit, token=False, progress=self._progress))

    def _build_for_account(self, account: Account, checkpoint: Checkpoint, engine: str) -> Transcriber:
        return opened_for(account, MAX_VISITOR_BYTES, lambda download: Transcriber(
            checkpoint, engine=engine, device=self._device, compute_type=self._compute_type, download=download))


def _parsed(checkpoint: Checkpoint | str) -> Checkpoint:
    return Checkpoint.parse(checkpoint) if isinstance(checkpoint, str) else checkpoint


def describe_engine(transcriber: Transcriber) -> str:
    """The engine in words.

    Args:
        transcriber: loaded or not.

    Returns:
        As in "torch int8 on CPU".
    """
    engine = transcriber.plan
    return f"{engine.name} {engine.compute_type} on {'GPU' if engine.device == 'cuda' else 'CPU'}"
