"""A run's history as one SVG picture: loss, WER and learning rate over its steps.

Enters: Trainer's log history. Leaves: SVG text that needs nothing else. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.charts import line_panels

PANELS = {  # title: {name of the line: key of the history}
    "loss": {"train": "loss", "validation": "eval_loss"},
    "WER of the validation split, %": {"validation": "eval_wer"},
    "learning rate": {"train": "learning_rate"},
}


def curves(history: Sequence[dict[str, Any]]) -> str:
    """history: entries with 'step' and any of the keys in PANELS; a panel without two points is left out."""
    lines = {title: {name: [(entry["step"], float(entry[key])) for entry in history if key in entry]
                     for name, key in keys.items()} for title, keys in PANELS.items()}
    return line_panels(lines, "steps", "Training curves") + "\n"
