"""What of the training recipe pays: the same run, each time with one thing changed.

    python -m benchmarks.ablation training/configs/czech.yaml --out runs/ablation
    python -m benchmarks.ablation training/configs/czech.yaml --only "Adagrad;frozen encoder" --steps 330

Every variant is a run of `training.finetune` from the same base, with the same seed and the same number of steps, and
is then served by the Transcriber on the same clips of the test split, cropped as its checkpoint allows. The difference
from "as configured" is paired, with a 95 % interval. A run that was interrupted goes on; one that is done is only
transcribed again. Few steps tell what helps at the start of training, not where it ends.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.context import clips, difference, transcribed
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber
from shared.wer import WordErrors, compare, pooled
from training import config as settings
from training.finetune import train

FIRST = "as configured"
VARIANTS: dict[str, list[str]] = {
    FIRST: [],
    "padded to 30 s": ["context.crop=false"],
    "no timestamps": ["extra.timestamps=0"],
    "no SpecAugment": ["augment.spec_augment=0"],
    "noise, gain and speed": ["augment.noise=0.3", "augment.gain=0.3", "augment.speed=0.3"],
    "joined clips": ["extra.join=0.2"],
    "twice the learning rate": ["steps.learning_rate=1.0e-4"],
    "neither timestamps nor SpecAugment": ["extra.timestamps=0", "augment.spec_augment=0"],
    "Adagrad": ["steps.optimizer=adagrad", "steps.learning_rate=5.0e-4"],
    "frozen encoder": ["method.kind=frozen-encoder"],
    "LoRA, rank 16": ["method.kind=lora", "steps.learning_rate=5.0e-4"],
    "LoRA, rank 64": ["method.kind=lora", "method.lora_rank=64", "method.lora_alpha=128",
                      "steps.learning_rate=5.0e-4"],
}


def trained(asked: argparse.Namespace, name: str) -> Path:
    """The folder of one variant's run."""
    folder = name.lower().replace(",", "").replace(" ", "-")
    steps = [f"steps.max_steps={asked.steps}", f"steps.eval_steps={asked.steps}", "eval_clips=16"]
    own = [f"name={folder}", f"out={asked.out}", *steps, *asked.override, *VARIANTS[name]]
    return train(settings.load(asked.config, own))


def measured(folder: Path, rows: list[dict]) -> tuple[list[WordErrors], int]:
    """Word errors of each clip, and how many of them were done again at full context."""
    transcriber = Transcriber(Checkpoint.parse(str(folder / "model")))
    errors, _ = transcribed(transcriber, rows)
    return errors, transcriber.window_decoder.n_again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("override", nargs="*", metavar="key=value", help="for every variant")
    parser.add_argument("--only", type=lambda text: text.split(";"), default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=60, help="of each run (60)")
    parser.add_argument("--clips", type=int, default=120, help="of the test split (120)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    asked = parser.parse_args()
    if unknown := [name for name in asked.only if name not in VARIANTS]:
        parser.error(f"{unknown[0]!r} is none of: {'; '.join(VARIANTS)}")
    rows = clips(Path(settings.load(asked.config).data[0].path), ["test"], asked.clips)
    first: list[WordErrors] = []
    found = []
    for name in [FIRST, *(name for name in asked.only if name != FIRST)]:
        folder = trained(asked, name)
        seconds = json.loads((folder / "model" / "run.json").read_text(encoding="utf-8")).get("seconds")
        errors, n_again = measured(folder, rows)
        first = first or errors
        paired = compare(first, errors)
        found.append({"variant": name, "overrides": VARIANTS[name], "wer": pooled(errors).wer, "again": n_again,
                      "difference": paired.difference, "low": paired.low, "high": paired.high, "seconds": seconds})
        (asked.out / "ablation.json").write_text(json.dumps({"config": asked.config, "steps": asked.steps,
                                                             "clips": len(rows), "rows": found}, indent=1) + "\n")
    print(f"{asked.steps} steps, {len(rows)} clips, {pooled(first).reference_length} words\n")
    print("| | WER % | difference | done again | training, s |\n|" + " --- |" * 5)
    for row in found:
        print(f"| {row['variant']} | {100 * row['wer']:.1f} | {difference(row) if row['variant'] != FIRST else ''} | "
              f"{row['again']} | {row['seconds']} |")


if __name__ == "__main__":
    main()
