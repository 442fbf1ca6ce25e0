"""From a folder of recordings to a proven checkpoint: the three commands that a person would give, one after the other.

Enters: a Plan. Leaves: a Status, to be asked for at any time. Each command is a child process, so a page that is
reloaded, or the app when it is started again, finds the work where it was: building and training go on where they
stopped. Only one plan is worked on at a time. Knows nothing of pages.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import feature_pipeline
import training
from shared.errors import UserError
from training.commands import followed, problem, started
from training.config import COMPLETE, PROGRESS

DATA_CONFIG = Path(feature_pipeline.__file__).with_name("configs") / "my-recordings.yaml"
TRAIN_CONFIG = Path(training.__file__).with_name("configs") / "my-language.yaml"
N_LINES = 200  # of what the commands print that are kept
DATA, TRAINING, EVALUATION = "Building the data set", "Training", "Comparing with the base model"
STAGES = (DATA, TRAINING, EVALUATION)


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    name: of the data set and of the run. recordings: the folder. language: ISO code. base: as `Checkpoint.parse`
    reads it. max_steps: of training. more: further `key=value` of training's config. place: where data/ and runs/ are.
    """

    name: str
    recordings: Path
    language: str
    base: str = "embedded:whisper-base"
    max_steps: int = 300
    more: tuple[str, ...] = ()
    place: Path = field(default_factory=Path.cwd)

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.place / "runs" / self.name

    @property
    def model(self) -> Path:
        """The folder of the checkpoint, once it is there."""
        return self.run / "model"

    def commands(self) -> list[tuple[str, list[str]]]:
        """Each stage with what it runs; all of them go on where they were, or do nothing where all is done.

        A run that has begun keeps the data it began with.
        """
        data = self.place / "data" / self.name
        begun = any(self.run.glob(f"checkpoint-*/{COMPLETE}"))
        return [*([] if begun else [
            (DATA, ["feature_pipeline.build", str(DATA_CONFIG), f"name={self.name}", f"out={data}",
                    f"sources.0.path={self.recordings}", f"sources.0.language={self.language}", "split.by=sentence",
                    "split.test=0.2", "split.validation=0.1"])]),
            (TRAINING, ["training.finetune", str(TRAIN_CONFIG), f"name={self.name}", f"out={self.place / 'runs'}",
                        f"data.0.path={data}", f"language={self.language}", f"base={self.base}",
                        f"steps.max_steps={self.max_steps}",
                        f"steps.eval_steps={max(1, min(50, self.max_steps // 6))}", *self.more]),
            (EVALUATION, ["training.evaluation", str(self.run)]),
        ]


@dataclass(frozen=True)
class Status:
    """state: "idle", "running", "stopped", "failed" or "done". stage: of STAGES. fraction: of the stage, None where it
    is not known. lines: the last that the commands printed. problem: why it failed. seconds: since it was started.
    """

    state: str = "idle"
    stage: str = ""
    fraction: float | None = None
    lines: tuple[str, ...] = ()
    problem: str = ""
    seconds: float = 0.0


class Runner:
    """Works on one plan at a time, in a thread of its own. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = Status()
        self._plan: Plan | None = None
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._begun = 0.0

    def start(self, plan: Plan) -> None:
        """Begin, or go on. Raises UserError: something is running, or this run is done."""
        if (plan.model / COMPLETE).is_file() and (plan.run / "evaluation").is_dir():
            raise UserError("This run is done already", got=plan.name, hint="give the next one another name")
        with self._lock:
            if self._status.state == "running":
                raise UserError("A training is running already", got=self._plan.name if self._plan else "",
                                hint="stop it, or wait for its end")
            self._plan, self._cancel, self._begun = plan, threading.Event(), time.monotonic()
            self._status = Status("running", DATA)
            self._thread = threading.Thread(target=self._work, args=(plan, self._cancel), name="train", daemon=True)
            self._thread.start()

    def stop(self) -> bool:
        """End what is running, within moments; started again it goes on. Returns whether anything was."""
        with self._lock:
            was_running = self._status.state == "running"
        self._cancel.set()
        if was_running and self._thread is not None:
            self._thread.join(20)
        return was_running

    def status(self) -> Status:
        """As of now."""
        with self._lock:
            status, plan = self._status, self._plan
        if status.state != "running" or plan is None:
            return status
        fraction = _trained(plan) if status.stage == TRAINING else None
        return replace(status, fraction=fraction, seconds=time.monotonic() - self._begun)

    @property
    def plan(self) -> Plan | None:
        """What was started last."""
        return self._plan

    def _work(self, plan: Plan, cancel: threading.Event) -> None:
        lines: deque[str] = deque(maxlen=N_LINES)
        for stage, command in plan.commands():
            self._set(stage=stage)
            try:
                code, messages = self._run(command, plan, cancel, lines)
            except OSError as error:
                return self._set(state="failed", problem=f"The command could not be started: {error}")
            if cancel.is_set():
                return self._set(state="stopped")
            if code:
                return self._set(state="failed", problem=problem(messages, command[0], code))
        self._set(state="done")

    def _run(self, command: Sequence[str], plan: Plan, cancel: threading.Event, lines: deque[str]) -> tuple[int, str]:
        def say(text: str) -> None:
            lines.append(text)
            self._set(lines=tuple(lines))

        with started(command, plan.place, cancel) as child:
            return followed(child, say)

    def _set(self, **changed: object) -> None:
        with self._lock:
            self._status = replace(self._status, seconds=time.monotonic() - self._begun, **changed)  # type: ignore[arg-type]


def _trained(plan: Plan) -> float | None:
    try:
        told = json.loads((plan.run / PROGRESS).read_text(encoding="utf-8"))
        return min(1.0, told["step"] / told["max_steps"])
    except (OSError, ValueError, KeyError, ZeroDivisionError):
        return None  # it is still getting ready
