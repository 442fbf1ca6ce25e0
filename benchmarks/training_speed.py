"""How much faster training is when the encoder reads what a batch lasts instead of 30 s.

    python benchmarks/training_speed.py training/configs/italian-lora.yaml method.kind=full

The same model, the same batches and the same step (log-mel, forward, loss, backward, optimiser), cropped and padded in
turn. Wants an idle machine: on a busy one the figures mean nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from itertools import islice

import torch

from training import config as settings
from training.data import Clips, Collator, open_split
from training.model import is_multilingual, load_base, token_loss, trainable
from training.schedule import LengthGrouped

N_BATCHES = 3  # a padded one takes most of a minute on two cores


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a recipe, for example training/configs/italian-lora.yaml")
    parser.add_argument("override", nargs="*", help="key=value")
    given = parser.parse_args(arguments)
    config = settings.load(given.config, given.override)
    base, model, processor = load_base(config)
    multilingual, n_mels = is_multilingual(model), model.config.num_mel_bins
    model = trainable(model, config, base).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    clips = Clips(open_split(config.data[0], "train"), config, training=True)
    draws = iter(LengthGrouped(clips.durations.tolist(), config.steps.batch_size, config.seed))
    contexts = {"cropped": dataclasses.replace(config.context, crop=True, full_probability=0.0),
                "padded to 30 s": dataclasses.replace(config.context, crop=False)}
    seconds: dict[str, list[float]] = {name: [] for name in contexts}
    for n in range(N_BATCHES + 1):
        examples = [clips[draw] for draw in islice(draws, config.steps.batch_size)]
        for name, context in contexts.items():
            changed = dataclasses.replace(config, context=context)
            collate = Collator(changed, processor.tokenizer, n_mels, multilingual, True)
            start = time.perf_counter()
            batch = collate(examples)
            labels = batch.pop("labels")
            token_loss(model(**batch), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            spent = time.perf_counter() - start
            print(f"{n if n else 'warm-up'} {name}: {spent:.1f} s", flush=True)
            if n:  # the first of each warms up
                seconds[name].append(spent)
    rates = {name: config.steps.batch_size * len(values) / sum(values) for name, values in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:16s}{rate:8.2f} clips a second")
    print(f"ratio {rates['cropped'] / rates['padded to 30 s']:.1f} ({config.method.kind}, batches of "
          f"{config.steps.batch_size}, {torch.get_num_threads()} threads, torch {torch.__version__})")


if __name__ == "__main__":
    main(sys.argv[1:])
