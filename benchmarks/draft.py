"""Draft and verify: how many passes of the decoder a draft head would save, on clips that it has not learned from.

    python -m benchmarks.draft embedded:whisper-base-it data/asterisk-it --head ctc --seconds 600 --out draft.json
    python -m benchmarks.draft embedded:whisper-base data/asterisk-en data/drascula --head layer --seconds 600

A head (`draft_heads.py`) is trained on the train splits, on the checkpoint's own greedy text, which is all it has to
foresee; the encoder and the decoder stay as they are. Then each test clip is replayed: the head drafts to the end, the
decoder's choice at every drafted token is known (it is greedy's text), what agrees is kept, and the draft goes on
behind the first token that does not. Prints the passes beside greedy's steps and the share of the tokens that came
from a draft. Nothing of serving uses a head: docs/inference.md says why. A GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.draft_heads import CtcHead, Drafter, Example, LayerHead
from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import frames_for, pad_or_trim
from shared.checkpoint import Checkpoint, Facts, facts, files, weight_files
from shared.checkpoint.tokenizer import Tokens, tokens_of
from shared.engines.torch_engine import TorchEngine
from shared.inference.context import POLICIES
from training.augment import wave_augment
from training.config import Augment, Data
from training.data import open_split

TAIL_SECONDS = 0.4  # of the silence behind a clip, which a head is given too
CHANGES = Augment(noise=0.5, gain=0.5, speed=0.7)
POSITIONS = 24_000  # of the encoder in one training batch, on a GPU; a tenth on a CPU
PEAK_RATE, WARM_UP = 1e-3, 300  # learning rate, and the steps until it is reached


@dataclass(frozen=True)
class Replay:
    """drafts: of each pass, (tokens drafted, tokens kept). steps: of plain greedy search."""

    steps: int
    drafts: tuple[tuple[int, int], ...]


def replay(chosen: Sequence[int], draft: Drafter) -> Replay:
    """Draft and verify on a clip whose greedy tokens, the end token with them, are `chosen`."""
    drafts, n = [], 0
    while n < len(chosen):
        guess = draft(chosen[:n])
        left = chosen[n:]
        agree = [a == b for a, b in zip(guess, left, strict=False)]
        kept = agree.index(False) if False in agree else len(agree)
        drafts.append((len(guess), kept))
        n += kept + 1  # and the decoder's own token behind them
    return Replay(len(chosen), tuple(drafts))


def examples(engine: TorchEngine, tokens: Tokens, of: Facts, clips: Sequence[tuple[np.ndarray, str]]
             ) -> Iterator[Example]:
    """Clips (float32 samples, language) as serving reads them, those left out that do not end by themselves."""
    context = POLICIES[of.short_context]
    for samples, language in clips:
        seconds = len(samples) / SAMPLE_RATE
        mel = pad_or_trim(engine.log_mel(samples), context.n_frames(seconds))
        states = engine.encode([mel])
        prompt = tokens.prompt(language, "transcribe", timestamps=of.timestamps)
        done = engine.decode(states, prompt, beam_size=1, max_tokens=int(16 + 30 * min(seconds, 6.0)))[0]
        n = min(states.lengths[0], frames_for(seconds + TAIL_SECONDS) // 2) // 2 * 2
        if done.finished:
            yield Example(states.hidden[0, :n].half().cpu(), tuple(prompt), done.tokens)


def clips_of(folders: Sequence[str], split: str, limit: int = 0) -> Iterator[tuple[np.ndarray, str]]:
    for folder in folders:
        rows = open_split(Data(path=folder), split)
        for row in rows.select(range(min(limit or len(rows), len(rows)))):
            yield load_audio(row["audio"]["bytes"]).samples, row["language"]


def changed(clips: Sequence[tuple[np.ndarray, str]], copies: int, seed: int = 1
            ) -> Iterator[tuple[np.ndarray, str]]:
    """The clips as they are, then each `copies` times with noise, another speed and loudness."""
    rng = np.random.default_rng(seed)
    yield from clips
    for _ in range(copies):
        yield from ((wave_augment(samples, CHANGES, rng), language) for samples, language in clips)


def new_head(kind: str, folder: Path, tokens: Tokens, known: Sequence[Example], size: tuple[int, int]
             ) -> CtcHead | LayerHead:
    """size: layers and width of a CTC head."""
    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        weights |= load_file(path)
    listed = {token for example in known for token in example.tokens}
    if kind == "ctc":
        return CtcHead(weights, tokens, sorted(token for token in listed if token < tokens.end), *size)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stamps = range(tokens.first_stamp, tokens.last_stamp + 1)
    return LayerHead(weights, tokens, sorted({*listed, tokens.end, *stamps}), config["decoder_attention_heads"])


def batches(known: Sequence[Example], positions: int, rng: random.Random) -> Iterator[list[Example]]:
    """All examples once, those of like length together, in an order that is drawn."""
    found: list[list[Example]] = [[]]
    for example in sorted(known, key=lambda example: len(example.states) + rng.uniform(-12, 12)):
        if found[-1] and (len(found[-1]) + 1) * (len(example.states) + 12) > positions:
            found.append([])
        found[-1].append(example)
    rng.shuffle(found)
    yield from found


def train(head: CtcHead | LayerHead, known: Sequence[Example], seconds: float, seed: int = 1) -> list[float]:
    """Train for so long; the loss of each step."""
    device = head.bias.device
    optimiser = torch.optim.AdamW(head.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.02)
    rng, begun, losses = random.Random(seed), time.monotonic(), list[float]()
    torch.manual_seed(seed)
    head.train()
    while True:
        for batch in batches(known, POSITIONS if device.type == "cuda" else POSITIONS // 10, rng):
            share = (time.monotonic() - begun) / seconds
            if share >= 1:
                head.eval()
                return losses
            for group in optimiser.param_groups:
                group["lr"] = PEAK_RATE * min(1.0, (len(losses) + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * share))
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = head.loss(batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
            optimiser.step()
            losses.append(float(loss.detach()))


def measured(head: CtcHead | LayerHead, tests: Sequence[Example]) -> dict[str, object]:
    replays = [replay([*example.tokens, head.tokens.end], head.drafter(example)) for example in tests]
    steps, passes = sum(one.steps for one in replays), sum(len(one.drafts) for one in replays)
    kept = sum(n for one in replays for _, n in one.drafts)
    return {"clips": len(replays), "steps": steps, "passes": passes, "fewer": steps / max(1, passes),
            "drafted_share": kept / max(1, steps), "replays": [asdict(one) for one in replays]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("data", nargs="+", help="data sets that feature_pipeline built, with train and test splits")
    parser.add_argument("--head", choices=("ctc", "layer"), default="ctc")
    parser.add_argument("--layers", type=int, default=2, help="of a CTC head")
    parser.add_argument("--width", type=int, default=384, help="of a CTC head, a multiple of 64")
    parser.add_argument("--copies", type=int, default=3, help="changed copies of each training clip")
    parser.add_argument("--seconds", type=float, default=600, help="of training")
    parser.add_argument("--clips", type=int, default=0, help="at most so many of each split; 0: all")
    parser.add_argument("--out", type=Path, help="JSON of the result; the head is written beside it")
    options = parser.parse_args()
    _, folder = files(Checkpoint.parse(options.checkpoint), "transformers")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = TorchEngine(folder, device=device, compute_type="float16" if device == "cuda" else "int8")
    tokens, known_facts = tokens_of(folder), facts(folder)
    learned, tests = (list(clips_of(options.data, split, options.clips)) for split in ("train", "test"))
    known = list(examples(engine, tokens, known_facts, list(changed(learned, options.copies))))
    head = new_head(options.head, folder, tokens, known, (options.layers, options.width)).to(device)
    losses = train(head, known, options.seconds)
    found = measured(head, list(examples(engine, tokens, known_facts, tests)))
    n_weights = sum(weight.numel() for weight in head.parameters())
    print(f"{options.checkpoint}, {options.head}, {n_weights / 1e6:.1f} M weights, {len(known)} examples, "
          f"{len(losses)} steps: {found['steps']} decoder steps become {found['passes']} passes "
          f"({found['fewer']:.2f} × fewer), {found['drafted_share']:.0%} of the tokens from a draft")
    if options.out:
        options.out.write_text(json.dumps(found | {"losses": losses, "weights": n_weights}), encoding="utf-8")
        save_file({name: tensor.half().contiguous() for name, tensor in head.state_dict().items()}
                  | {"listed": torch.tensor(head.listed)}, options.out.with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
