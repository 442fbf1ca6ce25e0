"""How far a run is, for whoever watches it: `progress.json` and the picture of its curves, kept up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from shared.system.files import write_text
from training.config import PICTURE, PROGRESS
from training.curves import curves


class Progress(TrainerCallback):
    """Writes both into the run's folder after each entry of its log; the picture from the second evaluation on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        if not state.is_world_process_zero:
            return
        last: dict[str, Any] = {}
        for entry in state.log_history:
            last |= {key: entry[key] for key in ("loss", "eval_loss", "eval_wer") if key in entry}
        write_text(self.folder / PROGRESS,
                   json.dumps({"step": state.global_step, "max_steps": state.max_steps, **last}) + "\n")
        if sum("eval_wer" in entry for entry in state.log_history) > 1:
            write_text(self.folder / PICTURE, curves(state.log_history))
